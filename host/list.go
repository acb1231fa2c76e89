package host

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
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
	states, err := h.states(ctx, records)
	if err != nil {
		return nil, err
	}
	depths := make(map[string]int)
	list := make([]*clade.Machine, len(records))
	for i, r := range records {
		m := r.Machine
		m.State, m.Reason, m.PID = states[i].State, states[i].Reason, states[i].PID
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

// states asks the driver about many machines, several at once: a running one may
// take its time to answer.
func (h *Host) states(ctx context.Context, records []*store.Machine) ([]hypervisor.Status, error) {
	const atOnce = 8
	list := make([]hypervisor.Status, len(records))
	errs := make([]error, min(atOnce, len(records)))
	var wg sync.WaitGroup
	for worker := range errs {
		wg.Go(func() {
			for i := worker; i < len(records) && errs[worker] == nil; i += len(errs) {
				var err error
				list[i], err = h.Driver.Status(ctx, h.place(records[i].ID))
				errs[worker] = fileError("find", "machine "+string(records[i].Name), err)
			}
		})
	}
	wg.Wait()
	return list, errors.Join(errs...)
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
	l, _, err := readRecords(tx)
	return l, err
}

// readRecords returns the lineage and, in the same order, its machines' records.
func readRecords(tx *store.Tx) (*clade.Lineage, []*store.Machine, error) {
	layers, err := tx.Layers()
	if err != nil {
		return nil, nil, err
	}
	templates, err := tx.Templates()
	if err != nil {
		return nil, nil, err
	}
	records, err := tx.Machines()
	if err != nil {
		return nil, nil, err
	}
	snapshots, err := tx.Snapshots("")
	if err != nil {
		return nil, nil, err
	}
	warm, err := tx.Warm()
	if err != nil {
		return nil, nil, err
	}
	l := &clade.Lineage{Layers: layers, Templates: templates, Snapshots: snapshots, Warm: warm}
	for _, r := range records {
		l.Machines = append(l.Machines, &r.Machine)
	}
	return l, records, nil
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
