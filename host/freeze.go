package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
	"github.com/clade-vm/clade/undo"
)

// freeze turns the heads of the machine's system disks into layers; the machine goes
// on with new, empty heads, running or not. It returns m as it is then: m.Disks name
// the new layers. The caller holds the machine.
func (h *Host) freeze(ctx context.Context, m *store.Machine, p clade.Progress) (*store.Machine, error) {
	return h.freezeDisks(ctx, m, systemDisks(m.Disks), p)
}

// A freezing says how disks are frozen.
type freezing struct {
	next func(layer string, virtual clade.Bytes) qcow2.Overlay // what the new heads are to be, on a layer
	move func(ctx context.Context, m *store.Machine) error     // makes the machine, if it runs, write to the heads of its record
}

// freezeDisks freezes some of the machine's disks, as of one moment, unless nothing
// was written to them.
func (h *Host) freezeDisks(ctx context.Context, m *store.Machine, disks []clade.Disk, p clade.Progress) (frozen *store.Machine, err error) {
	return h.freezeBy(ctx, m, disks, freezing{head, h.moveToHeads}, p)
}

func (h *Host) freezeBy(ctx context.Context, m *store.Machine, disks []clade.Disk, how freezing, p clade.Progress) (frozen *store.Machine, err error) {
	on := "machine " + string(m.Name)
	if err := awake(m, "freeze"); err != nil {
		return nil, err
	}
	if err := h.settle(ctx, m); err != nil {
		return nil, err
	}
	disks = asRecorded(m, disks)
	if fresh, err := h.fresh(ctx, m, disks); fresh || err != nil {
		return m, fileError("freeze", on, err)
	}
	if m, err = h.shorten(ctx, m, disks, p); err != nil {
		return nil, fileError("freeze", on, err)
	}
	return h.freezeOnto(ctx, m, asRecorded(m, disks), how, p)
}

// freezeOnto freezes disks, whatever is in them. m is settled.
//
// The order survives a kill at any instruction: the new heads and second names
// (hard links) of the old heads are put in place; then one transaction says that
// the machine writes to the new heads; then settle makes it true and seals. A
// freeze that was committed is always rolled forward, by whoever comes next.
func (h *Host) freezeOnto(ctx context.Context, m *store.Machine, disks []clade.Disk, how freezing, p clade.Progress) (frozen *store.Machine, err error) {
	on := "machine " + string(m.Name)
	p.Tell(clade.Event{Step: "freeze " + on})
	op, err := h.begin(ctx, "freeze")
	if err != nil {
		return nil, err
	}
	defer op.end()
	if err := os.WriteFile(filepath.Join(op.dir, frozenFile), []byte(m.Name), 0o600); err != nil {
		return nil, fileError("freeze", on, err)
	}
	frozen = clone(m)
	layers := make([]*clade.Layer, len(disks))
	for i, d := range disks {
		at := at(m, d.Slot)
		layers[i] = &clade.Layer{ID: newID(), Parent: d.Layer, Origin: "freeze of " + on, Virtual: d.Virtual, Created: time.Now().UTC()}
		frozen.Heads[at], frozen.Disks[at].Layer = nextHead(d.Slot, m.Heads[at]), layers[i].ID
		built := filepath.Join(op.dir, frozen.Heads[at])
		err := qcow2.WriteOverlay(built, how.next(layers[i].ID, d.Virtual))
		if err == nil {
			err = syncDir(built) // a file is synced like a directory
		}
		if err != nil {
			return nil, fileError("freeze", on, err)
		}
	}
	err = h.placing(ctx, func() error { return h.placeFreeze(ctx, op, m, frozen, disks, layers) })
	if err != nil {
		return nil, fileError("freeze", on, err)
	}
	h.did("freeze committed")
	return frozen, h.settleBy(ctx, frozen, how.move)
}

