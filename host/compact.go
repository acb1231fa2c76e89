package host

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
)

// Compact merges the layers that only this machine needs into its heads, and gives
// back what is zeroes. A stopped machine gets new heads, written sparsely; a running
// one copies into its heads what they lack while it runs on, and its guest is asked
// to discard what its file systems do not use. On an error it is as it was.
func (h *Host) Compact(ctx context.Context, name clade.Name, dryRun bool, p clade.Progress) (*clade.Compaction, error) {
	on := "machine " + string(name)
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	m, release, err := h.hold(ctx, name, "compact")
	if err != nil {
		return nil, err
	}
	defer release()
	if err := h.ready(ctx, m); err != nil {
		return nil, fileError("compact", on, err)
	}
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return nil, fileError("compact", on, err)
	}
	c, err := h.compaction(ctx, m)
	if err != nil || dryRun {
		return c, fileError("compact", on, err)
	}
	if status.State == clade.Stopped {
		return c, fileError("compact", on, h.compactStopped(ctx, m, c, p))
	}
	err = h.compactRunning(ctx, m, c, 0, p)
	if err == nil {
		err = h.trim(ctx, m, c, p)
	}
	return c, fileError("compact", on, err)
}

// A compaction is what will be done to the disks of a machine.
func (h *Host) compaction(ctx context.Context, m *store.Machine) (*clade.Compaction, error) {
	runs, tree, err := h.runs(ctx, m)
	if err != nil {
		return nil, err
	}
	c := &clade.Compaction{Machine: m.Name, Merged: []string{}}
	for i, r := range runs {
		c.Was = max(c.Was, tree.Depth(m.Disks[i].Layer))
		c.Is = max(c.Is, tree.Depth(r.below))
		n, err := h.allocated(append(h.layerPaths(r.ids()), h.headPaths(m)[i]))
		if err != nil {
			return nil, err
		}
		c.Writes += n
		c.Merged = append(c.Merged, r.ids()...)
	}
	return c, nil
}

