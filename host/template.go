package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
)

// CreateTemplate makes a template from a machine, which goes on unchanged: its
// heads are frozen, an overlay of them is generalized in the appliance, and the
// result is sealed. Kinds: NotFound, Exists, Unproven. After a failure the
// machine may rest on one more layer; nothing else remains.
func (h *Host) CreateTemplate(ctx context.Context, spec clade.TemplateSpec, p clade.Progress) (*clade.Template, error) {
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	if _, err := generalize.Select(spec.Enable, spec.Disable); err != nil {
		return nil, err
	}
	ref, err := h.newVersion(ctx, spec.Ref)
	if err != nil {
		return nil, err
	}
	m, release, err := h.hold(ctx, spec.Machine, "create template")
	if err != nil {
		return nil, err
	}
	defer release()
	frozen, err := h.freezeDisks(ctx, m, disksOf(m, spec.WithData), p)
	if err != nil {
		return nil, err
	}
	op, err := h.begin(ctx, "template")
	if err != nil {
		return nil, err
	}
	defer op.end()
	t := &clade.Template{Name: ref.Name, Version: ref.Version, Source: "machine " + string(m.Name), User: m.User,
		Hardware: m.Hardware, Generalized: !spec.SkipGeneralize, Created: time.Now().UTC()}
	var below []string
	var virtual []clade.Bytes
	for _, d := range disksOf(frozen, spec.WithData) {
		t.Disks = append(t.Disks, clade.TemplateDisk{Slot: d.Slot, Layer: d.Layer, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount})
		if !d.Data() { // which hold no system whose marks could be erased
			below, virtual = append(below, d.Layer), append(virtual, d.Virtual)
		}
	}
	var layers []*clade.Layer
	if t.Generalized {
		if layers, _, err = h.generalizeLayers(ctx, op, below, virtual, spec.Marks, "template "+ref.String(), p); err != nil {
			return nil, err
		}
	}
	for i, l := range layers {
		t.Disks[i].Layer, t.Attestation = l.ID, l.Attestation
	}
	if err := h.placeMachines(ctx, op, layers, nil, func(tx *store.Tx) error { return addNewest(tx, t) }); err != nil {
		return nil, fileError("create", "template "+ref.String(), err)
	}
	made, err := h.Template(ctx, ref)
	if err == nil {
		made.Pause = frozen.Pause
	}
	return made, done(err)
}

// addNewest records a template as the newest of its name, which the order of their
// times says: also where the clock was set back since the last one.
func addNewest(tx *store.Tx, t *clade.Template) error {
	last, err := tx.Template(clade.Ref{Name: t.Name})
	if err != nil && !errors.Is(err, clade.NotFound) {
		return err
	}
	if err == nil && !t.Created.After(last.Created) {
		t.Created = last.Created.Add(1)
	}
	return tx.AddTemplate(t)
}

// newVersion fills in the next version, or refuses one that is there.
func (h *Host) newVersion(ctx context.Context, ref clade.Ref) (clade.Ref, error) {
	if _, err := clade.ParseName(string(ref.Name)); err != nil {
		return ref, err
	}
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		if ref.Version == "" {
			ref.Version, err = tx.NextVersion(ref.Name)
			return err
		}
		if t, _ := tx.Template(ref); t != nil {
			return &clade.Error{Op: "create", On: "template " + ref.String(), Kind: clade.Exists,
				Err: fmt.Errorf("this version is there already"), Hint: "templates never change: use the next version, or leave the version out"}
		}
		return nil
	})
	return ref, err
}

// Template returns one template; without a version, the newest. Kind NotFound.
func (h *Host) Template(ctx context.Context, ref clade.Ref) (t *clade.Template, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		t, err = tx.Template(ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, h.countMachines(ctx, []*clade.Template{t})
}

// Templates returns all templates.
func (h *Host) Templates(ctx context.Context) (list []*clade.Template, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		list, err = tx.Templates()
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, h.countMachines(ctx, list)
}

// countMachines fills in how many machines rest on each template.
func (h *Host) countMachines(ctx context.Context, list []*clade.Template) error {
	l, err := h.Lineage(ctx)
	if err != nil {
		return err
	}
	tree := lineage.New(l)
	for _, t := range list {
		for _, w := range l.Warm {
			if w.Template == t.Ref() {
				t.Warm = w
			}
		}
		for _, d := range t.Disks {
			if d.Slot == 0 {
				machines, _ := tree.Above(d.Layer)
				t.Machines = len(machines)
			}
		}
	}
	return nil
}

// RemoveTemplate takes a template's name away. Layers that clones rest on stay
// until the last of them goes. Kinds: NotFound; InUse where a pool makes its machines of it.
func (h *Host) RemoveTemplate(ctx context.Context, ref clade.Ref) (*clade.Removal, error) {
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	t, err := h.Template(ctx, ref)
	if err != nil {
		return nil, retitle("remove", err)
	}
	r := &clade.Removal{Removed: "template " + t.Ref().String()}
	exactly := h.freedExactly(ctx, clade.Going{Templates: []clade.Ref{t.Ref()}})
	var gone []*clade.Layer
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		pools, err := tx.Pools()
		if err == nil {
			err = wanted(pools, t.Ref())
		}
		if err != nil {
			return err
		}
		if err := tx.RemoveTemplate(t.Ref()); err != nil {
			return err
		}
		gone, err = removeUnused(tx)
		return err
	})
	if err != nil {
		return nil, fileError("remove", r.Removed, err)
	}
	h.did("template's record removed")
	err = h.dropLayers(ctx, r, gone, t.Disks)
	exactly(r)
	return r, err
}

// removeUnused deletes the records of all layers that nothing rests on.
func removeUnused(tx *store.Tx) ([]*clade.Layer, error) {
	if err := tx.RemoveUnusedWarm(); err != nil {
		return nil, err
	}
	l, err := readLineage(tx)
	if err != nil {
		return nil, err
	}
	unused := lineage.New(l).Unused()
	for _, layer := range unused {
		if err := tx.RemoveLayer(layer.ID); err != nil {
			return nil, err
		}
	}
	return unused, nil
}
