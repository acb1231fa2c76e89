package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/store"
)

// carryOver compares what m changed with what the layers of disks did since m was
// made. Unless it is a dry run or a conflict is open, it makes heads on these
// layers in op's directory that hold what m changed, proven, and returns their
// files. m is only read.
func (h *Host) carryOver(ctx context.Context, op *operation, m *store.Machine, disks []clade.Disk, spec clade.RebaseSpec, p clade.Progress) ([]string, *clade.Merge, error) {
	bases, err := basesOf(m, "rebase")
	if err != nil {
		return nil, nil, err
	}
	old, next := layersOf(bases), layersOf(disks)
	if err := h.chainIntact(ctx, append(slices.Clone(old), layersOf(systemDisks(m.Disks))...)...); err != nil {
		return nil, nil, err
	}
	related, err := h.related(ctx, old, next)
	if err != nil {
		return nil, nil, err
	}
	built, dir, err := h.buildHeads(op, m, disks)
	if err != nil {
		return nil, nil, err
	}
	files := make([]string, len(disks))
	for i, d := range disks {
		files[i] = filepath.Join(dir, built.Heads[at(built, d.Slot)])
	}
	h.did("merge: heads built")
	report, applied, err := h.Appliance.Merge(ctx, appliance.Trio{Old: backed(h.layerPaths(old)), Mine: backed(h.headsOf(m, systemDisks(m.Disks))),
		Next: backed(files), Related: related, Take: spec.Conflicts, Apply: !spec.DryRun}, p)
	if err != nil {
		return nil, nil, err
	}
	if !applied && !spec.DryRun && !report.Open() {
		return nil, nil, &clade.Error{Op: "merge", Kind: clade.Unproven, Err: errors.New("nothing was carried over")}
	}
	h.did("merge: carried over")
	return files, report, nil
}

// related reports whether the layers of each disk go back to one layer in both
// lists, so that a file that nobody touched is the same inode in both.
func (h *Host) related(ctx context.Context, old, next []string) (bool, error) {
	chains, err := h.chains(ctx, append(slices.Clone(old), next...))
	if err != nil {
		return false, err
	}
	for i := range old {
		below := chains[i]
		if !slices.ContainsFunc(chains[len(old)+i], func(layer string) bool { return slices.Contains(below, layer) }) {
			return false, nil
		}
	}
	return true, nil
}

// inConflict is the refusal of a rebase that would have to choose.
func inConflict(name clade.Name, to string, r *clade.Merge) error {
	return &clade.Error{Op: "rebase", On: "machine " + string(name), Kind: clade.Conflicting,
		Err:  fmt.Errorf("%d files were changed by the clone and by %s, and not alike; nothing was done", r.Conflict, to),
		Hint: "say whose are taken: --conflicts clone, or --conflicts template; clade rebase --dry-run shows all"}
}