func (h *Host) allocated(files []string) (sum clade.Bytes, err error) {
	for _, file := range files {
		n, err := image.Allocated(file)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// A run is what is merged into the head of one disk: layers from the top down, and
// what lies below them.
type run struct {
	layers []*clade.Layer
	below  string
}

func (r run) ids() []string {
	ids := make([]string, len(r.layers))
	for i, l := range r.layers {
		ids[i] = l.ID
	}
	return ids
}

// runs returns what can be merged into each head of m.
func (h *Host) runs(ctx context.Context, m *store.Machine) ([]run, *lineage.Tree, error) {
	l, err := h.Lineage(ctx)
	if err != nil {
		return nil, nil, err
	}
	tree := lineage.New(l)
	runs := make([]run, len(m.Disks))
	for i, d := range m.Disks {
		runs[i].layers, runs[i].below = tree.Exclusive(d.Layer, d.Base)
	}
	return runs, tree, nil
}

// leastGain is what a compaction that merges nothing must give back: a cluster.
const leastGain = 128 * clade.KiB

// errNothingGained ends a compaction that would only have copied.
var errNothingGained = errors.New("nothing is gained")

// compactStopped gives m new heads that hold what the old ones and the layers that
// only m needs held, but for zeroes.
func (h *Host) compactStopped(ctx context.Context, m *store.Machine, c *clade.Compaction, p clade.Progress) error {
	runs, _, err := h.runs(ctx, m)
	if err != nil {
		return err
	}
	if err := h.roomFor(c.Writes); err != nil {
		return err
	}
	disks := clone(m).Disks
	for i := range disks {
		disks[i].Layer = runs[i].below
	}
	var written clade.Bytes
	r, err := h.replaceHeads(ctx, m, change{disks: disks, prepare: func(files []string) (err error) {
		written, err = h.mergeInto(ctx, files, m, disks, c, p)
		return err
	}})
	if errors.Is(err, errNothingGained) {
		return nil
	}
	if err == nil {
		c.Freed = r.Freed - written
	}
	return err
}

// roomFor returns an error of kind NoSpace where the home has not that much free.
func (h *Host) roomFor(n clade.Bytes) error {
	free, err := image.Space(h.Dir)
	if err == nil && n > free {
		err = &clade.Error{Kind: clade.NoSpace, Err: fmt.Errorf("%v needed in %s, %v free", n, h.Dir, free),
			Hint: "free some space: clade du shows who takes it"}
	}
	return err
}

// mergeInto fills the new heads of disks, in files, and returns what they take.
func (h *Host) mergeInto(ctx context.Context, files []string, m *store.Machine, disks []clade.Disk, c *clade.Compaction, p clade.Progress) (clade.Bytes, error) {
	for i, old := range h.headPaths(m) {
		base := ""
		if disks[i].Layer != "" {
			base = h.layerPath(disks[i].Layer)
		} else if err := qcow2.WriteOverlay(files[i], qcow2.Overlay{Virtual: disks[i].Virtual}); err != nil {
			return 0, err
		}
		if err := image.Merge(ctx, old, base, files[i], p); err != nil {
			return 0, err
		}
	}
	written, err := h.allocated(files)
	if err != nil {
		return 0, err
	}
	if len(c.Merged) == 0 && c.Writes-written < leastGain {
		return 0, errNothingGained
	}
	return written, nil
}

// compactRunning has the running machine's heads rest on what others need too, and
// copies no more than pace in a second for that, where it is not 0.
func (h *Host) compactRunning(ctx context.Context, m *store.Machine, c *clade.Compaction, pace clade.Bytes, p clade.Progress) error {
	if len(c.Merged) == 0 {
		return nil
	}
	if err := h.copyable(ctx, m, p); err != nil {
		return err
	}
	runs, _, err := h.runs(ctx, m)
	if err != nil {
		return err
	}
	onto := make([]hypervisor.Rest, len(runs))
	for i, r := range runs {
		onto[i] = hypervisor.Rest{Below: len(r.layers) + 1, Name: backing(r.below)}
		if r.below == "" {
			onto[i] = hypervisor.Rest{}
		}
	}
	if _, err := h.streamOnto(ctx, m, onto, pace, "compact machine "+string(m.Name), p); err != nil {
		return err
	}
	for i, r := range runs {
		if m.Disks[i].Layer != r.below {
			return fmt.Errorf("disk %d rests on %q, not on %q", m.Disks[i].Slot, m.Disks[i].Layer, r.below)
		}
	}
	left, err := h.allocated(h.headPaths(m))
	c.Freed = c.Writes - left
	return err
}

// trim asks the guest to discard what its file systems do not use, which makes holes
// in its heads. A guest that cannot be asked is a note.
func (h *Host) trim(ctx context.Context, m *store.Machine, c *clade.Compaction, p clade.Progress) error {
	reach, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	g, _, err := h.guest(reach, m.Name, "trim")
	if err != nil {
		if ctx.Err() == nil {
			c.Notes = append(c.Notes, "its file systems were not trimmed: no guest agent answers")
			return nil
		}
		return err
	}
	defer g.Close()
	before, err := h.allocated(h.headPaths(m))
	if err != nil {
		return err
	}
	step := "trim machine " + string(m.Name)
	p.Tell(clade.Event{Step: step})
	x, err := g.Exec(ctx, clade.Command{Args: []string{"fstrim", "-a"}})
	if err == nil && x.Status != 0 {
		c.Notes = append(c.Notes, "its file systems were not all trimmed: "+firstLine(x.Err))
	}
	if err != nil {
		c.Notes = append(c.Notes, "its file systems were not trimmed: "+err.Error())
	}
	after, err := h.allocated(h.headPaths(m))
	c.Freed += before - after
	p.Tell(clade.Event{Step: step, End: true})
	return err
}

// firstLine bounds what a guest says.
func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text), "\n")
	return fmt.Sprintf("%.200q", line)
}

// shorten merges what only m needs before a freeze of disks that would make their
// chains longer than the budget. It returns m as it is then. What cannot be merged
// stays: the freeze goes on.
func (h *Host) shorten(ctx context.Context, m *store.Machine, disks []clade.Disk, p clade.Progress) (*store.Machine, error) {
	_, tree, err := h.runs(ctx, m)
	if err != nil {
		return nil, err
	}
	depth := 0
	for _, d := range disks {
		depth = max(depth, tree.Depth(d.Layer)+1)
	}
	if depth <= first(h.Budget, clade.ChainBudget) {
		return m, nil
	}
	c, err := h.compaction(ctx, m)
	if err != nil || len(c.Merged) == 0 {
		return m, err
	}
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return nil, err
	}
	p.Tell(clade.Event{Step: "compact machine " + string(m.Name), Note: fmt.Sprintf("%d layers would lie below it", depth)})
	if status.State == clade.Stopped {
		err = h.compactStopped(ctx, m, c, p)
	} else {
		err = h.compactRunning(ctx, m, c, 0, p)
	}
	if ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		h.Config.Log.Warn("the chain stays longer than its budget", "machine", m.Name, "depth", depth, "error", err)
	}
	return h.record(ctx, m.Name)
}
