package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
)

// Remove deletes a stopped machine: its record, its heads, and the layers that
// nothing else rests on. Kinds: NotFound, InUse (it runs).
func (h *Host) Remove(ctx context.Context, name clade.Name) (*clade.Removal, error) {
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	m, release, err := h.hold(ctx, name, "remove")
	if err != nil {
		return nil, err
	}
	defer release()
	on := "machine " + string(name)
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return nil, fileError("remove", on, err)
	}
	if status.State != clade.Stopped {
		return nil, &clade.Error{Op: "remove", On: on, Kind: clade.InUse, Err: errors.New("it is running"),
			Hint: "stop it first: clade stop " + string(name)}
	}
	r := &clade.Removal{Removed: on, Freed: takes(h.machineDir(m.ID))}
	below, err := h.restsOn(ctx, m)
	if err != nil {
		return nil, fileError("remove", on, err)
	}
	var gone []*clade.Layer
	exactly := h.freedExactly(ctx, clade.Going{Machines: []clade.Name{name}})
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		if err := tx.RemoveMachine(m.ID); err != nil {
			return err
		}
		gone, err = removeUnused(tx)
		return err
	})
	if err != nil {
		return nil, fileError("remove", on, err)
	}
	h.did("machine's record removed")
	if err := h.erase(ctx, m.ID); err != nil { // it has no record: the sweep removes it
		h.Config.Log.Warn("files stay", "machine", name, "err", err)
	}
	h.did("machine's files removed")
	err = h.dropLayers(ctx, r, gone, below)
	exactly(r)
	return r, err
}

// restsOn returns the layers that a machine's heads and snapshots rest on.
func (h *Host) restsOn(ctx context.Context, m *store.Machine) (below []clade.TemplateDisk, err error) {
	snapshots, err := h.Snapshots(ctx, m.Name)
	disks := slices.Clone(m.Disks)
	for _, s := range snapshots {
		disks = append(disks, s.Disks...)
	}
	for _, d := range disks {
		below = append(below, clade.TemplateDisk{Layer: d.Layer})
	}
	return below, err
}

// freedExactly looks, before something goes, what its removal frees on a file
// system where files share blocks: not what they take. The returned func says so in r.
func (h *Host) freedExactly(ctx context.Context, going clade.Going) func(r *clade.Removal) {
	if image.Reflinks(h.Dir) {
		if plan, err := h.PlanRemoval(ctx, going); err == nil {
			return func(r *clade.Removal) { r.Freed = plan[0].Freed }
		}
	}
	return func(*clade.Removal) {}
}

// done says of an error that only telling what was done failed.
func done(err error) error {
	if err == nil {
		return nil
	}
	return &clade.Error{Kind: clade.KindOf(err), Err: fmt.Errorf("it is done, but cannot be shown: %w", err)}
}

// shown is what an act that is done returns of what it made, or done's error.
func shown[T any](made T, err error) (T, error) { return made, done(err) }

// dropLayers removes the files of layers whose records are gone, and notes in r
// what was freed and which layers below the disks stayed, with what needs them.
func (h *Host) dropLayers(ctx context.Context, r *clade.Removal, gone []*clade.Layer, disks []clade.TemplateDisk) error {
	for _, l := range gone {
		r.Freed += takes(h.layerDir(l.ID))
		if err := os.RemoveAll(h.layerDir(l.ID)); err != nil {
			h.Config.Log.Warn("a layer's file stays", "layer", l.ID, "err", err) // it has no record: the sweep removes it
		}
		h.did("layer's file removed")
	}
	h.dropWarm(ctx, r)
	l, err := h.Lineage(ctx)
	if err != nil {
		return done(err)
	}
	parents := make(map[string]string, len(gone))
	for _, l := range gone {
		parents[l.ID] = l.Parent
	}
	for i := range disks {
		for parent, is := parents[disks[i].Layer]; is; parent, is = parents[disks[i].Layer] {
			disks[i].Layer = parent
		}
	}
	r.Kept = kept(lineage.New(l), disks, func(id string) clade.Bytes { return takes(h.layerDir(id)) })
	return nil
}

// kept names the layers below disks that are there, and what rests on them.
func kept(tree *lineage.Tree, disks []clade.TemplateDisk, takes func(id string) clade.Bytes) (list []clade.KeptLayer) {
	seen := make(map[string]bool)
	for _, d := range disks {
		for l := tree.Layer(d.Layer); l != nil && !seen[l.ID]; l = tree.Layer(l.Parent) {
			seen[l.ID] = true
			list = append(list, clade.KeptLayer{Layer: l.ID, Bytes: takes(l.ID), Needed: tree.Needs(l.ID)})
		}
	}
	return list
}
