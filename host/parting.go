package host

import (
	"context"
	"errors"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
)

// PlanRemoval says of each thing that is going what its removal would free once
// those before it are gone, and what would stay and why. Kinds: NotFound; InUse for a
// template of which a pool makes its machines.
func (h *Host) PlanRemoval(ctx context.Context, going clade.Going) ([]*clade.Removal, error) {
	a, err := h.account(ctx)
	var pools []*store.Pool
	if err == nil {
		err = h.db.Read(ctx, func(tx *store.Tx) (err error) {
			pools, err = tx.Pools()
			return err
		})
	}
	if err != nil {
		return nil, fileError("plan the removal", "in home "+h.Dir, err)
	}
	for _, l := range a.lineage.Layers {
		a.layers[l.ID] = a.ledger.layers[l.ID].sum()
	}
	p := &parting{account: a, pools: pools, left: *a.lineage, gone: map[string]bool{}, memory: map[string]clade.Bytes{}}
	for _, name := range going.Machines {
		err = errors.Join(err, p.machine(name))
	}
	for _, ref := range going.Templates {
		err = errors.Join(err, p.template(ref))
	}
	for _, s := range going.Snapshots {
		err = errors.Join(err, p.snapshot(s))
	}
	if err != nil {
		return nil, err
	}
	return p.plan, nil
}

// A parting is a lineage from which one thing after another is taken.
type parting struct {
	*account
	pools  []*store.Pool
	left   clade.Lineage
	gone   map[string]bool        // machines and layers by id
	memory map[string]clade.Bytes // of snapshots that are gone, by their machines' ids
	freed  clade.Bytes
	plan   []*clade.Removal
}

func (p *parting) machine(name clade.Name) error {
	on := "machine " + string(name)
	at := slices.IndexFunc(p.left.Machines, func(m *clade.Machine) bool { return m.Name == name })
	if at < 0 {
		return missing(on, "clade ls shows the machines there are")
	}
	m := p.left.Machines[at]
	disks := slices.Clone(m.Disks)
	p.left.Machines = slices.Delete(slices.Clone(p.left.Machines), at, at+1)
	p.left.Snapshots = slices.DeleteFunc(slices.Clone(p.left.Snapshots), func(s *clade.Snapshot) bool {
		if s.Machine == name {
			disks = append(disks, s.Disks...)
		}
		return s.Machine == name
	})
	p.gone[m.ID] = true
	return p.leave(on, disks)
}

func (p *parting) template(ref clade.Ref) error {
	at := -1
	for i, t := range p.left.Templates { // the newest is last
		if t.Name == ref.Name && (ref.Version == "" || t.Version == ref.Version) {
			at = i
		}
	}
	if at < 0 {
		return missing("template "+ref.String(), "clade template ls shows the templates there are")
	}
	t := p.left.Templates[at]
	if err := wanted(p.pools, t.Ref()); err != nil {
		return err
	}
	var disks []clade.Disk
	for _, d := range t.Disks {
		disks = append(disks, clade.Disk{Layer: d.Layer})
	}
	p.left.Templates = slices.Delete(slices.Clone(p.left.Templates), at, at+1)
	return p.leave("template "+t.Ref().String(), disks)
}

func (p *parting) snapshot(g clade.GoingSnapshot) error {
	on := "snapshot " + string(g.Name) + " of machine " + string(g.Machine)
	at := slices.IndexFunc(p.left.Snapshots, func(s *clade.Snapshot) bool { return s.Machine == g.Machine && s.Name == g.Name })
	if at < 0 {
		return missing(on, "clade snapshot ls shows what there is")
	}
	s := p.left.Snapshots[at]
	p.addMemory(s)
	disks := s.Disks
	p.left.Snapshots = slices.Delete(slices.Clone(p.left.Snapshots), at, at+1)
	return p.leave(on, disks)
}

// addMemory notes what goes with a snapshot that has memory. With the machine it goes
// as one of its files.
func (p *parting) addMemory(s *clade.Snapshot) {
	for _, m := range p.lineage.Machines {
		if m.Name == s.Machine && s.Memory != nil {
			p.memory[m.ID] += p.ledger.machines[m.ID].has(s.Memory.File.Name)
		}
	}
}

func missing(on, hint string) error {
	return &clade.Error{Op: "remove", On: on, Kind: clade.NotFound, Hint: hint}
}

// leave notes what goes with a thing that was taken from the lineage.
func (p *parting) leave(on string, disks []clade.Disk) error {
	tree := lineage.New(&p.left)
	for _, l := range tree.Unused() {
		p.gone[l.ID] = !p.unused[l.ID] // else an orphan before
	}
	var freed clade.Bytes
	for id, going := range p.gone {
		if going {
			freed += max(p.ledger.machines[id].sum()+p.ledger.layers[id].sum()-p.shared.of[id], 0)
		}
	}
	for id, n := range p.memory {
		if !p.gone[id] {
			freed += n
		}
	}
	together, _ := groups(p.shared, func(id string) bool { return p.gone[id] })
	freed += together[true]
	r := &clade.Removal{Removed: on, Freed: freed - p.freed}
	p.freed = freed
	below := make([]clade.TemplateDisk, len(disks))
	for i, d := range disks {
		below[i].Layer = d.Layer
	}
	for _, k := range kept(tree, below, func(id string) clade.Bytes { return p.layers[id] }) {
		if !p.gone[k.Layer] {
			r.Kept = append(r.Kept, k)
		}
	}
	p.plan = append(p.plan, r)
	return nil
}
