package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
)

// An undying driver does not end a machine when it is first asked to.
type undying struct {
	bareStream
	place *hypervisor.Place
}

func (d undying) Kill(ctx context.Context, p hypervisor.Place) error {
	if d.place.Dir == "" {
		*d.place = p
		return errors.New("input/output error")
	}
	return d.bareStream.Kill(ctx, p)
}

// A machine that warms a template and cannot be ended is ended by the next command.
func TestWarmingThatCannotBeEnded(t *testing.T) {
	_, dir := home(t)
	c := config(dir)
	d := undying{bareStream{fake.New()}, new(hypervisor.Place)}
	c.Driver = d
	h, err := host.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := perform(ctx, h, "warm t"); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("warmed by a machine that cannot be ended: %v", err)
	}
	if running, err := d.Heads(ctx, *d.place); err != nil || len(running) == 0 {
		t.Fatalf("the machine is gone already: %v", err)
	}
	must(t, h, "build next")
	if running, err := d.Heads(ctx, *d.place); err == nil {
		t.Errorf("the machine runs still, on %q", running)
	}
	clean(t, h, dir)
	must(t, h, "warm t")
}
