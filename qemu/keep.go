package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/hold"
	"github.com/clade-vm/clade/qmp"
)

// keepRate is how many bytes a second may leave a machine that stands still: as many
// as can. QEMU's own bound is made for networks.
const keepRate = 1 << 40

// Keep implements hypervisor.Keeper. The new heads are as those of Switch. QEMU gives
// its disks out of its hands at the end of a migration, so that they are switched
// before it.
func (d *Driver) Keep(ctx context.Context, p hypervisor.Place, bound clade.Bound, state string, heads []string) (hypervisor.Pause, error) {
	if err := running(p); err != nil {
		return hypervisor.Pause{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return hypervisor.Pause{}, talkError(p, "ask", "QEMU", err)
	}
	defer c.Close()
	if err := d.fits(ctx, p, c, bound); err != nil {
		return hypervisor.Pause{}, talkError(p, "keep", "machine", err)
	}
	moves, err := plan(ctx, c, heads)
	if err != nil {
		return hypervisor.Pause{}, talkError(p, "switch", "heads", err)
	}
	if err := open(ctx, c, moves); err != nil {
		return hypervisor.Pause{}, talkError(p, "switch", "heads", err)
	}
	pause, err := keep(ctx, c, filepath.Join(p.Run, moveSocket), state, moves)
	if err != nil {
		forget(ctx, c, moves)
		return hypervisor.Pause{}, talkError(p, "keep", "machine", err)
	}
	return pause, nil
}

// fits makes sure that a machine runs under bound and is built as one that is resumed
// will be. Kind Unsupported.
func (d *Driver) fits(ctx context.Context, p hypervisor.Place, c *qmp.Client, bound clade.Bound) error {
	unsupported := func(format string, args ...any) error {
		return &clade.Error{Op: "keep", On: "machine", Kind: clade.Unsupported, Err: fmt.Errorf(format, args...), Hint: "stop it and start it again, then it can be kept"}
	}
	var backends []struct {
		ID string `json:"id"`
	}
	if err := c.Execute(ctx, "query-memdev", nil, &backends); err != nil {
		return err
	}
	for _, b := range backends {
		if b.ID == memoryID {
			return unsupported("it goes on from the memory of a warm template, and has its devices elsewhere")
		}
	}
	var kvm struct {
		Enabled bool `json:"enabled"`
	}
	if err := c.Execute(ctx, "query-kvm", nil, &kvm); err != nil {
		return err
	}
	if kvm.Enabled != (bound.Accelerator == "kvm") {
		return unsupported("it was started under another accelerator than %s", bound.Accelerator)
	}
	binary, err := d.Binary()
	if err != nil {
		return err
	}
	pid, _ := hold.Holder(lockPath(p))
	is, err := os.Stat(binary)
	runs, err2 := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if !os.SameFile(is, runs) {
		return unsupported("it runs under another QEMU than %s, which was replaced since", binary)
	}
	return nil
}

// keep does what must be of one moment. The machine runs on, however it ends.
func keep(ctx context.Context, c *qmp.Client, socket, state string, moves []move) (pause hypervisor.Pause, err error) {
	if err := c.Execute(ctx, "migrate-set-parameters", object{"max-bandwidth": keepRate}, nil); err != nil {
		return pause, err
	}
	began := time.Now()
	defer func() {
		err = errors.Join(err, goOn(ctx, c, err != nil))
		pause.Length = time.Since(began)
	}()
	if err := c.Execute(ctx, "stop", nil, nil); err != nil {
		return pause, err
	}
	if len(moves) > 0 {
		if err := c.Execute(ctx, "transaction", object{"actions": switches(moves)}, nil); err != nil {
			return pause, err
		}
	}
	return pause, pour(ctx, c, socket, state)
}

// goOn lets the processors run, also when the caller's context has ended. What is
// still being written is given up first, where that is told.
func goOn(ctx context.Context, c *qmp.Client, giveUp bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), thawLimit)
	defer cancel()
	if giveUp {
		_ = c.Execute(ctx, "migrate_cancel", nil, nil)
		if err := over(ctx, c); err != nil {
			return err
		}
	}
	return c.Execute(ctx, "cont", nil, nil)
}

// over returns once nothing is being written any more.
func over(ctx context.Context, c *qmp.Client) error {
	for {
		var said struct {
			Status string `json:"status"`
		}
		if err := c.Execute(ctx, "query-migrate", nil, &said); err != nil {
			return err
		}
		switch said.Status {
		case "", "none", "completed", "failed", "cancelled":
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Continue implements hypervisor.Keeper.
func (d *Driver) Continue(ctx context.Context, p hypervisor.Place) error {
	if err := running(p); err != nil {
		return err
	}
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return talkError(p, "ask", "QEMU", err)
	}
	defer c.Close()
	var said struct {
		Status string `json:"status"`
	}
	if err := c.Execute(ctx, "query-status", nil, &said); err != nil {
		return talkError(p, "ask", "QEMU", err)
	}
	if said.Status == "running" {
		return nil
	}
	return talkError(p, "continue", "machine", goOn(ctx, c, true))
}
