package host

import (
	"context"
	"errors"
	"os"

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
	r := &clade.Removal{Removed: on}
	for _, head := range h.headPaths(m) {
		if n, err := image.Allocated(head); err == nil {
			r.Freed += n
		}
	}
	var gone []*clade.Layer
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
	if err := h.erase(ctx, m.ID); err != nil {
		return nil, fileError("remove", on, err)
	}
	h.did("machine's files removed")
	var below []clade.TemplateDisk
	for _, d := range m.Disks {
		below = append(below, clade.TemplateDisk{Layer: d.Layer})
	}
	return r, h.dropLayers(ctx, r, gone, below)
}

// dropLayers removes the files of layers whose records are gone, and notes in r
// what was freed and which layers below the disks stayed, with what needs them.
func (h *Host) dropLayers(ctx context.Context, r *clade.Removal, gone []*clade.Layer, disks []clade.TemplateDisk) error {
	for _, l := range gone {
		if n, err := image.Allocated(h.layerPath(l.ID)); err == nil {
			r.Freed += n
		}
		if err := os.RemoveAll(h.layerDir(l.ID)); err != nil {
			return fileError("remove", "layer "+l.ID, err)
		}
		h.did("layer's file removed")
	}
	l, err := h.Lineage(ctx)
	if err != nil {
		return err
	}
	tree := lineage.New(l)
	for _, d := range disks {
		chain, err := tree.Chain(d.Layer)
		if errors.Is(err, clade.Corrupt) {
			continue // gone: it was removed just now
		}
		for _, layer := range chain {
			r.Kept = append(r.Kept, "layer "+layer.ID)
		}
	}
	return nil
}
