package fake

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

func (h *Home) lineage() *clade.Lineage {
	return &clade.Lineage{Layers: slices.Clone(h.s.Layers), Templates: slices.Clone(h.s.Templates), Machines: h.list(), Snapshots: slices.Clone(h.s.Snapshots), Warm: slices.Clone(h.s.Warm)}
}

// Lineage implements clade.Storage.
func (h *Home) Lineage(ctx context.Context) (*clade.Lineage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lineage(), h.may(ctx, "lineage")
}

// recordsSize is what a fake home's database takes.
const recordsSize = 48 * clade.KiB

// Usage implements clade.Storage.
func (h *Home) Usage(context.Context) (*clade.Usage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := &clade.Usage{Machines: []clade.MachineUsage{}, Layers: []clade.LayerUsage{}, Templates: []clade.TemplateUsage{}, Orphans: []clade.Garbage{}}
	tree := lineage.New(h.lineage())
	owners := tree.Owners()
	freed := map[lineage.Owner]clade.Bytes{}
	var heads, layers clade.Bytes
	for _, l := range h.s.Layers {
		machines, templates := tree.Above(l.ID)
		one := clade.LayerUsage{ID: l.ID, Origin: l.Origin, Virtual: virtualSize, Allocated: l.Allocated, Exclusive: l.Allocated,
			FreedWith: owners[l.ID].String(), Machines: machines, Templates: templates}
		if one.FreedWith != "" {
			one.Freed = l.Allocated
			freed[owners[l.ID]] += l.Allocated
		}
		u.Layers = append(u.Layers, one)
		layers += l.Allocated
	}
	for _, m := range h.list() {
		own := h.s.Heads[m.Name]
		mu := clade.MachineUsage{Name: m.Name, Clone: m.Clone, Virtual: virtualSize, Allocated: own, Heads: own, Exclusive: own,
			Shared: h.below(m.Disks[0].Layer), Freed: own + freed[lineage.Owner{Machine: m.Name}]}
		u.Machines = append(u.Machines, mu)
		heads += own
		u.FullCost += own + mu.Shared
	}
	for _, t := range h.s.Templates {
		owner := lineage.Owner{Template: t.Ref().String()}
		one := clade.TemplateUsage{Template: owner.Template, Virtual: virtualSize, Allocated: h.below(t.Disks[0].Layer), Exclusive: freed[owner], Freed: freed[owner]}
		one.Shared = one.Allocated - one.Exclusive
		u.Templates = append(u.Templates, one)
	}
	u.Parts = []clade.PartUsage{{What: "heads", Allocated: heads}, {What: "layers", Allocated: layers}, {What: "database", Allocated: recordsSize}}
	u.Allocated = heads + layers + recordsSize
	u.FullCost += recordsSize
	return u, nil
}

// PlanRemoval implements clade.Storage: it removes from a copy of the home.
func (h *Home) PlanRemoval(ctx context.Context, going clade.Going) (plan []*clade.Removal, err error) {
	h.mu.Lock()
	data, err := json.Marshal(h.s)
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c := New(Knobs{})
	if err := json.Unmarshal(data, &c.s); err != nil {
		return nil, err
	}
	add := func(r *clade.Removal, failed error) {
		plan, err = append(plan, r), errors.Join(err, failed)
	}
	for _, name := range going.Machines {
		if m := c.s.Machines[name]; m != nil {
			m.State = clade.Stopped
		}
		add(c.Remove(ctx, name))
	}
	for _, ref := range going.Templates {
		add(c.RemoveTemplate(ctx, ref))
	}
	for _, s := range going.Snapshots {
		add(c.RemoveSnapshot(ctx, s.Machine, s.Name))
	}
	if err != nil {
		return nil, err
	}
	return plan, nil
}

// Verify implements clade.Storage. What is damaged is mended from any file that is there.
func (h *Home) Verify(_ context.Context, spec clade.VerifySpec, p clade.Progress) ([]clade.Verdict, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	layers := h.s.Layers
	if len(spec.Names) > 0 {
		layers = nil
		for _, name := range spec.Names {
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
		v := clade.Verdict{Layer: l.ID, Intact: !h.s.Rotten[l.ID], Verified: epoch, Needed: tree.Needs(l.ID)}
		if !v.Intact && spec.Repair != "" {
			if _, failed := os.Stat(spec.Repair); failed != nil {
				return verdicts, fail("repair", "layers", clade.NotFound, "check the path", "there is no file %s", spec.Repair)
			}
			delete(h.s.Rotten, l.ID)
			v.Intact, v.Repaired = true, true
			for _, m := range h.list() {
				if m.State == clade.Running && slices.Contains(h.chain(m.Disks[0].Layer), l) {
					v.Restart = append(v.Restart, m.Name)
				}
			}
		}
		if !v.Intact {
			v.Detail, v.Verified = "its digest is not what was sealed", time.Time{}
			err = fail("verify", "layer "+l.ID, clade.Corrupt, "restore it: clade verify --repair FROM", "%s", v.Detail)
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
		{Name: "fs-verity", OK: true, Found: "the kernel checks what is read of sealed layers"},
		{Name: "reflink", Found: "ext4", Fix: "put the home on XFS or btrfs"},
	}
	if h.s.Knobs.FailOn == "doctor" {
		checks = append(checks, clade.Check{Name: "qemu-img", Required: true, Found: "not found", Fix: "apt-get install qemu-utils"})
	}
	return checks, nil
}
