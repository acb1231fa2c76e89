package qemu

import (
	"context"
	"time"

	"github.com/clade-vm/clade/hypervisor"
)

// ice is a guest whose file systems are, or may be, frozen. The zero ice is a
// guest that was never asked.
type ice struct {
	guest *guest    // nil where no agent answered
	began time.Time // when it was asked
	solid bool      // it said that it froze something
}

// freeze asks the guest's agent, where one answers within a second, to freeze the
// file systems. Whatever it returns must be given to thaw.
func (d *Driver) freeze(ctx context.Context, p hypervisor.Place) (ice, error) {
	reach, cancel := context.WithTimeout(ctx, agentLimit)
	defer cancel()
	g, err := d.agent(reach, p)
	if err != nil {
		return ice{}, err
	}
	limit, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	i := ice{guest: g, began: time.Now()}
	n, err := g.client.Freeze(limit)
	i.solid = err == nil && n > 0
	return i, err
}

// thaw thaws what was frozen, also when the caller's context has ended and when
// the agent did not say whether it froze: a guest left frozen is a guest lost. It
// tells whether the file systems were still frozen, since a guest may thaw them
// by itself.
func (d *Driver) thaw(ctx context.Context, p hypervisor.Place, i ice) (frozen bool) {
	if i.guest == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), thawLimit)
	defer cancel()
	if i.solid {
		still, err := i.guest.client.Frozen(ctx)
		frozen = err == nil && still
	}
	err := i.guest.client.Thaw(ctx)
	i.guest.Close()
	for err != nil && ctx.Err() == nil && running(p) == nil {
		err = d.thawAnew(ctx, p)
	}
	if err != nil {
		d.log.Error("file systems may still be frozen", "place", p.Dir, "error", err)
	}
	return frozen
}

// thawAnew thaws over a new connection.
func (d *Driver) thawAnew(ctx context.Context, p hypervisor.Place) error {
	g, err := d.agent(ctx, p)
	if err != nil {
		return err
	}
	defer g.Close()
	return g.client.Thaw(ctx)
}
