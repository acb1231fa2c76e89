package host

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

func (h *Host) warmPath(id string, name ...string) string {
	return h.path(append([]string{warmDir, id}, name...)...)
}

// sealWarm makes a file of a warm template immutable and returns what proves it.
func sealWarm(ctx context.Context, path, name string) (w clade.WarmFile, err error) {
	if err := keepWarm(path, name); err != nil {
		return w, err
	}
	f, err := os.Open(path)
	if err != nil {
		return w, err
	}
	defer f.Close()
	w.Name = name
	if w.Digest, err = digest(ctx, f, nil); err != nil {
		return w, err
	}
	return w, warmFacts(path, &w)
}

// keepWarm makes a file of a warm template immutable. The hypervisor must be able to
// open the memory for writing, though it writes to a private copy: so the kernel
// cannot be made to check it, and where 0444 forbids that, as it does to all but root,
// it is 0600.
func keepWarm(path, name string) error {
	if name != ramFile {
		return image.Seal(path)
	}
	mode := os.FileMode(0o444)
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	if unix.Access(path, unix.W_OK) != nil {
		mode = 0o600
	}
	return errors.Join(os.Chmod(path, mode), syncDir(path)) // a file is synced like a directory
}

// warmFacts fills in the cheap facts of a file.
func warmFacts(path string, w *clade.WarmFile) error {
	var l clade.Layer
	err := facts(path, &l)
	w.Size, w.Allocated, w.Inode, w.Modified, w.Changed, w.Verity = l.Size, l.Allocated, l.Inode, l.Modified, l.Changed, l.Verity
	return err
}

// warmIntact compares the files of a warm template with what was recorded when they
// were sealed: cheap enough for every wake. Kind Corrupt.
func (h *Host) warmIntact(w *clade.Warm) error {
	for _, was := range w.Files {
		is := clade.WarmFile{Name: was.Name, Digest: was.Digest, Allocated: was.Allocated}
		allocated := is.Allocated
		err := warmFacts(h.warmPath(w.ID, was.Name), &is)
		is.Allocated = allocated // the file system may move what it holds
		if err == nil {
			err = measured(is.Verity, was.Verity)
		}
		if is.Verity = was.Verity; err == nil && is != was {
			err = errors.New("its size, inode or times are not what they were when it was sealed")
		}
		if kind := clade.KindOf(err); kind == clade.Denied || kind == clade.Busy { // it may be what it was
			return fileError("check", "warm template "+w.ID+", "+was.Name, err)
		}
		if err != nil {
			return &clade.Error{Op: "check", On: "warm template " + w.ID + ", " + was.Name, Kind: clade.Corrupt, Err: err,
				Hint: "clade verify --all tells whether its content is still what was sealed"}
		}
	}
	return nil
}

// verifyWarm recomputes the digests of warm templates, and records files anew whose
// content is right although their times are not, as after a move of the home.
func (h *Host) verifyWarm(ctx context.Context, all []*clade.Warm, p clade.Progress) (verdicts []clade.Verdict, err error) {
	for _, w := range all {
		v := clade.Verdict{Layer: "warm " + w.ID}
		if w.Template.Name != "" {
			v.Needed = []string{"warm template " + w.Template.String()}
		}
		if err := h.recheckWarm(ctx, w, p); err != nil {
			if ctx.Err() != nil {
				return verdicts, err
			}
			v.Detail = err.Error()
		}
		v.Intact = v.Detail == ""
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

// warmDamage is the error about warm templates that are not what was sealed, or nil.
func (h *Host) warmDamage(verdicts []clade.Verdict) error {
	for _, v := range verdicts {
		if !v.Intact {
			return &clade.Error{Op: "verify", On: "home " + h.Dir, Kind: clade.Corrupt, Err: fmt.Errorf("damaged: %s", v.Layer),
				Hint: "its instant clones do not wake; warm the template again: clade template warm"}
		}
	}
	return nil
}

func (h *Host) recheckWarm(ctx context.Context, w *clade.Warm, p clade.Progress) error {
	step, intact := "verify warm template "+w.ID, h.warmIntact(w) == nil
	for i := range w.Files {
		file := &w.Files[i]
		path := h.warmPath(w.ID, file.Name)
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		sum, err := digest(ctx, f, func(done int64) {
			p.Tell(clade.Event{Step: step, Done: done, Total: int64(file.Size), Unit: "B"})
		})
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if sum != file.Digest {
			return fmt.Errorf("the content of %s is %.19s…, sealed was %.19s…", file.Name, sum, file.Digest)
		}
		if !intact {
			if err := keepWarm(path, file.Name); err != nil {
				return err
			}
		}
		if err := warmFacts(path, file); err != nil {
			return err
		}
	}
	p.Tell(clade.Event{Step: step, End: true})
	return h.db.Write(ctx, func(tx *store.Tx) error { return tx.VerifyWarm(w.ID, w.Files) })
}

// warmUnder returns the warm templates of the named templates and machines, or all.
func warmUnder(l *clade.Lineage, named []string) (list []*clade.Warm) {
	wanted := make(map[string]bool)
	for _, name := range named {
		for _, m := range l.Machines {
			if string(m.Name) == name {
				wanted[m.Warm] = true
			}
		}
		ref, err := clade.ParseRef(name)
		for _, w := range l.Warm {
			if err == nil && w.Template.Name == ref.Name && (ref.Version == "" || ref.Version == w.Template.Version) {
				wanted[w.ID] = true
			}
		}
	}
	for _, w := range l.Warm {
		if len(named) == 0 || wanted[w.ID] {
			list = append(list, w)
		}
	}
	return list
}

// dropWarm removes what warm templates without a record kept, and notes what that
// freed. Where another command places something, its successor does it; what stays, as
// it cannot be removed, the sweep removes.
func (h *Host) dropWarm(ctx context.Context, r *clade.Removal) {
	kept := names(h.path(warmDir))
	if len(kept) == 0 {
		return
	}
	f := tryLock(h.path(homeLock), unix.LOCK_EX)
	if f == nil {
		return
	}
	defer f.Close()
	_, _, recorded, err := h.recorded(ctx)
	if err != nil {
		h.Config.Log.Warn("what warm templates kept stays", "err", err)
		return
	}
	for _, id := range kept {
		if recorded[id] {
			continue
		}
		r.Freed += takes(h.warmPath(id))
		if err := os.RemoveAll(h.warmPath(id)); err != nil {
			h.Config.Log.Warn("what a warm template kept stays", "warm", id, "err", err)
		}
		h.did("warm template's files removed")
	}
}
