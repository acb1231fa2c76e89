package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/lineage"
)

const (
	// lookPause is how long nobody looks for chains that are too long.
	lookPause = time.Minute
	// compactAgain is how long a machine with which it failed is left alone.
	compactAgain = time.Hour
	// yieldPause is how long it takes at most to see that somebody wants a machine.
	yieldPause = 100 * time.Millisecond
)

// keepShort compacts machines whose chains are over the budget, until ctx ends: one at
// a time, and with what nobody else wants of the computer. Machines that run are left
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
			case errors.Is(err, clade.Busy) || errors.Is(err, clade.NotFound) || ctx.Err() != nil: // the next look finds it free, or gone
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

// compactIdly compacts a machine that is stopped; of one that runs it returns nil.
// Kind Busy where a command works on the machine, or wants to.
func (h *Host) compactIdly(ctx context.Context, name clade.Name) (c *clade.Compaction, err error) {
	m, release, err := h.holdWithin(ctx, 0, name, "compact")
	if err != nil {
		return nil, err
	}
	defer release()
	if status, err := h.Driver.Status(ctx, h.place(m.ID)); err != nil || status.State != clade.Stopped {
		return nil, err
	}
	if err := h.ready(ctx, m); err != nil {
		return nil, err
	}
	if c, err = h.compaction(ctx, m); err != nil || len(c.Merged) == 0 {
		return nil, err
	}
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
	image.Idly(func() { err = h.compactStopped(work, m, c, nil) })
	if err != nil && context.Cause(work) == errWanted {
		return nil, errWanted
	}
	return c, err
}
