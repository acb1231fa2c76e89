package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// sealFile makes the file at path immutable and fills in what proves it. Links,
// renames and changes of mode come before: they alter the recorded times.
func sealFile(path string, l *clade.Layer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return err
	}
	if l.Digest, err = digest(context.Background(), f, nil); err != nil {
		return err
	}
	return facts(path, l)
}

// facts fills in the cheap facts of a layer's file.
func facts(path string, l *clade.Layer) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a regular file")
	}
	l.Size, l.Allocated, l.Inode = clade.Bytes(st.Size), clade.Bytes(st.Blocks*512), st.Ino
	l.Modified, l.Changed = st.Mtim.Nano(), st.Ctim.Nano()
	return nil
}

// digest reads f whole and returns its SHA-256 as OCI writes it; read, if given,
// is told how many bytes were read so far.
func digest(ctx context.Context, f io.Reader, read func(int64)) (string, error) {
	hash, buf := sha256.New(), make([]byte, 1<<20)
	var done int64
	for {
		n, err := f.Read(buf)
		hash.Write(buf[:n])
		done += int64(n)
		if read != nil {
			read(done)
		}
		if err == io.EOF {
			return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return "", err
		}
	}
}

// intact compares a layer's file with the facts recorded at its sealing: cheap
// enough for every start. Kind Corrupt, naming the layer and the fact.
func (h *Host) intact(l *clade.Layer) error {
	var now clade.Layer
	err := facts(h.layerPath(l.ID), &now)
	for _, f := range []struct {
		name      string
		now, then int64
	}{
		{"size", int64(now.Size), int64(l.Size)}, {"inode", int64(now.Inode), int64(l.Inode)},
		{"modification time", now.Modified, l.Modified}, {"change time", now.Changed, l.Changed},
	} {
		if err == nil && f.now != f.then {
			err = fmt.Errorf("its %s is not what it was when it was sealed", f.name)
		}
	}
	if err == nil {
		return nil
	}
	return &clade.Error{Op: "check", On: "layer " + l.ID, Kind: clade.Corrupt, Err: err,
		Hint: "clade verify --all tells whether its content is still what was sealed"}
}

// chainIntact checks every layer below the disks of a machine or template.
func (h *Host) chainIntact(ctx context.Context, layers ...string) error {
	l, err := h.Lineage(ctx)
	if err != nil {
		return err
	}
	tree := lineage.New(l)
	for _, id := range layers {
		chain, err := tree.Chain(id)
		if err != nil {
			return err
		}
		for _, layer := range chain {
			if err := h.intact(layer); err != nil {
				e, _ := errors.AsType[*clade.Error](err)
				e.Err = fmt.Errorf("%w; what rests on it: %s", e.Err, strings.Join(dependents(tree, layer.ID), ", "))
				return err
			}
		}
	}
	return nil
}

// dependents names what rests on a layer, for people.
func dependents(tree *lineage.Tree, id string) []string {
	machines, list := tree.Above(id)
	for i, t := range list {
		list[i] = "template " + t
	}
	for _, m := range machines {
		list = append(list, "machine "+string(m))
	}
	return list
}

// Verify recomputes the digests of the layers under the named machines and
// templates, or of all. A layer whose content is right but whose times are not,
// as after a move of the home, is recorded anew. Kind Corrupt if one is damaged.
func (h *Host) Verify(ctx context.Context, named []string, p clade.Progress) ([]clade.Verdict, error) {
	l, err := h.Lineage(ctx)
	if err != nil {
		return nil, err
	}
	tree := lineage.New(l)
	layers, err := h.under(l, tree, named)
	if err != nil {
		return nil, err
	}
	var verdicts []clade.Verdict
	var damaged []string
	for _, layer := range layers {
		v := clade.Verdict{Layer: layer.ID, Needed: dependents(tree, layer.ID)}
		if err := h.recheck(ctx, layer, p); err != nil {
			if ctx.Err() != nil {
				return verdicts, fileError("verify", "layer "+layer.ID, err)
			}
			v.Detail = err.Error()
			damaged = append(damaged, layer.ID)
		}
		v.Intact = v.Detail == ""
		verdicts = append(verdicts, v)
	}
	if len(damaged) > 0 {
		return verdicts, &clade.Error{Op: "verify", On: "home " + h.Dir, Kind: clade.Corrupt,
			Err: fmt.Errorf("damaged: layer %s", strings.Join(damaged, ", ")), Hint: "restore the layer's file from a backup; what rests on it will not start until then"}
	}
	return verdicts, nil
}

// under returns the layers below the named machines and templates, each once.
func (h *Host) under(l *clade.Lineage, tree *lineage.Tree, named []string) ([]*clade.Layer, error) {
	if len(named) == 0 {
		return slices.DeleteFunc(slices.Clone(l.Layers), func(l *clade.Layer) bool { return !l.Sealed }), nil
	}
	var list []*clade.Layer
	for _, name := range named {
		tops, err := topsOf(l, name)
		if err != nil {
			return nil, err
		}
		for _, top := range tops {
			chain, err := tree.Chain(top)
			if err != nil {
				return nil, err
			}
			for _, layer := range chain {
				if !slices.Contains(list, layer) && layer.Sealed {
					list = append(list, layer)
				}
			}
		}
	}
	return list, nil
}

// topsOf returns the layers that the machine or template called name rests on.
func topsOf(l *clade.Lineage, name string) (tops []string, err error) {
	for _, m := range l.Machines {
		if string(m.Name) == name {
			for _, d := range m.Disks {
				tops = append(tops, d.Layer)
			}
			return tops, nil
		}
	}
	ref, err := clade.ParseRef(name)
	if err != nil {
		return nil, err
	}
	for i := len(l.Templates) - 1; i >= 0; i-- {
		if t := l.Templates[i]; t.Name == ref.Name && (ref.Version == "" || t.Version == ref.Version) {
			for _, d := range t.Disks {
				tops = append(tops, d.Layer)
			}
			return tops, nil
		}
	}
	return nil, &clade.Error{Op: "verify", On: name, Kind: clade.NotFound,
		Err: errors.New("no machine and no template has this name"), Hint: "clade tree shows what there is"}
}

// recheck recomputes the digest of one layer.
func (h *Host) recheck(ctx context.Context, l *clade.Layer, p clade.Progress) error {
	f, err := os.Open(h.layerPath(l.ID))
	if err != nil {
		return err
	}
	defer f.Close()
	step := "verify layer " + l.ID
	sum, err := digest(ctx, f, func(done int64) {
		p.Tell(clade.Event{Step: step, Done: done, Total: int64(l.Size), Unit: "B"})
	})
	if err != nil {
		return err
	}
	p.Tell(clade.Event{Step: step, Done: int64(l.Size), Total: int64(l.Size), Unit: "B", End: true})
	if sum != l.Digest {
		return fmt.Errorf("its content is %.19s…, sealed was %.19s…", sum, l.Digest)
	}
	if h.intact(l) == nil {
		return nil
	}
	if err := errors.Join(f.Chmod(0o444), facts(h.layerPath(l.ID), l)); err != nil {
		return err
	}
	return h.db.Write(ctx, func(tx *store.Tx) error { return tx.SealLayer(l) })
}
