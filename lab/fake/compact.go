package fake

import (
	"context"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

// Compact implements clade.Storage: layers that only this machine needs go into its head.
func (h *Home) Compact(ctx context.Context, name clade.Name, dryRun bool, p clade.Progress) (*clade.Compaction, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "compact"); err != nil {
		return nil, err
	}
	m, err := h.machine("compact", name)
	if err != nil {
		return nil, err
	}
	d := &m.Disks[0]
	run, below := lineage.New(h.lineage()).Exclusive(d.Layer, d.Base)
	c := &clade.Compaction{Machine: name, Was: len(h.chain(d.Layer)), Is: len(h.chain(below)), Merged: []string{}, Writes: h.s.Heads[name]}
	for _, l := range run {
		c.Merged = append(c.Merged, l.ID)
		c.Writes += l.Allocated
	}
	if dryRun {
		return c, nil
	}
	p.Tell(clade.Event{Step: "compact machine " + string(name), End: true})
	if m.State == clade.Running {
		c.Notes = append(c.Notes, "its file systems were not trimmed: no guest agent answers")
	}
	h.s.Heads[name] = c.Writes
	d.Layer, d.Depth = below, c.Is
	h.s.Layers = slices.DeleteFunc(h.s.Layers, func(l *clade.Layer) bool { return slices.Contains(c.Merged, l.ID) })
	return c, nil
}
