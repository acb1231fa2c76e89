package host

import (
	"context"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
)

// Machine returns one machine with its state. Kind NotFound.
func (h *Host) Machine(ctx context.Context, name clade.Name) (*clade.Machine, error) {
	m, err := h.record(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := h.listed(ctx, []*store.Machine{m})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Machines returns all machines by name, with their states.
func (h *Host) Machines(ctx context.Context) ([]*clade.Machine, error) {
	var records []*store.Machine
	var templates []*clade.Template
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		if templates, err = tx.Templates(); err != nil {
			return err
		}
		records, err = tx.Machines()
		return err
	})
	if err != nil {
		return nil, err
	}
	list, err := h.listed(ctx, records)
	if err != nil {
		return nil, err
	}
	outdate(list, templates)
	return list, h.tendFor(ctx, list)
}

// outdate notes which machines were made of a version that is not the newest.
func outdate(list []*clade.Machine, templates []*clade.Template) {
	newest := make(map[clade.Name]clade.Ref)
	for _, t := range templates { // by name, the oldest version first
		newest[t.Name] = t.Ref()
	}
	for _, m := range list {
		text, is := strings.CutPrefix(m.Source, "template ")
		if ref, err := clade.ParseRef(text); is && err == nil && newest[ref.Name] != ref && newest[ref.Name].Name != "" {
			m.Newer = newest[ref.Name].Version
		}
	}
}

// listed adds to records what is derived: states and depths.
func (h *Host) listed(ctx context.Context, records []*store.Machine) ([]*clade.Machine, error) {
	tree, err := h.tree(ctx)
	if err != nil {
		return nil, err
	}
	depths := make(map[string]int)
	list := make([]*clade.Machine, len(records))
	for i, r := range records {
		m := r.Machine
		status, err := h.Driver.Status(ctx, h.place(m.ID))
		if err != nil {
			return nil, fileError("find", "machine "+string(m.Name), err)
		}
		m.State, m.Reason, m.PID = status.State, status.Reason, status.PID
		for j := range m.Disks {
			layer := m.Disks[j].Layer
			if _, known := depths[layer]; !known {
				depths[layer] = tree.Depth(layer)
			}
			m.Disks[j].Depth = depths[layer]
		}
		list[i] = &m
	}
	return list, nil
}

// Lineage returns the layers and all that rests on them, without states.
func (h *Host) Lineage(ctx context.Context) (l *clade.Lineage, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		l, err = readLineage(tx)
		return err
	})
	return l, err
}

func readLineage(tx *store.Tx) (*clade.Lineage, error) {
	layers, err := tx.Layers()
	if err != nil {
		return nil, err
	}
	templates, err := tx.Templates()
	if err != nil {
		return nil, err
	}
	records, err := tx.Machines()
	if err != nil {
		return nil, err
	}
	snapshots, err := tx.Snapshots("")
	if err != nil {
		return nil, err
	}
	warm, err := tx.Warm()
	if err != nil {
		return nil, err
	}
	l := &clade.Lineage{Layers: layers, Templates: templates, Snapshots: snapshots, Warm: warm}
	for _, r := range records {
		l.Machines = append(l.Machines, &r.Machine)
	}
	return l, nil
}

// tree indexes the layers alone, which is all that chains and depths need.
func (h *Host) tree(ctx context.Context) (*lineage.Tree, error) {
	var l clade.Lineage
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		l.Layers, err = tx.Layers()
		return err
	})
	return lineage.New(&l), err
}

// Usage accounts for the bytes of machines and layers on the host's disk.
func (h *Host) Usage(ctx context.Context) (*clade.Usage, error) {
	var records []*store.Machine
	var l *clade.Lineage
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		if records, err = tx.Machines(); err != nil {
			return err
		}
		l, err = readLineage(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	tree := lineage.New(l)
	u := &clade.Usage{Machines: []clade.MachineUsage{}, Layers: []clade.LayerUsage{}}
	size := make(map[string]clade.Bytes)
	for _, layer := range l.Layers {
		n, err := image.Allocated(h.layerPath(layer.ID))
		if err != nil {
			return nil, fileError("measure", "layer "+layer.ID, err)
		}
		size[layer.ID] = n
		u.Allocated += n
		machines, templates := tree.Above(layer.ID)
		u.Layers = append(u.Layers, clade.LayerUsage{ID: layer.ID, Origin: layer.Origin, Allocated: n, Machines: machines, Templates: templates})
	}
	for _, m := range records {
		mu := clade.MachineUsage{Name: m.Name, Clone: m.Clone}
		for i, head := range h.headPaths(m) {
			n, err := image.Allocated(head)
			if err != nil {
				return nil, fileError("measure", "machine "+string(m.Name), err)
			}
			mu.Exclusive += n
			mu.Virtual += m.Disks[i].Virtual
			chain, err := tree.Chain(m.Disks[i].Layer)
			if err != nil {
				return nil, err
			}
			for _, layer := range chain {
				mu.Shared += size[layer.ID]
			}
		}
		u.Allocated += mu.Exclusive
		u.FullCost += mu.Exclusive + mu.Shared
		u.Machines = append(u.Machines, mu)
	}
	return u, nil
}
