package host

import (
	"context"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
	"github.com/clade-vm/clade/undo"
	"golang.org/x/sys/unix"
)

// manyFiles is from how many new files on one sync of the whole file system is
// cheaper than one for each.
const manyFiles = 16

// placeMachines moves what op built into place and commits its records: layers
// op.dir/layers/<id>/, machines op.dir/<id>/. Identities are given in the
// same transaction; more, if given, runs in it too. All of it happens or nothing.
func (h *Host) placeMachines(ctx context.Context, op *operation, layers []*clade.Layer, machines []*store.Machine, more func(*store.Tx) error) error {
	for _, l := range layers {
		if err := image.Seal(filepath.Join(op.dir, layersDir, l.ID, layerFile)); err != nil {
			return err
		}
	}
	if err := flush(op, layers, machines); err != nil {
		return err
	}
	return h.placing(ctx, func() (err error) {
		var u undo.Stack
		defer u.Unwind(ctx, &err)
		for _, l := range layers {
			dir := h.layerDir(l.ID)
			if err := os.Rename(filepath.Join(op.dir, layersDir, l.ID), dir); err != nil {
				return err
			}
			u.Add("remove "+dir, func(context.Context) error { return os.RemoveAll(dir) })
			if err := facts(h.layerPath(l.ID), l); err != nil {
				return err
			}
			h.did("layer in place")
		}
		for _, m := range machines {
			dir := h.machineDir(m.ID)
			if err := os.Rename(filepath.Join(op.dir, m.ID), dir); err != nil {
				return err
			}
			u.Add("remove "+dir, func(context.Context) error { return os.RemoveAll(dir) })
			h.did("machine in place")
		}
		if err := h.syncPlaces(layers, machines); err != nil {
			return err
		}
		err = h.db.Write(ctx, func(tx *store.Tx) error { return commit(tx, layers, machines, more) })
		if op.committed(&u, err) == nil {
			h.did("committed")
		}
		return err
	})
}

func commit(tx *store.Tx, layers []*clade.Layer, machines []*store.Machine, more func(*store.Tx) error) error {
	for _, l := range layers {
		if err := tx.AddLayer(l); err != nil {
			return err
		}
	}
	if err := identify(tx, machines); err != nil {
		return err
	}
	for _, m := range machines {
		if err := tx.AddMachine(m); err != nil {
			return err
		}
	}
	if more != nil {
		return more(tx)
	}
	return nil
}

// flush makes the contents of what op built survive a power cut.
func flush(op *operation, layers []*clade.Layer, machines []*store.Machine) error {
	if len(machines) >= manyFiles {
		return unix.Syncfs(int(op.lock.Fd()))
	}
	var files []string
	for _, l := range layers {
		dir := filepath.Join(op.dir, layersDir, l.ID)
		files = append(files, filepath.Join(dir, layerFile), dir)
	}
	for _, m := range machines {
		files = append(files, paths(filepath.Join(op.dir, m.ID), m.Heads)...)
		files = append(files, filepath.Join(op.dir, m.ID))
	}
	for _, file := range files {
		if err := syncDir(file); err != nil { // a file is synced like a directory
			return err
		}
	}
	return nil
}

func (h *Host) syncPlaces(layers []*clade.Layer, machines []*store.Machine) error {
	if len(layers) > 0 {
		if err := syncDir(h.path(layersDir)); err != nil {
			return err
		}
	}
	if len(machines) > 0 {
		return syncDir(h.path(machinesDir))
	}
	return nil
}