// placeFreeze puts the new heads of disks and the second names of the old ones in
// place and commits that the machine writes to the new heads.
func (h *Host) placeFreeze(ctx context.Context, op *operation, m, frozen *store.Machine, disks []clade.Disk, layers []*clade.Layer) (err error) {
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	for i, d := range disks {
		at := at(m, d.Slot)
		head, layer := filepath.Join(h.machineDir(m.ID), frozen.Heads[at]), h.layerPath(layers[i].ID)
		if err := os.Rename(filepath.Join(op.dir, frozen.Heads[at]), head); err != nil {
			return err
		}
		u.Add("remove "+head, func(context.Context) error { return op.remove(head) })
		h.did("freeze: new head in place")
		if err := os.Mkdir(filepath.Dir(layer), 0o700); err != nil {
			return err
		}
		u.Add("remove "+layer, func(context.Context) error { return os.RemoveAll(filepath.Dir(layer)) })
		h.did("freeze: layer's directory made")
		if err := os.Link(filepath.Join(h.machineDir(m.ID), m.Heads[at]), layer); err != nil {
			return err
		}
		h.did("freeze: layer linked")
		if err := syncDir(filepath.Dir(layer)); err != nil {
			return err
		}
	}
	if err := errors.Join(syncDir(h.machineDir(m.ID)), syncDir(h.path(layersDir))); err != nil {
		return err
	}
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		for i, d := range disks {
			if err := tx.AddLayer(layers[i]); err != nil {
				return err
			}
			if err := tx.SetHead(m.ID, d.Slot, frozen.Heads[at(m, d.Slot)], layers[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	return op.committed(&u, err)
}

// settle completes a committed freeze of m: a machine that still writes to the
// old heads is moved to the new ones, the old names go, and the layers are
// sealed. A stream that ended unseen is recorded. It does nothing when there is
// nothing to do. The caller holds m.
func (h *Host) settle(ctx context.Context, m *store.Machine) error {
	return h.settleBy(ctx, m, h.moveToHeads)
}

func (h *Host) settleBy(ctx context.Context, m *store.Machine, move func(context.Context, *store.Machine) error) error {
	if err := h.agree(ctx, m, &clade.Removal{}); err != nil {
		return err
	}
	pending, err := h.unsealed(ctx, m)
	if err != nil || len(pending) == 0 {
		return err
	}
	on := "machine " + string(m.Name)
	if err := move(ctx, m); err != nil {
		return fileError("freeze", on, err)
	}
	if err := h.dropOldHeads(m); err != nil {
		return fileError("freeze", on, err)
	}
	for _, l := range pending {
		if err := sealFile(h.layerPath(l.ID), l); err != nil {
			return fileError("seal", "layer "+l.ID, err)
		}
		h.did("freeze: layer file sealed")
	}
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		for _, l := range pending {
			if err := tx.SealLayer(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		h.did("freeze: layers recorded as sealed")
	}
	return err
}

func (h *Host) unsealed(ctx context.Context, m *store.Machine) (pending []*clade.Layer, err error) {
	mine := make(map[string]bool)
	for _, d := range m.Disks {
		mine[d.Layer] = true
	}
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		layers, err := tx.Layers()
		for _, l := range layers {
			if mine[l.ID] && !l.Sealed {
				pending = append(pending, l)
			}
		}
		return err
	})
	return pending, err
}

// moveToHeads makes a running machine write to the heads of its record.
func (h *Host) moveToHeads(ctx context.Context, m *store.Machine) error {
	p := h.place(m.ID)
	status, err := h.Driver.Status(ctx, p)
	if err != nil || status.State == clade.Stopped {
		return err
	}
	s, ok := h.Driver.(hypervisor.Snapshotter)
	if !ok {
		return &clade.Error{Kind: clade.Unsupported, Err: errors.New("this driver cannot freeze a running machine"), Hint: "stop it first"}
	}
	now, err := s.Heads(ctx, p)
	if err != nil {
		return err
	}
	want := h.headPaths(m)
	moved := len(now) == len(want)
	for i := range want {
		moved = moved && filepath.Base(now[i]) == filepath.Base(want[i])
	}
	if moved {
		return nil
	}
	pause, err := s.Switch(ctx, p, want)
	if err != nil {
		return err
	}
	m.Pause = &clade.Pause{Length: pause.Length, Frozen: pause.Frozen}
	h.Config.Log.Info("moved to new heads", "machine", m.Name, "pause", pause.Length, "frozen", pause.Frozen)
	h.did("freeze: running machine moved")
	return nil
}

// dropOldHeads removes the heads that are not in the record of m: the old names
// of what is a layer now, and new heads of a freeze that was never committed.
func (h *Host) dropOldHeads(m *store.Machine) error {
	old, err := h.oldHeads(m)
	if err != nil {
		return err
	}
	for _, head := range old {
		if err := ignoreAbsent(os.Remove(head)); err != nil {
			return err
		}
		h.did("freeze: old head's name removed")
	}
	return syncDir(h.machineDir(m.ID))
}

func (h *Host) oldHeads(m *store.Machine) (paths []string, err error) {
	dir := h.machineDir(m.ID)
	list, err := readNames(dir)
	for _, name := range list {
		if match, _ := filepath.Match("disk*-*"+qcow2Ext, name); match && !slices.Contains(m.Heads, name) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths, err
}

// fresh tells whether m is stopped and the heads of disks are as empty as they were
// made, so that the layers below them already say everything.
func (h *Host) fresh(ctx context.Context, m *store.Machine, disks []clade.Disk) (bool, error) {
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil || status.State != clade.Stopped {
		return false, err
	}
	for i, head := range h.headsOf(m, disks) {
		if disks[i].Layer == "" {
			return false, nil
		}
		empty, err := qcow2.Empty(head)
		if err != nil || !empty {
			return false, err
		}
	}
	return true, nil
}

// head is an empty head that rests on a layer. The name of that is right in
// machines/<id> and, once the head is a layer itself, in layers/<id>.
func head(layer string, virtual clade.Bytes) qcow2.Overlay {
	return qcow2.Overlay{Virtual: virtual, Backing: backing(layer), BackingFormat: "qcow2"}
}

// backing is the name under which a head, or a layer, knows the layer it rests on; ""
// for nothing.
func backing(layer string) string {
	if layer == "" {
		return ""
	}
	return fmt.Sprintf("../../%s/%s/%s", layersDir, layer, layerFile)
}

// clone copies a record so that its disks and heads can be changed.
func clone(m *store.Machine) *store.Machine {
	c := *m
	c.Disks = append([]clade.Disk(nil), m.Disks...)
	c.Heads = append([]string(nil), m.Heads...)
	return &c
}
