package host

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/clade-vm/clade"
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
	var asking sync.WaitGroup
	var asked error
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		if templates, err = tx.Templates(); err != nil {
			return err
		}
		if records, err = tx.Bare(); err != nil {
			return err
		}
		asking.Go(func() { asked = h.states(ctx, records) })
		return tx.AddDisks(records)
	})
	asking.Wait()
	if err := errors.Join(err, asked); err != nil {
		return nil, err
	}
	list, err := h.deep(ctx, records)
	if err != nil {
		return nil, err
	}
	outdate(list, templates)
	return list, h.tendFor(ctx, list)
}

// outdate notes which machines were made of a version that is not the newest.
func outdate(list []*clade.Machine, templates []*clade.Template) {
	newest := make(map[clade.Name]string)
	for _, t := range templates { // by name, the oldest version first
		newest[t.Name] = t.Version
	}
	for _, m := range list {
		ref, is := strings.CutPrefix(m.Source, "template ")
		name, version, _ := strings.Cut(ref, ":")
		if now := newest[clade.Name(name)]; is && now != "" && now != version {
			m.Newer = now
		}
	}
}

// listed adds to records what is derived, states and depths, and returns the machines
// in them.
func (h *Host) listed(ctx context.Context, records []*store.Machine) ([]*clade.Machine, error) {
	if err := h.states(ctx, records); err != nil {
		return nil, err
	}
	return h.deep(ctx, records)
}

// deep adds to records how deep their chains are, and which budget that is too much for.
func (h *Host) deep(ctx context.Context, records []*store.Machine) ([]*clade.Machine, error) {
	tree, err := h.tree(ctx)
	if err != nil {
		return nil, err
	}
	depths := make(map[string]int)
	list := make([]*clade.Machine, len(records))
	for i, r := range records {
		for j := range r.Disks {
			layer := r.Disks[j].Layer
			if _, known := depths[layer]; !known {
				depths[layer] = tree.Depth(layer)
			}
			r.Disks[j].Depth = depths[layer]
		}
		if budget := first(h.Budget, clade.ChainBudget); r.Depth() > budget {
			r.Budget = budget
		}
		list[i] = &r.Machine
	}
	return list, nil
}

// states adds to records what the driver says, several at once: a running machine may
// take its time to answer.
func (h *Host) states(ctx context.Context, records []*store.Machine) error {
	const atOnce = 8
	errs := make([]error, min(atOnce, len(records)))
	var wg sync.WaitGroup
	for worker := range errs {
		wg.Go(func() {
			for i := worker; i < len(records) && errs[worker] == nil; i += len(errs) {
				m := records[i]
				s, err := h.Driver.Status(ctx, h.place(m.ID))
				m.State, m.Reason, m.PID = s.State, s.Reason, s.PID
				errs[worker] = fileError("find", "machine "+string(m.Name), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
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
