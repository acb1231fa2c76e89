package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
)

// arrivedFor is how long layers of an import that failed are kept for the next try.
const arrivedFor = 7 * 24 * time.Hour

// An arrival is a bundle on its way into the home. A layer that is whole and
// proven lies under its own name in the operation's directory; one that is still
// written, under another. If the operation fails or is killed, those that are whole
// go to arrived/, where the next import finds them.
type arrival struct {
	h       *Host
	op      *operation
	m       *bundle.Manifest
	there   map[string]*clade.Layer // the home's layers by id
	layers  []*clade.Layer          // that arrived
	resumed int                     // of them, those that had arrived before
	machine *store.Machine          // nil for a template
	free    clade.Bytes
}

// takeIn adds what m says, once unpack has had the layers arrive that are missing.
// from is whose word m is.
func (h *Host) takeIn(ctx context.Context, m *bundle.Manifest, from string, w clade.Arrival, unpack func(bundle.Target) error, p clade.Progress) (a *arrival, err error) {
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	if w.As.Name != "" {
		m.Name = w.As.Name
	}
	if w.As.Version != "" && m.Kind == bundle.Template {
		m.Version = w.As.Version
	}
	op, err := h.begin(ctx, importVerb)
	if err != nil {
		return nil, err
	}
	defer op.end()
	if a, err = h.arrival(ctx, op, m); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.keepArrived(op.dir))
		}
	}()
	if err := unpack(a.target(ctx)); err != nil {
		return nil, err
	}
	if a.machine != nil {
		return a, a.placeMachine(ctx)
	}
	t := m.Record()
	if err := a.believe(ctx, t, from, w.Trust, p); err != nil {
		return nil, err
	}
	return a, h.placeMachines(ctx, op, a.layers, nil, func(tx *store.Tx) error { return tx.AddTemplate(t) })
}

// arrival refuses what cannot be taken in before anything is unpacked.
func (h *Host) arrival(ctx context.Context, op *operation, m *bundle.Manifest) (*arrival, error) {
	a := &arrival{h: h, op: op, m: m, there: map[string]*clade.Layer{}}
	err := h.db.Read(ctx, func(tx *store.Tx) error {
		layers, err := tx.Layers()
		for _, l := range layers {
			a.there[l.ID] = l
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(op.dir, layersDir), 0o700); err != nil {
		return nil, err
	}
	if a.free, err = image.Space(h.Dir); err != nil {
		return nil, err
	}
	if m.Kind == bundle.Template {
		_, err := h.newVersion(ctx, clade.Ref{Name: m.Name, Version: m.Version})
		return a, err
	}
	if err := h.checkNames(ctx, []clade.Name{m.Name}); err != nil {
		return nil, err
	}
	a.machine = draft(m.Name, clade.Options{}, m.Hardware, m.User)
	a.machine.Source = "bundle of machine " + string(m.Name)
	return a, os.Mkdir(filepath.Join(op.dir, a.machine.ID), 0o700)
}

func (a *arrival) target(ctx context.Context) bundle.Target {
	return bundle.Target{
		Have: func(l bundle.Layer) (bool, error) {
			there, err := l.Is(a.there[l.ID])
			if there || err != nil {
				return there, err
			}
			return a.resume(ctx, l)
		},
		Path: a.path,
		Arrived: func(l bundle.Layer) error {
			if l.Head {
				return nil
			}
			return a.arrived(l)
		},
		Free: a.free,
	}
}

// path is where a layer or head is written, below the operation's directory.
func (a *arrival) path(l bundle.Layer) (string, error) {
	if !l.Head {
		dir := filepath.Join(a.op.dir, layersDir, l.ID)
		return filepath.Join(dir, partFile), os.MkdirAll(dir, 0o700)
	}
	for _, d := range a.m.Disks {
		if d.Layer == l.ID && a.machine != nil {
			return filepath.Join(a.op.dir, a.machine.ID, headName(d.Slot, 0)), nil
		}
	}
	return "", &clade.Error{Kind: clade.Corrupt, Err: fmt.Errorf("head %s is no disk's", l.ID)}
}

// arrived gives a layer that is whole and proven its own name.
func (a *arrival) arrived(l bundle.Layer) error {
	part, err := a.path(l)
	if err != nil {
		return err
	}
	if err := os.Chmod(part, 0o444); err != nil {
		return err
	}
	if err := os.Rename(part, filepath.Join(filepath.Dir(part), layerFile)); err != nil {
		return err
	}
	a.layers = append(a.layers, l.Record())
	a.h.did("import: layer arrived")
	return nil
}

// resume takes a layer that an earlier import left, if it is still what it was:
// nothing was synced then, and an id alone says nothing.
func (a *arrival) resume(ctx context.Context, l bundle.Layer) (bool, error) {
	part, err := a.path(l)
	if err != nil {
		return false, err
	}
	err = os.Rename(a.h.path(arrivedDir, l.ID), part)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := l.Prove(ctx, part); err != nil {
		return false, errors.Join(context.Cause(ctx), os.Remove(part))
	}
	a.resumed++
	return true, a.arrived(l)
}

// placeMachine records a machine that has arrived.
func (a *arrival) placeMachine(ctx context.Context) error {
	for _, d := range a.m.Disks {
		disk := clade.Disk{Slot: d.Slot, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount}
		if chain := a.m.Chain(d.Layer); len(chain) > 1 {
			disk.Layer = chain[1].ID // below the head
			if !disk.Data() {
				disk.Base, a.machine.Clone = disk.Layer, clade.Linked
			}
		}
		a.machine.Disks, a.machine.Heads = append(a.machine.Disks, disk), append(a.machine.Heads, headName(d.Slot, 0))
	}
	return a.h.placeMachines(ctx, a.op, a.layers, []*store.Machine{a.machine}, nil)
}

// keepArrived moves the layers that are whole out of an import's directory, which
// goes, to where the next one finds them.
func (h *Host) keepArrived(dir string) error {
	for _, id := range names(filepath.Join(dir, layersDir)) {
		whole := filepath.Join(dir, layersDir, id, layerFile)
		if fi, err := os.Lstat(filepath.Dir(whole)); err != nil || !fi.IsDir() || !exists(whole) {
			continue // borrowed from layers/, or not whole
		}
		if err := os.MkdirAll(h.path(arrivedDir), 0o700); err != nil {
			return err
		}
		if err := ignoreAbsent(os.Rename(whole, h.path(arrivedDir, id))); err != nil {
			return err
		}
	}
	return nil
}

// isImport says whether a directory in tmp is an import's.
func isImport(dir string) bool { return strings.HasPrefix(filepath.Base(dir), importVerb+"-") }

// keptArrivals are the layers that imports left; of an age, or all.
func (h *Host) keptArrivals(older time.Duration) (all []piece) {
	for _, id := range names(h.path(arrivedDir)) {
		path := h.path(arrivedDir, id)
		if fi, err := os.Lstat(path); err == nil && time.Since(fi.ModTime()) >= older {
			all = append(all, piece{path, "an import that failed left it for the next try", func() error { return ignoreAbsent(os.Remove(path)) }})
		}
	}
	return all
}
