//go:build integration

package qemu_test

import (
	"testing"

	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/hypervisortest"
	"github.com/clade-vm/clade/qemu"
)

func TestContract(t *testing.T) {
	hypervisortest.Run(t, hypervisortest.Suite{
		Driver:  func() hypervisor.Driver { return qemu.New(qemu.Config{}) },
		Spec:    spec,
		Overlay: overlay,
		Guest:   true,
	})
}
