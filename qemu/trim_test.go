//go:build integration

package qemu_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/clade-vm/clade/qemu"
	"github.com/clade-vm/clade/qmp"
)

// What a guest discards, or fills with zeroes, is given back by the file of its disk
// at once, while the machine runs. The commands go through the machine's own device,
// as a guest's do.
func TestTrimReachesTheFile(t *testing.T) {
	d, p := qemu.New(qemu.Config{}), place(t)
	s := spec(t, t.TempDir())
	file := s.Disks[1].Path
	run(t, "qemu-img", "resize", "-q", file, "64M")
	run(t, "qemu-io", "-c", "write -q -P 0x5a 0 64M", file)
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", filepath.Join(p.Run, "qmp"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := qmp.New(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mib := func() int64 {
		fi, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Sys().(*syscall.Stat_t).Blocks * 512 >> 20
	}
	if mib() < 64 {
		t.Fatalf("the file takes %d MiB, want what was written", mib())
	}
	for _, act := range []struct {
		command string
		most    int64
	}{{"discard 0 32M", 34}, {"write -P 0 32M 16M", 18}, {"read -P 0 0 48M", 18}, {"read -P 0x5a 48M 16M", 18}} {
		var said string
		line := fmt.Sprintf("qemu-io -d /machine/peripheral/disk1/virtio-backend %q", act.command)
		if err := c.Execute(t.Context(), "human-monitor-command", map[string]any{"command-line": line}, &said); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(said, "failed") || strings.Contains(said, "rror") {
			t.Fatalf("%s: %s", act.command, said)
		}
		if got := mib(); got > act.most {
			t.Errorf("after %q the file takes %d MiB, want at most %d", act.command, got, act.most)
		}
	}
}
