package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
	"github.com/clade-vm/clade/undo"
)

// A change is what becomes of a stopped machine's disks.
type change struct {
	disks   []clade.Disk               // those that get new heads, and what they rest on then; the others stay as they are
	prepare func(files []string) error // fills the new heads, which are empty, before anyone sees them; those of disks that rest on nothing it makes
	record  func(tx *store.Tx) error   // is said in the same transaction

	// run starts the machine, as it will be recorded, on its new heads; what it adds to
	// the stack ends it again. Nothing is committed where that fails.
	run    func(op *operation, next *store.Machine, u *undo.Stack) error
	asleep bool // the machine, an instant clone, is asleep then
}

// replaceHeads gives a stopped machine new heads, built aside, in place of its
// own: all of it happens or nothing. What the old heads held is gone, and layers
// that nothing rests on any more with it. The caller holds m.
//
// A command that dies before the commit leaves a new head without a record, one
// that dies after it an old one: the sweep removes either (sweepOperation).
func (h *Host) replaceHeads(ctx context.Context, m *store.Machine, c change) (*clade.Removal, error) {
	op, err := h.begin(ctx, "heads")
	if err != nil {
		return nil, err
	}
	defer op.end()
	if err := os.WriteFile(filepath.Join(op.dir, frozenFile), []byte(m.Name), 0o600); err != nil {
		return nil, err
	}
	next, dir, err := h.buildHeads(op, m, c.disks)
	if err != nil {
		return nil, err
	}
	h.did("heads: built")
	built := make([]string, len(c.disks))
	for i, d := range c.disks {
		built[i] = filepath.Join(dir, next.Heads[at(next, d.Slot)])
	}
	if c.prepare != nil {
		if err := c.prepare(built); err != nil {
			return nil, err
		}
		h.did("heads: prepared")
	}
	for _, file := range built {
		if err := syncDir(file); err != nil { // a file is synced like a directory
			return nil, err
		}
	}
	r := &clade.Removal{Removed: "what machine " + string(m.Name) + " had written"}
	for _, head := range h.headsOf(m, c.disks) {
		if n, err := image.Allocated(head); err == nil {
			r.Freed += n
		}
	}
	var gone []*clade.Layer
	record := func(tx *store.Tx) (err error) {
		if err := tx.SetAsleep(m.ID, c.asleep); err != nil {
			return err
		}
		if c.record != nil {
			if err := c.record(tx); err != nil {
				return err
			}
		}
		gone, err = removeUnused(tx)
		return err
	}
	if err := h.placing(ctx, func() error { return h.placeHeads(ctx, op, next, c, dir, record) }); err != nil {
		return nil, err
	}
	h.did("heads: committed")
	if err := h.dropOldHeads(next); err != nil {
		op.keep = true // it happened: the old heads are the sweep's now
		h.Config.Log.Warn("old heads stay", "machine", m.Name, "err", err)
	}
	return r, h.dropLayers(ctx, r, gone, nil)
}

// buildHeads makes, as deep in op's directory as a machine's heads lie, empty heads of
// disks on the layers these name. It returns the record with them, and where they are.
func (h *Host) buildHeads(op *operation, m *store.Machine, disks []clade.Disk) (*store.Machine, string, error) {
	next := clone(m)
	if err := os.Symlink(h.path(layersDir), filepath.Join(op.dir, layersDir)); err != nil {
		return nil, "", err
	}
	dir := filepath.Join(op.dir, machinesDir, m.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	for _, d := range disks {
		i := at(m, d.Slot)
		d.Serial, d.Label, d.Mount = m.Disks[i].Serial, m.Disks[i].Label, m.Disks[i].Mount
		next.Disks[i], next.Heads[i] = d, nextHead(d.Slot, m.Heads[i])
		if d.Layer == "" {
			continue
		}
		if err := qcow2.WriteOverlay(filepath.Join(dir, next.Heads[i]), head(d.Layer, d.Virtual)); err != nil {
			return nil, "", err
		}
	}
	return next, dir, nil
}

// placeHeads moves the heads that were built into m's directory and commits that m
// writes to them.
func (h *Host) placeHeads(ctx context.Context, op *operation, m *store.Machine, c change, built string, record func(*store.Tx) error) (err error) {
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	for _, file := range h.headsOf(m, c.disks) {
		if err := os.Rename(filepath.Join(built, filepath.Base(file)), file); err != nil {
			return err
		}
		u.Add("remove "+file, func(context.Context) error { return op.remove(file) })
		h.did("heads: one in place")
	}
	if err := syncDir(h.machineDir(m.ID)); err != nil {
		return err
	}
	if c.run != nil {
		if err := c.run(op, m, &u); err != nil {
			return err
		}
	}
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		var errs []error
		for _, d := range c.disks {
			errs = append(errs, tx.SetDisk(m.ID, d, m.Heads[at(m, d.Slot)]))
		}
		return errors.Join(append(errs, record(tx))...)
	})
	return op.committed(&u, err)
}

// holdStopped holds a machine that must not run. Kinds: NotFound, Busy, InUse.
func (h *Host) holdStopped(ctx context.Context, name clade.Name, op string) (*store.Machine, func(), error) {
	if err := h.restore(ctx); err != nil {
		return nil, nil, err
	}
	m, release, err := h.hold(ctx, name, op)
	if err != nil {
		return nil, nil, err
	}
	err = h.mustBeStopped(ctx, m, op)
	if err == nil {
		err = fileError(op, "machine "+string(name), h.settle(ctx, m))
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return m, release, nil
}
