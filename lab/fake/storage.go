package fake

import (
	"context"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

func (h *Home) lineage() *clade.Lineage {
	return &clade.Lineage{Layers: slices.Clone(h.s.Layers), Templates: slices.Clone(h.s.Templates), Machines: h.list(), Snapshots: slices.Clone(h.s.Snapshots)}
}

// Lineage implements clade.Storage.
func (h *Home) Lineage(ctx context.Context) (*clade.Lineage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lineage(), h.may(ctx, "lineage")
}

// Usage implements clade.Storage.
func (h *Home) Usage(context.Context) (*clade.Usage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := &clade.Usage{Machines: []clade.MachineUsage{}, Layers: []clade.LayerUsage{}}
	tree := lineage.New(h.lineage())
	for _, l := range h.s.Layers {
		machines, templates := tree.Above(l.ID)
		u.Layers = append(u.Layers, clade.LayerUsage{ID: l.ID, Origin: l.Origin, Allocated: l.Allocated, Machines: machines, Templates: templates})
		u.Allocated += l.Allocated
	}
	for _, m := range h.list() {
		mu := clade.MachineUsage{Name: m.Name, Clone: m.Clone, Virtual: virtualSize, Exclusive: h.s.Heads[m.Name], Shared: h.below(m.Disks[0].Layer)}
		u.Machines = append(u.Machines, mu)
		u.Allocated += mu.Exclusive
		u.FullCost += mu.Exclusive + mu.Shared
	}
	return u, nil
}

// Verify implements clade.Storage.
func (h *Home) Verify(_ context.Context, names []string, p clade.Progress) ([]clade.Verdict, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	layers := h.s.Layers
	if len(names) > 0 {
		layers = nil
		for _, name := range names {
			m, err := h.machine("verify", clade.Name(name))
			if err != nil {
				return nil, err
			}
			layers = append(layers, h.chain(m.Disks[0].Layer)...)
		}
	}
	tree := lineage.New(h.lineage())
	verdicts := []clade.Verdict{}
	var err error
	for _, l := range layers {
		p.Tell(clade.Event{Step: "verify layers", Note: l.ID})
		machines, templates := tree.Above(l.ID)
		v := clade.Verdict{Layer: l.ID, Intact: !h.s.Rotten[l.ID], Needed: templates}
		for _, m := range machines {
			v.Needed = append(v.Needed, string(m))
		}
		if !v.Intact {
			v.Detail = "its digest is not what was sealed"
			err = fail("verify", "layer "+l.ID, clade.Corrupt, "restore the file from a backup", "%s", v.Detail)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, err
}

// Examine implements clade.Doctor.
func (h *Home) Examine(context.Context, clade.Progress) ([]clade.Check, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	checks := []clade.Check{
		{Name: "qemu-system-x86_64", OK: true, Required: true, Found: "7.2.0"},
		{Name: "reflink", Found: "ext4", Fix: "put the home on XFS or btrfs"},
	}
	if h.s.Knobs.FailOn == "doctor" {
		checks = append(checks, clade.Check{Name: "qemu-img", Required: true, Found: "not found", Fix: "apt-get install qemu-utils"})
	}
	return checks, nil
}
