package fake

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// Keep implements hypervisor.Keeper. The state is all that the guest is.
func (d *Driver) Keep(ctx context.Context, p hypervisor.Place, bound clade.Bound, state string, heads []string) (pause hypervisor.Pause, err error) {
	r, err := d.running(p)
	if err != nil {
		return pause, err
	}
	if now, _ := d.Bind(ctx, r.Spec.Accelerator, bound); now != bound || r.Spec.Memory != nil && r.Spec.Memory.File != "" {
		return pause, &clade.Error{Op: "keep", On: "machine " + string(r.Spec.Name), Kind: clade.Unsupported,
			Err: errors.New("it runs under something else, or goes on from the memory of a warm template")}
	}
	if err := d.Stand(p, true); err != nil {
		return pause, err
	}
	defer func() { err = errors.Join(err, d.Stand(p, false)) }()
	if _, err := d.Switch(ctx, p, heads); err != nil {
		return pause, err
	}
	if d.Halfway != nil {
		d.Halfway()
	}
	if _, err := os.Stat(state); err == nil {
		return pause, &clade.Error{Op: "write", On: state, Kind: clade.Exists}
	}
	if err := write(filepath.Join(p.Dir, guestDir), state); err != nil {
		return pause, &clade.Error{Op: "write", On: state, Kind: clade.KindOf(err), Err: err}
	}
	return pause, nil
}

// Continue implements hypervisor.Keeper.
func (d *Driver) Continue(_ context.Context, p hypervisor.Place) error { return d.Stand(p, false) }

// Stand has a running machine stand still, as one does whose disk cannot be written,
// or go on.
func (d *Driver) Stand(p hypervisor.Place, still bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.running(p)
	if err != nil || r.Standing == still {
		return err
	}
	r.Standing = still
	return r.write(p)
}
