package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
)

// beforeRebase is the snapshot that a rebase can be undone from.
const beforeRebase clade.Name = "before-rebase"

// Rebase moves a stopped linked clone to a template: it gets new, empty heads on
// the template's layers and keeps its identity. What it was is kept as a snapshot
// until ConfirmRebase. On an error it is as it was, but may rest on one more layer.
func (h *Host) Rebase(ctx context.Context, name clade.Name, to clade.Ref, p clade.Progress) (*clade.Machine, error) {
	on := "machine " + string(name)
	m, release, err := h.holdStopped(ctx, name, "rebase")
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := basesOf(m, "rebase"); err != nil {
		return nil, err
	}
	if s, _ := h.snapshot(ctx, m, beforeRebase); s != nil {
		return nil, &clade.Error{Op: "rebase", On: on, Kind: clade.Exists, Err: errors.New("its last rebase is neither confirmed nor undone"),
			Hint: fmt.Sprintf("clade rebase %s --confirm, or --undo", name)}
	}
	b, err := h.source(ctx, clade.CloneSpec{Source: to.String()})
	if err != nil {
		return nil, retitle("rebase", err)
	}
	if b.template == nil || b.system() != len(systemDisks(m.Disks)) {
		return nil, &clade.Error{Op: "rebase", On: on, Kind: clade.Unsupported,
			Err: fmt.Errorf("%s is not a template with %d system disks", to, len(systemDisks(m.Disks))), Hint: "clade template ls shows the templates there are"}
	}
	if err := h.chainIntact(ctx, b.layers[:b.system()]...); err != nil {
		return nil, fileError("rebase", on, err)
	}
	frozen, err := h.freeze(ctx, m, p)
	if err != nil {
		return nil, err
	}
	disks := systemDisks(frozen.Disks)
	for i, d := range disks {
		disks[i] = clade.Disk{Slot: d.Slot, Layer: b.layers[i], Base: b.layers[i], Virtual: max(b.virtual[i], d.Virtual)}
	}
	_, err = h.replaceHeads(ctx, frozen, change{disks: disks, record: func(tx *store.Tx) error {
		return errors.Join(tx.AddSnapshot(m.ID, moment(frozen, beforeRebase)), tx.SetSource(m.ID, clade.Linked, b.source),
			tx.SetMachineID(m.ID, ""))
	}})
	if err != nil {
		return nil, fileError("rebase", on, err)
	}
	return h.Machine(ctx, name)
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
