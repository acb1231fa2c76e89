package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/oci"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// A repair restores the files of damaged layers: each is built aside, its digest is
// proven, and it takes the damaged one's place by one rename. Then the facts of the
// new file are recorded. A command that dies between the two has noted which file
// it put there, so that the next one records it (sweepRepair).
type repair struct {
	h       *Host
	op      *operation
	damaged map[string]*clade.Layer // by digest
	mended  map[string]*clade.Layer // by id
}

// A mended layer's new file, as it is before it is renamed.
type mended struct {
	Layer    string `json:"layer"`
	Inode    uint64 `json:"inode"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`
}

// repair restores those of the damaged layers that spec.Repair holds and says so in
// the verdicts. It returns those that stay damaged.
func (h *Host) repair(ctx context.Context, damaged []*clade.Layer, spec clade.VerifySpec, verdicts []clade.Verdict, p clade.Progress) ([]*clade.Layer, error) {
	if err := h.restore(ctx); err != nil {
		return damaged, err
	}
	op, err := h.begin(ctx, "repair")
	if err != nil {
		return damaged, err
	}
	defer op.end()
	r := &repair{h: h, op: op, damaged: map[string]*clade.Layer{}, mended: map[string]*clade.Layer{}}
	for _, l := range damaged {
		r.damaged[l.Digest] = l
	}
	if err := r.fetch(ctx, spec, p); err != nil {
		return damaged, err
	}
	if len(r.mended) == 0 {
		return damaged, &clade.Error{Kind: clade.NotFound, Err: fmt.Errorf("%s has none of the damaged layers", spec.Repair),
			Hint: "a layer's content must have the digest that clade tree --json shows"}
	}
	h.did("repair: built")
	if err := h.placing(ctx, func() error { return r.place(ctx) }); err != nil {
		return damaged, err
	}
	var left []*clade.Layer
	for _, l := range damaged {
		if r.mended[l.ID] == nil {
			left = append(left, l)
		}
	}
	return left, r.tell(ctx, verdicts)
}

