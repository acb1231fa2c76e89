package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
)

// resetMember makes a free machine what it was when it was made, with nothing of
// whoever had it before, and starts it.
func (c *controller) resetMember(ctx context.Context, m *member, p clade.Progress) error {
	h := c.host
	if err := errors.Join(h.clear(ctx, m), h.emptyData(ctx, m)); err != nil {
		return err
	}
	if _, err := h.Reset(ctx, m.record.Name, p); err != nil {
		return err
	}
	if err := h.done(ctx, m, pool.Resets); err != nil {
		return err
	}
	return c.startMember(ctx, m, p)
}

// clear ends a machine's process, and with it its memory, and removes all its files
// but its heads and locks: firmware variables, logs, what is known of its guest. Its
// snapshots go too.
func (h *Host) clear(ctx context.Context, m *member) error {
	name := m.record.Name
	if err := h.Driver.Kill(ctx, h.place(m.record.ID)); err != nil {
		return err
	}
	h.did("member ended")
	list, err := h.Snapshots(ctx, name)
	for _, s := range list {
		_, one := h.RemoveSnapshot(ctx, name, s.Name)
		err = errors.Join(err, one)
	}
	if err != nil {
		return err
	}
	now, release, err := h.holdStopped(ctx, name, "clear")
	if err != nil {
		return err
	}
	defer release()
	stays := make(map[string]bool)
	for _, head := range now.Heads {
		stays[head] = true
	}
	for _, file := range names(h.machineDir(now.ID)) {
		if !stays[file] && !strings.HasSuffix(file, ".lock") && !strings.HasSuffix(file, qcow2Ext) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(h.machineDir(now.ID), file)))
		}
	}
	h.did("member cleared")
	return err
}

// emptyData makes a stopped machine's data disks what they were when it was made:
// empty, or what the template had on them. Resets leave them alone, and so would give
// the next person what the last one kept there.
func (h *Host) emptyData(ctx context.Context, m *member) error {
	now, release, err := h.holdStopped(ctx, m.record.Name, "empty")
	if err != nil {
		return err
	}
	defer release()
	var data []clade.Disk
	for _, d := range now.Disks {
		if d.Data() {
			d.Layer = d.Base
			data = append(data, d)
		}
	}
	if len(data) == 0 {
		return nil
	}
	_, err = h.replaceHeads(ctx, now, change{disks: data, record: func(*store.Tx) error { return nil }, prepare: func(files []string) error {
		for i, d := range data {
			if d.Layer != "" {
				continue
			}
			if err := qcow2.WriteOverlay(files[i], qcow2.Overlay{Virtual: d.Virtual}); err != nil {
				return err
			}
		}
		return nil
	}})
	return err
}
