package host

import (
	"context"
	"errors"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// reseal seals the file of a layer again, whose content was just found right: one that
// was copied here with its home, or is older than what the file system can. From the
// first change of its times until the record has them, whoever finds the layer changed
// waits (intactNow); if this command dies, the next one completes it, as a repair.
func (h *Host) reseal(ctx context.Context, l *clade.Layer) error {
	op, err := h.begin(ctx, "repair")
	if err != nil {
		return err
	}
	defer op.end()
	now := clade.Layer{ID: l.ID}
	if err := facts(h.layerPath(l.ID), &now); err != nil {
		return err
	}
	notes := []mended{{l.ID, now.Inode, int64(now.Size), now.Modified}}
	if err := op.note(notes); err != nil {
		return err
	}
	h.did("repair: noted")
	return h.recordRepair(ctx, notes)
}

// intactNow is intact, of a layer that another command may be sealing again.
func (h *Host) intactNow(ctx context.Context, l *clade.Layer) error {
	err := h.intact(l)
	if !errors.Is(err, clade.Corrupt) || !exists(h.path(sealLock)) {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	f, busy := lock(wait, h.path(sealLock), unix.LOCK_SH)
	if busy != nil {
		return fileError("check", "layer "+l.ID, busy)
	}
	defer f.Close()
	failed := h.db.Read(ctx, func(tx *store.Tx) error {
		layers, err := tx.Layers()
		if at := slices.IndexFunc(layers, func(now *clade.Layer) bool { return now.ID == l.ID }); at >= 0 {
			l = layers[at]
		}
		return err
	})
	if failed != nil {
		return failed
	}
	return h.intact(l)
}