// fetch makes files of what the source has of the damaged layers.
func (r *repair) fetch(ctx context.Context, spec clade.VerifySpec, p clade.Progress) error {
	f, err := os.OpenFile(spec.Repair, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe holds nobody up
	if errors.Is(err, fs.ErrNotExist) {
		a, remote := oci.Open(ctx, spec.Repair, oci.Options{PlainHTTP: spec.PlainHTTP})
		if remote != nil {
			return fmt.Errorf("there is no file %s; as the name of a template in a registry: %w", spec.Repair, remote)
		}
		_, err := a.Unpack(ctx, r.target(), p)
		return err
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return errors.Join(err, &clade.Error{Kind: clade.Invalid, Err: fmt.Errorf("%s is not a regular file", spec.Repair), Hint: "give a bundle, a copy of the layer's file, or REGISTRY/NAME:VERSION"})
	}
	b, err := bundle.Open(f)
	if errors.Is(err, clade.Invalid) {
		return r.copy(ctx, f, p)
	}
	if err != nil {
		return err
	}
	return b.Unpack(ctx, r.target(), p)
}

func (r *repair) target() bundle.Target {
	return bundle.Target{
		NoHeads: true,
		Have:    func(l bundle.Layer) (bool, error) { return r.damaged[l.Digest] == nil, nil },
		Path:    func(l bundle.Layer) (string, error) { return r.path(r.damaged[l.Digest]), nil },
		Arrived: func(l bundle.Layer) error { return r.arrived(r.damaged[l.Digest]) },
	}
}

// path is where the new file of a layer is made.
func (r *repair) path(l *clade.Layer) string { return filepath.Join(r.op.dir, l.ID+qcow2Ext) }

// copy takes a plain file for the layer whose content it has.
func (r *repair) copy(ctx context.Context, f *os.File, p clade.Progress) error {
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	aside := filepath.Join(r.op.dir, "copy")
	if _, err := image.Copy(ctx, f.Name(), aside, p); err != nil {
		return err
	}
	made, err := os.Open(aside)
	if err != nil {
		return err
	}
	defer made.Close()
	sum, err := digest(ctx, made, nil) // of the copy: it is that which must be right
	if err != nil || r.damaged[sum] == nil {
		return errors.Join(err, os.Remove(aside))
	}
	if err := os.Rename(aside, r.path(r.damaged[sum])); err != nil {
		return err
	}
	return r.arrived(r.damaged[sum])
}

// arrived takes a file for the layer it was proven to be.
func (r *repair) arrived(l *clade.Layer) error {
	f, err := os.Open(r.path(l))
	if err != nil {
		return err
	}
	defer f.Close()
	r.mended[l.ID] = l
	return errors.Join(f.Chmod(0o444), f.Sync())
}

// place puts the new files where the damaged ones are and records their facts. The
// home cannot be swept meanwhile.
func (r *repair) place(ctx context.Context) error {
	var notes []mended
	for id, l := range r.mended {
		now := clade.Layer{ID: id}
		if err := facts(r.path(l), &now); err != nil {
			return err
		}
		notes = append(notes, mended{id, now.Inode, int64(now.Size), now.Modified})
	}
	if err := r.op.note(notes); err != nil {
		return err
	}
	h := r.h
	h.did("repair: noted")
	for id, l := range r.mended {
		if err := os.MkdirAll(h.layerDir(id), 0o700); err != nil { // where all of it was lost
			return err
		}
		if err := os.Rename(r.path(l), h.layerPath(id)); err != nil {
			return err
		}
		h.did("repair: layer in place")
		if err := errors.Join(syncDir(h.layerDir(id)), syncDir(h.path(layersDir))); err != nil {
			return err
		}
	}
	return h.recordRepair(ctx, notes)
}

// is says whether a layer's file, of which l has the facts, is the one of the note. That
// the kernel checks it may have begun since, and then nothing else was written; ext4
// takes that for a modification.
func (n mended) is(l *clade.Layer) bool {
	return l.Inode == n.Inode && int64(l.Size) == n.Size && (l.Modified == n.Modified || l.Verity != "")
}

// note keeps which right files are being put in place of which layers, for whoever
// comes after a kill.
func (o *operation) note(notes []mended) error {
	data, err := json.Marshal(notes)
	if err != nil {
		return err
	}
	file := filepath.Join(o.dir, repairedFile)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	return errors.Join(syncDir(file), syncDir(o.dir), syncDir(filepath.Dir(o.dir)))
}

// recordRepair seals files that were put in place, or are as right as if they had
// been, and records their facts. One that is not
// there any more, or not yet, is passed over.
func (h *Host) recordRepair(ctx context.Context, notes []mended) error {
	f, err := lock(ctx, h.path(sealLock), unix.LOCK_EX) // whoever finds a layer changed meanwhile waits
	if err != nil {
		return err
	}
	defer f.Close()
	var layers, right []*clade.Layer
	err = h.db.Read(ctx, func(tx *store.Tx) (err error) {
		layers, err = tx.Layers()
		return err
	})
	if err != nil {
		return err
	}
	for _, l := range layers {
		for _, n := range notes {
			path := h.layerPath(l.ID)
			if n.Layer != l.ID || facts(path, l) != nil || !n.is(l) {
				continue
			}
			if err := errors.Join(image.Seal(path), facts(path, l)); err != nil {
				return err
			}
			h.did("repair: layer file sealed")
			right = append(right, l)
		}
	}
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		for _, l := range right {
			if err := errors.Join(tx.SealLayer(l), tx.VerifyLayer(l.ID, time.Now().UTC())); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		h.did("repair: recorded")
	}
	return err
}

// sweepRepair completes the repair of a command that died.
func (h *Host) sweepRepair(ctx context.Context, dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, repairedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var notes []mended
	if err != nil || json.Unmarshal(data, &notes) != nil {
		return err // notes that are cut off were not synced: nothing was renamed
	}
	return h.recordRepair(ctx, notes)
}

// tell says in the verdicts what was mended, and who must be restarted: a process
// that has the damaged file open reads that one.
func (r *repair) tell(ctx context.Context, verdicts []clade.Verdict) error {
	l, err := r.h.Lineage(ctx)
	if err != nil {
		return err
	}
	for i := range verdicts {
		v := &verdicts[i]
		if r.mended[v.Layer] == nil {
			continue
		}
		v.Intact, v.Repaired, v.Verified = true, true, time.Now().UTC()
		for _, m := range l.Machines {
			runs, err := r.readsFrom(ctx, l, m, v.Layer)
			if err != nil {
				return err
			}
			if runs {
				v.Restart = append(v.Restart, m.Name)
			}
		}
	}
	return nil
}

func (r *repair) readsFrom(ctx context.Context, l *clade.Lineage, m *clade.Machine, layer string) (bool, error) {
	parents := make(map[string]string, len(l.Layers))
	for _, l := range l.Layers {
		parents[l.ID] = l.Parent
	}
	for _, d := range m.Disks {
		for id, n := d.Layer, 0; id != "" && n <= len(parents); id, n = parents[id], n+1 {
			if id == layer {
				status, err := r.h.Driver.Status(ctx, r.h.place(m.ID))
				return status.State != clade.Stopped, err
			}
		}
	}
	return false, nil
}
