package host

import (
	"context"
	"io/fs"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// Collect finds what nothing rests on and nobody builds, and unless it is a dry
// run removes it. Every operation that changes the home does the same before it
// begins. Kind Busy where another command keeps the home from being looked at.
func (h *Host) Collect(ctx context.Context, dryRun bool) ([]clade.Garbage, error) {
	wait, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	f, err := lock(wait, h.path(homeLock), unix.LOCK_EX)
	if err != nil {
		return nil, fileError("collect", "home "+h.Dir, err)
	}
	defer f.Close()
	unused, err := h.unusedLayers(ctx, !dryRun)
	if err != nil {
		return nil, err
	}
	list := []clade.Garbage{}
	for _, l := range unused {
		if dryRun { // else the layer has no record any more and is found below
			list = append(list, clade.Garbage{Path: h.layerDir(l.ID), Bytes: takes(h.layerDir(l.ID)), Why: "nothing rests on the layer"})
		}
	}
	all, err := h.garbage(ctx, 0)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		list = append(list, clade.Garbage{Path: g.path, Bytes: takes(g.path), Why: g.why})
		if dryRun {
			continue
		}
		if err := g.remove(); err != nil {
			return list, fileError("collect", g.path, err)
		}
	}
	return list, nil
}

// unusedLayers returns the layers that nothing rests on; forget takes their records away.
func (h *Host) unusedLayers(ctx context.Context, forget bool) (unused []*clade.Layer, err error) {
	if forget {
		err = h.db.Write(ctx, func(tx *store.Tx) error {
			unused, err = removeUnused(tx)
			return err
		})
		return unused, err
	}
	l, err := h.Lineage(ctx)
	if err != nil {
		return nil, err
	}
	return lineage.New(l).Unused(), nil
}

// takes is what a directory takes on the disk, with all in it.
func takes(dir string) (sum clade.Bytes) {
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if n, sizeErr := image.Allocated(path); err == nil && sizeErr == nil {
			sum += n
		}
		return nil
	})
	return sum
}
