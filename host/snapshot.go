package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
)

// CreateSnapshot freezes a machine's heads, running or not, and keeps what it was
// under a name: of data disks there are no snapshots, but with the machine's memory.
// After a failure the machine may rest on one more layer.
func (h *Host) CreateSnapshot(ctx context.Context, spec clade.SnapshotSpec, p clade.Progress) (*clade.Snapshot, error) {
	machine, name := spec.Machine, spec.Name
	if _, err := clade.ParseName(string(name)); err != nil {
		return nil, err
	}
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	m, release, err := h.hold(ctx, machine, "create snapshot of")
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := h.kept(ctx, m, name)
	if err != nil {
		return nil, retitle("create snapshot of", err)
	}
	if s != nil {
		return nil, &clade.Error{Op: "create", On: "snapshot " + string(name) + " of machine " + string(machine), Kind: clade.Exists,
			Hint: "choose another name, or remove it: clade snapshot rm " + string(machine) + " " + string(name)}
	}
	if spec.Memory {
		return h.keepMemory(ctx, m, name, p)
	}
	frozen, err := h.freeze(ctx, m, p)
	if err != nil {
		return nil, err
	}
	s = moment(frozen, name)
	return s, h.db.Write(ctx, func(tx *store.Tx) error { return tx.AddSnapshot(m.ID, s) })
}

// moment is what a machine, whose heads were frozen just now, is.
func moment(frozen *store.Machine, name clade.Name) *clade.Snapshot {
	s := &clade.Snapshot{Machine: frozen.Name, Name: name, Clone: frozen.Clone, Source: frozen.Source, Created: time.Now().UTC(), Pause: frozen.Pause}
	for _, d := range systemDisks(frozen.Disks) {
		s.Disks = append(s.Disks, clade.Disk{Slot: d.Slot, Layer: d.Layer, Base: d.Base, Virtual: d.Virtual})
	}
	return s
}

// Snapshots returns those of one machine, or all where machine is empty.
func (h *Host) Snapshots(ctx context.Context, machine clade.Name) (list []*clade.Snapshot, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		id := ""
		if machine != "" {
			m, err := tx.Machine(machine)
			if err != nil {
				return err
			}
			id = m.ID
		}
		list, err = tx.Snapshots(id)
		return err
	})
	return list, err
}

// snapshot finds one of a machine's snapshots. Kind NotFound.
func (h *Host) snapshot(ctx context.Context, m *store.Machine, name clade.Name) (*clade.Snapshot, error) {
	s, err := h.kept(ctx, m, name)
	if err == nil && s == nil {
		err = &clade.Error{Op: "find", On: "snapshot " + string(name) + " of machine " + string(m.Name), Kind: clade.NotFound,
			Hint: "clade snapshot ls " + string(m.Name) + " shows what there is"}
	}
	return s, err
}

// kept returns one of a machine's snapshots, nil where there is none of that name.
func (h *Host) kept(ctx context.Context, m *store.Machine, name clade.Name) (*clade.Snapshot, error) {
	list, err := h.Snapshots(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, nil
}

// RestoreSnapshot makes a stopped machine what it was; what was written since is
// gone. One whose memory was kept goes on from there. On an error it is as it was before.
func (h *Host) RestoreSnapshot(ctx context.Context, spec clade.RestoreSpec, p clade.Progress) (*clade.Removal, error) {
	m, release, err := h.holdStopped(ctx, spec.Machine, "restore")
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := h.snapshot(ctx, m, spec.Name)
	if err != nil {
		return nil, retitle("restore", err)
	}
	if s.Memory != nil && !spec.DiskOnly {
		return h.resumeMemory(ctx, m, s, p)
	}
	return h.goBack(ctx, m, s, nil)
}

// goBack makes m's system disks what s says they were.
func (h *Host) goBack(ctx context.Context, m *store.Machine, s *clade.Snapshot, more func(*store.Tx) error) (*clade.Removal, error) {
	on, disks := "machine "+string(m.Name), systemDisks(s.Disks)
	if err := h.chainIntact(ctx, layersOf(disks)...); err != nil {
		return nil, fileError("restore", on, err)
	}
	r, err := h.replaceHeads(ctx, m, change{disks: disks, record: func(tx *store.Tx) error {
		err := errors.Join(tx.SetSource(m.ID, s.Clone, s.Source), tx.SetMachineID(m.ID, ""))
		if err == nil && more != nil {
			err = more(tx)
		}
		return err
	}})
	return r, fileError("restore", on, err)
}

// RemoveSnapshot takes a snapshot away; layers that others rest on stay.
func (h *Host) RemoveSnapshot(ctx context.Context, machine, name clade.Name) (*clade.Removal, error) {
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	m, release, err := h.hold(ctx, machine, "remove a snapshot of")
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := h.snapshot(ctx, m, name)
	if err != nil {
		return nil, retitle("remove", err)
	}
	r := &clade.Removal{Removed: "snapshot " + string(name) + " of machine " + string(machine)}
	exactly := h.freedExactly(ctx, clade.Going{Snapshots: []clade.GoingSnapshot{{Machine: machine, Name: name}}})
	op := &operation{}
	if s.Memory != nil {
		if op, err = h.begin(ctx, "forget"); err != nil { // names the machine to who comes after a kill
			return nil, err
		}
		defer op.end()
		if err := os.WriteFile(filepath.Join(op.dir, frozenFile), []byte(m.Name), 0o600); err != nil {
			return nil, fileError("remove", r.Removed, err)
		}
		if r.Freed, err = image.Allocated(h.memoryPath(m.ID, s)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, clade.NotFound) {
			return nil, fileError("remove", r.Removed, err)
		}
	}
	var gone []*clade.Layer
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		if err := tx.RemoveSnapshot(m.ID, name); err != nil {
			return err
		}
		gone, err = removeUnused(tx)
		return err
	})
	if err != nil {
		op.keep = errors.Is(err, store.ErrDoubtful)
		return nil, fileError("remove", r.Removed, err)
	}
	h.did("snapshot's record removed")
	if err := h.dropLooseMemory(ctx, m); err != nil {
		op.keep = true // the sweep removes it
		h.Config.Log.Warn("a memory stays", "snapshot", name, "err", err)
	}
	below := make([]clade.TemplateDisk, len(s.Disks))
	for i, d := range s.Disks {
		below[i].Layer = d.Layer
	}
	err = h.dropLayers(ctx, r, gone, below)
	exactly(r)
	return r, err
}
