package fake

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

// CreateTemplate implements clade.Templates.
func (h *Home) CreateTemplate(ctx context.Context, spec clade.TemplateSpec, p clade.Progress) (*clade.Template, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "template"); err != nil {
		return nil, err
	}
	m, err := h.machine("create template from", spec.Machine)
	if err != nil {
		return nil, err
	}
	ref := spec.Ref
	if ref.Version == "" {
		n := 1
		for _, t := range h.s.Templates {
			if t.Name == ref.Name {
				n++
			}
		}
		ref.Version = strconv.Itoa(n)
	}
	if _, err := h.template(ref); err == nil {
		return nil, fail("create", "template "+ref.String(), clade.Exists, "leave out the version: clade counts", "the version is taken")
	}
	layer := h.freeze(m)
	t := &clade.Template{Name: ref.Name, Version: ref.Version, Source: "machine " + string(m.Name), User: m.User, Hardware: m.Hardware, Created: epoch}
	if !spec.SkipGeneralize {
		p.Tell(clade.Event{Step: "generalize", Note: "erase the marks"})
		files := h.s.Guests[layer.ID].Files
		layer = h.addLayer(layer.ID, "generalized for template "+ref.String(), 4*clade.MiB)
		h.s.Guests[layer.ID] = &guest{Files: files}
		report, err := h.s.Guests[layer.Parent].copy().erase(spec.Marks, false)
		if err != nil {
			return nil, err
		}
		t.Generalized = true
		if t.Attestation, err = json.Marshal(report); err != nil {
			return nil, err
		}
		p.Tell(clade.Event{Step: "generalize", End: true})
	}
	t.Disks = []clade.TemplateDisk{{Layer: layer.ID, Virtual: virtualSize}}
	for _, d := range m.Disks[1:] {
		if spec.WithData {
			data := h.addLayer("", "freeze of machine "+string(m.Name), linkedSize)
			t.Disks = append(t.Disks, clade.TemplateDisk{Slot: d.Slot, Layer: data.ID, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount})
		}
	}
	h.s.Templates = append(h.s.Templates, t)
	made := *h.counted(t)
	made.Pause = pause(m)
	return &made, nil
}

func (h *Home) template(ref clade.Ref) (*clade.Template, error) {
	for _, t := range slices.Backward(h.s.Templates) {
		if t.Name == ref.Name && (ref.Version == "" || t.Version == ref.Version) {
			return t, nil
		}
	}
	return nil, fail("find", "template "+ref.String(), clade.NotFound, "clade template ls shows what there is", "no template has this name")
}

func (h *Home) counted(t *clade.Template) *clade.Template {
	c := *t
	machines, _ := lineage.New(h.lineage()).Above(t.Disks[0].Layer)
	c.Machines = len(machines)
	if w := h.warm(t.Ref()); w != nil {
		counted := *w
		counted.Clones = h.clones(w.ID)
		c.Warm = &counted
	}
	return &c
}

// Template implements clade.Templates.
func (h *Home) Template(_ context.Context, ref clade.Ref) (*clade.Template, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, err := h.template(ref)
	if err != nil {
		return nil, err
	}
	return h.counted(t), nil
}

// Templates implements clade.Templates.
func (h *Home) Templates(context.Context) ([]*clade.Template, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []*clade.Template{}
	for _, t := range h.s.Templates {
		all = append(all, h.counted(t))
	}
	return all, nil
}

// RemoveTemplate implements clade.Templates.
func (h *Home) RemoveTemplate(_ context.Context, ref clade.Ref) (*clade.Removal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, err := h.template(ref)
	if err != nil {
		return nil, err
	}
	for name, p := range h.s.Pools {
		if p.Spec.Template == t.Ref() {
			return nil, fail("remove", "template "+t.Ref().String(), clade.InUse, "clade pool update "+string(name)+" --to "+string(ref.Name)+":VERSION", "pool %s makes its machines of it", name)
		}
	}
	h.s.Templates = slices.DeleteFunc(h.s.Templates, func(other *clade.Template) bool { return other == t })
	h.detach(t.Ref())
	freed, kept := h.sweep(t.Disks[0].Layer)
	return &clade.Removal{Removed: "template " + t.Ref().String(), Freed: freed, Kept: kept}, nil
}

// sweep drops unused layers and says which of the chain at id stay.
func (h *Home) sweep(id string) (freed clade.Bytes, kept []clade.KeptLayer) {
	chain := h.chain(id)
	unused := lineage.New(h.lineage()).Unused()
	for _, l := range unused {
		freed += l.Allocated
		delete(h.s.Guests, l.ID)
	}
	h.s.Layers = slices.DeleteFunc(h.s.Layers, func(l *clade.Layer) bool { return slices.Contains(unused, l) })
	tree := lineage.New(h.lineage())
	for _, l := range chain {
		if !slices.Contains(unused, l) {
			kept = append(kept, clade.KeptLayer{Layer: l.ID, Bytes: l.Allocated, Needed: tree.Needs(l.ID)})
		}
	}
	return freed, kept
}
