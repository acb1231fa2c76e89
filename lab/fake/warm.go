package fake

import (
	"context"
	"fmt"
	"slices"

	"github.com/clade-vm/clade"
)

const warmSize = 180 * clade.MiB

// bound is what every memory of this home depends on.
var bound = clade.Bound{Version: "7.2.22", Binary: "sha256:0", Machine: "pc-q35-7.2", CPU: "max", Accelerator: "tcg"}

// WarmTemplate implements clade.Templates.
func (h *Home) WarmTemplate(ctx context.Context, spec clade.WarmSpec, p clade.Progress) (*clade.Warm, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "warm"); err != nil {
		return nil, err
	}
	t, err := h.template(spec.Template)
	if err != nil {
		return nil, err
	}
	h.detach(t.Ref())
	w := &clade.Warm{ID: fmt.Sprintf("w%d", h.next()), Template: t.Ref(), After: spec.After, Hardware: spec.Hardware, Created: epoch,
		Bound: bound,
		Files: []clade.WarmFile{{Name: "ram", Digest: "sha256:1", Size: clade.GiB, Allocated: warmSize}}}
	if w.After == "" {
		w.After = clade.AfterCloudInit
	}
	if w.Hardware.CPUs == 0 {
		w.Hardware.CPUs = t.Hardware.CPUs
	}
	if w.Hardware.Memory == 0 {
		w.Hardware.Memory = t.Hardware.Memory
	}
	layer := h.addLayer(t.Disks[0].Layer, "warm template "+t.Ref().String(), 4*clade.MiB)
	h.s.Guests[layer.ID] = h.s.Guests[layer.Parent].copy()
	w.Disks = []clade.TemplateDisk{{Layer: layer.ID, Virtual: virtualSize}}
	h.s.Warm = append(h.s.Warm, w)
	p.Tell(clade.Event{Step: "warm template " + t.Ref().String(), End: true})
	c := *w
	return &c, nil
}

// RemoveWarm implements clade.Templates.
func (h *Home) RemoveWarm(_ context.Context, ref clade.Ref) (*clade.Removal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, err := h.template(ref)
	if err != nil {
		return nil, err
	}
	w := h.warm(t.Ref())
	if w == nil {
		return nil, h.notWarm("cool", t)
	}
	h.detach(t.Ref())
	freed, kept := h.sweep(w.Disks[0].Layer)
	return &clade.Removal{Removed: "warm template " + t.Ref().String(), Freed: freed, Kept: kept}, nil
}

func (h *Home) notWarm(op string, t *clade.Template) error {
	return fail(op, "template "+t.Ref().String(), clade.Unsupported, "warm it: clade template warm "+t.Ref().String(), "it is not warm")
}

// warm returns the warm template of a template, or nil.
func (h *Home) warm(ref clade.Ref) *clade.Warm {
	for _, w := range h.s.Warm {
		if w.Template == ref {
			return w
		}
	}
	return nil
}

// detach takes the name from a warm template; one without clones goes.
func (h *Home) detach(ref clade.Ref) {
	w := h.warm(ref)
	if w == nil {
		return
	}
	w.Template = clade.Ref{}
	h.dropWarm()
}

// dropWarm removes the warm templates that have no name and no clones.
func (h *Home) dropWarm() {
	h.s.Warm = slices.DeleteFunc(h.s.Warm, func(w *clade.Warm) bool { return w.Template.Name == "" && h.clones(w.ID) == 0 })
}

func (h *Home) clones(warm string) (n int) {
	for _, m := range h.s.Machines {
		if m.Warm == warm {
			n++
		}
	}
	return n
}
