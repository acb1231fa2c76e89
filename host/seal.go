package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/lineage"
	"golang.org/x/sys/unix"
)

// sealFile makes the file at path immutable and fills in what proves it. Links,
// renames and changes of mode come before: they alter the recorded times.
func sealFile(path string, l *clade.Layer) error {
	if err := image.Seal(path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if l.Digest, err = digest(context.Background(), f, nil); err != nil {
		return err
	}
	return facts(path, l)
}

// facts fills in the cheap facts of a layer's file, and what the kernel measured of it.
func facts(path string, l *clade.Layer) (err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a regular file")
	}
	l.Size, l.Allocated, l.Inode = clade.Bytes(st.Size), clade.Bytes(st.Blocks*512), st.Ino
	l.Modified, l.Changed = st.Mtim.Nano(), st.Ctim.Nano()
	l.Verity, err = image.Verity(path)
	return err
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
		err = measured(now.Verity, l.Verity)
	}
	if err == nil {
		return nil
	}
	if kind := clade.KindOf(err); kind == clade.Denied || kind == clade.Busy { // it may be what it was
		return fileError("check", "layer "+l.ID, err)
	}
	return &clade.Error{Op: "check", On: "layer " + l.ID, Kind: clade.Corrupt, Err: err,
		Hint: "clade verify --all tells whether its content is still what was sealed, and with --repair FROM restores it"}
}

// measured compares what the kernel measured of a file with the record. A file that
// was sealed without may have it: that its content is right is for others to say.
func measured(now, then string) error {
	switch {
	case then == "" || now == then:
		return nil
	case now == "":
		return errors.New("the kernel does not check it any more (fs-verity), as it did when it was sealed")
	}
	return fmt.Errorf("what the kernel measures of it (fs-verity) is %.19s…, sealed was %.19s…", now, then)
}

// chainIntact checks every layer below the disks of a machine or template. Its
// error names the layer, the fact and what rests on the layer.
func (h *Host) chainIntact(ctx context.Context, layers ...string) error {
	tree, err := h.tree(ctx)
	if err != nil {
		return err
	}
	for _, id := range layers {
		chain, err := tree.Chain(id)
		if err != nil {
			return err
		}
		for _, layer := range chain {
			if err := h.intactNow(ctx, layer); err != nil {
				return h.nameDependents(ctx, layer.ID, err)
			}
		}
	}
	return nil
}

// nameDependents adds to an error about a layer what rests on it.
func (h *Host) nameDependents(ctx context.Context, id string, err error) error {
	l, failed := h.Lineage(ctx)
	if e, ok := errors.AsType[*clade.Error](err); ok && failed == nil {
		e.Err = fmt.Errorf("%w; what rests on it: %s", e.Err, some(lineage.New(l).Needs(id)))
	}
	return err
}

// some names the first of many.
func some(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
