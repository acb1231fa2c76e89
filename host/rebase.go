package host

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
)

// beforeRebase is the snapshot that a rebase can be undone from.
const beforeRebase clade.Name = "before-rebase"

// Rebase moves a stopped linked clone to a template: it gets new heads on the
// template's layers and keeps its identity. They are empty, or hold what the clone
// changed. What it was is kept as a snapshot until ConfirmRebase. On an error it is
// as it was, but may rest on one more layer.
func (h *Host) Rebase(ctx context.Context, spec clade.RebaseSpec, p clade.Progress) (*clade.Rebase, error) {
	on := "machine " + string(spec.Machine)
	if spec.Conflicts != "" && (!spec.Keep || spec.Conflicts != clade.CloneSide && spec.Conflicts != clade.TemplateSide) {
		return nil, &clade.Error{Op: "rebase", On: on, Kind: clade.Invalid, Err: errors.New("conflicts are of rebases that keep changes, and go to the clone or to the template")}
	}
	m, release, err := h.holdStopped(ctx, spec.Machine, "rebase")
	if err != nil {
		return nil, err
	}
	defer release()
	to, disks, err := h.rebaseTo(ctx, m, spec.To)
	if err != nil {
		return nil, err
	}
	r := &clade.Rebase{Machine: m.Name, From: m.Source, To: to}
	var filled []string
	if spec.Keep {
		op, err := h.begin(ctx, "merge")
		if err != nil {
			return nil, fileError("rebase", on, err)
		}
		defer op.end()
		if filled, r.Merge, err = h.carryOver(ctx, op, m, disks, spec, p); err != nil {
			return nil, fileError("rebase", on, err)
		}
		if r.Merge.Open() && !spec.DryRun {
			return r, inConflict(m.Name, to, r.Merge)
		}
	}
	if spec.DryRun {
		return r, nil
	}
	if err := h.putOn(ctx, m, to, disks, filled, p); err != nil {
		return nil, fileError("rebase", on, err)
	}
	r.Done = true
	return r, nil
}

// rebaseTo finds the template that m is moved to, and what its disks are then.
func (h *Host) rebaseTo(ctx context.Context, m *store.Machine, to clade.Ref) (source string, disks []clade.Disk, err error) {
	on := "machine " + string(m.Name)
	if _, err := basesOf(m, "rebase"); err != nil {
		return "", nil, err
	}
	s, err := h.kept(ctx, m, beforeRebase)
	if err != nil {
		return "", nil, retitle("rebase", err)
	}
	if s != nil {
		return "", nil, &clade.Error{Op: "rebase", On: on, Kind: clade.Exists, Err: errors.New("its last rebase is neither confirmed nor undone"),
			Hint: fmt.Sprintf("clade rebase %s --confirm, or --undo", m.Name)}
	}
	b, err := h.source(ctx, clade.CloneSpec{Source: to.String()})
	if err != nil {
		return "", nil, retitle("rebase", err)
	}
	system := systemDisks(m.Disks)
	if b.template == nil || b.system() != len(system) {
		return "", nil, &clade.Error{Op: "rebase", On: on, Kind: clade.Unsupported,
			Err: fmt.Errorf("%s is not a template with %d system disks", to, len(system)), Hint: "clade template ls shows the templates there are"}
	}
	if err := h.chainIntact(ctx, b.layers[:b.system()]...); err != nil {
		return "", nil, fileError("rebase", on, err)
	}
	for i, d := range system {
		disks = append(disks, clade.Disk{Slot: d.Slot, Layer: b.layers[i], Base: b.layers[i], Virtual: max(b.virtual[i], d.Virtual)})
	}
	return b.source, disks, nil
}

// putOn keeps what m is as a snapshot and gives it new heads on a template: the
// files in filled, or empty ones.
func (h *Host) putOn(ctx context.Context, m *store.Machine, to string, disks []clade.Disk, filled []string, p clade.Progress) error {
	frozen, err := h.freeze(ctx, m, p)
	if err != nil {
		return err
	}
	c := change{disks: disks, record: func(tx *store.Tx) error {
		err := errors.Join(tx.AddSnapshot(m.ID, moment(frozen, beforeRebase)), tx.SetSource(m.ID, clade.Linked, to))
		if filled == nil { // its guest takes another machine-id when it boots for the first time
			err = errors.Join(err, tx.SetMachineID(m.ID, ""))
		}
		return err
	}}
	if filled != nil {
		c.prepare = func(files []string) (err error) {
			for i, file := range files {
				err = errors.Join(err, os.Rename(filled[i], file))
			}
			return err
		}
	}
	_, err = h.replaceHeads(ctx, frozen, c)
	return err
}

// UndoRebase makes the machine what it was before it was rebased.
func (h *Host) UndoRebase(ctx context.Context, name clade.Name, p clade.Progress) (*clade.Removal, error) {
	m, release, err := h.holdStopped(ctx, name, "undo the rebase of")
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := h.snapshot(ctx, m, beforeRebase)
	if err != nil {
		return nil, notRebased(m, err)
	}
	return h.goBack(ctx, m, s, func(tx *store.Tx) error { return tx.RemoveSnapshot(m.ID, beforeRebase) })
}

// ConfirmRebase gives up what the machine was before.
func (h *Host) ConfirmRebase(ctx context.Context, name clade.Name) (*clade.Removal, error) {
	r, err := h.RemoveSnapshot(ctx, name, beforeRebase)
	if m, missing := h.record(ctx, name); missing == nil && errors.Is(err, clade.NotFound) {
		return nil, notRebased(m, err)
	}
	return r, err
}

func notRebased(m *store.Machine, err error) error {
	if !errors.Is(err, clade.NotFound) {
		return err
	}
	return &clade.Error{Op: "find", On: "machine " + string(m.Name), Kind: clade.NotFound, Err: errors.New("it has no rebase to confirm or to undo")}
}
