package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
)

const (
	// lookPause is how long nobody looks for chains that are too long.
	lookPause = time.Minute
	// compactAgain is how long a machine with which it failed is left alone.
	compactAgain = time.Hour
	// yieldPause is how long it takes at most to see that somebody wants a machine.
	yieldPause = 100 * time.Millisecond
	// quietFor is how long nothing was written to the heads of a running machine that is
	// compacted, and leisure how much is copied for it in a second.
	quietFor = 30 * time.Second
	leisure  = 16 * clade.MiB
)

// keepShort compacts machines whose chains are over the budget, until ctx ends: one at
// a time, and with what nobody else wants of the computer. Machines that write are left
// alone, and one that a command wants is given back as it was.
func (h *Host) keepShort(ctx context.Context, p clade.Progress) {
	failed := make(map[string]time.Time)
	for {
		long, err := h.overBudget(ctx)
		if err != nil && ctx.Err() == nil {
			h.Config.Log.Error("chains cannot be looked at", "error", err)
		}
		for _, m := range long {
			if ctx.Err() != nil || time.Since(failed[m.ID]) < compactAgain {
				continue
			}
			c, err := h.compactIdly(ctx, m.Name)
			switch {
			case errors.Is(err, clade.Busy) || errors.Is(err, clade.NotFound) || errors.Is(err, clade.NotRunning) || ctx.Err() != nil: // the next look finds it free, ended, or gone
			case err != nil:
				failed[m.ID] = time.Now()
				h.Config.Log.Error("the chain stays longer than its budget", "machine", m.Name, "depth", m.Depth(), "error", err)
			case c != nil:
				h.Config.Log.Info("compacted", "machine", m.Name, "was", c.Was, "is", c.Is, "freed", c.Freed)
				p.Tell(clade.Event{Step: fmt.Sprintf("compact machine %s: %d layers lay below it, now %d", m.Name, c.Was, c.Is), End: true})
			}
		}
		if !pause(ctx, lookPause) {
			return
		}
	}
}

// overBudget returns the machines whose chains are too long and could be shorter.
func (h *Host) overBudget(ctx context.Context) (long []*clade.Machine, err error) {
	l, err := h.Lineage(ctx)
	if err != nil {
		return nil, err
	}
	tree := lineage.New(l)
	for _, m := range l.Machines {
		over, mergeable := false, false
		for i, d := range m.Disks {
			m.Disks[i].Depth = tree.Depth(d.Layer)
			over = over || m.Disks[i].Depth > first(h.Budget, clade.ChainBudget)
			run, _ := tree.Exclusive(d.Layer, d.Base)
			mergeable = mergeable || len(run) > 0
		}
		if over && mergeable && !m.Asleep {
			long = append(long, m)
		}
	}
	return long, nil
}

// errWanted ends what is done to a machine in the background.
var errWanted = &clade.Error{Kind: clade.Busy, Err: errors.New("a command wants the machine")}

// compactIdly compacts a machine that is stopped, or runs and does not write; of one
// that does, it returns nil. Kind Busy where a command works on the machine, or wants to.
func (h *Host) compactIdly(ctx context.Context, name clade.Name) (c *clade.Compaction, err error) {
	m, release, err := h.holdWithin(ctx, 0, name, "compact")
	if err != nil {
		return nil, err
	}
	defer release()
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return nil, err
	}
	if status.State != clade.Stopped && !h.leisurely(m, status) {
		return nil, nil
	}
	if err := h.ready(ctx, m); err != nil {
		return nil, err
	}
	if c, err = h.compaction(ctx, m); err != nil || len(c.Merged) == 0 {
		return nil, err
	}
	err = h.unlessWanted(ctx, m, func(ctx context.Context) (err error) {
		if status.State != clade.Stopped {
			return h.compactLeisurely(ctx, m, c)
		}
		image.Idly(func() { err = h.compactStopped(ctx, m, c, nil) })
		return err
	})
	return c, err
}

// leisurely tells whether a machine that runs may be compacted: its driver can do it,
// and nothing was written to its heads lately. Copying would take the disk from one
// that works.
func (h *Host) leisurely(m *store.Machine, status hypervisor.Status) bool {
	if _, can := h.Driver.(hypervisor.Streamer); !can || status.State != clade.Running {
		return false
	}
	for _, head := range h.headPaths(m) {
		if fi, err := os.Stat(head); err != nil || time.Since(fi.ModTime()) < quietFor {
			return false
		}
	}
	return true
}

// compactLeisurely compacts a machine that runs, at a pace that leaves the disk to its
// guest: what it takes is written by QEMU, which has no idle time of its own.
func (h *Host) compactLeisurely(ctx context.Context, m *store.Machine, c *clade.Compaction) error {
	// A full disk would stop all machines, not only this one.
	if err := h.roomFor(c.Writes); err != nil {
		return err
	}
	return h.compactRunning(ctx, m, c, leisure, nil)
}

// unlessWanted does something to a machine, and ends it where a command waits for the
// machine.
func (h *Host) unlessWanted(ctx context.Context, m *store.Machine, do func(context.Context) error) error {
	work, wanted := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer wanted(nil)
	watching.Go(func() {
		for pause(work, yieldPause) {
			if awaited(filepath.Join(h.machineDir(m.ID), machineLock)) {
				wanted(errWanted)
			}
		}
	})
	err := do(work)
	if err != nil && context.Cause(work) == errWanted {
		return errWanted
	}
	return err
}
