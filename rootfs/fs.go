package rootfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// MaxEntries is how many entries of one directory ReadDir returns at most.
const MaxEntries = 1 << 16

// Open opens a regular file or a directory for reading. Anything else is
// ErrSpecial, and is not touched: to open a device node is to act on the host's.
func (t *Tree) Open(name string) (fs.File, error) {
	f, err := t.open("open", name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &file{f: f, tree: t, name: path.Base(name), dir: directory{tree: t, name: name}}, nil
}

// open opens what name leads to with flag. The node is looked at before it is
// opened, so that it is no device, and after, so that it is the same one.
func (t *Tree) open(op, name string, flag int) (*os.File, error) {
	if !valid(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if f, err := t.take(name, flag); err != errUnsure {
		return f, t.did(op, name, err)
	}
	real, before, err := t.walk(op, name, true)
	if err != nil {
		return nil, err
	}
	if !before.IsDir() && !before.Mode().IsRegular() {
		return nil, &fs.PathError{Op: op, Path: name, Err: ErrSpecial}
	}
	f, err := t.root.OpenFile(real, flag|syscall.O_NONBLOCK|syscall.O_NOFOLLOW|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: cause(err)}
	}
	after, err := f.Stat()
	if err != nil || !os.SameFile(before, after) {
		f.Close()
		return nil, &fs.PathError{Op: op, Path: name, Err: ErrSpecial}
	}
	return f, nil
}

// Stat describes the file that name leads to, links followed.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { return t.stat("stat", name, true) }

// Lstat describes the file of that name, which may be a link.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) { return t.stat("lstat", name, false) }

func (t *Tree) stat(op, name string, follow bool) (fs.FileInfo, error) {
	if !valid(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if n, err := t.look(name, follow); err == nil {
		return n, nil
	} else if err != errUnsure {
		return nil, t.did(op, name, err)
	}
	_, fi, err := t.resolve(op, name, follow)
	if err != nil {
		return nil, err
	}
	return info{FileInfo: fi, name: path.Base(name)}, nil
}

// ReadLink returns the target of the link of that name, as it is written.
func (t *Tree) ReadLink(name string) (string, error) {
	if !valid(name) {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	if target, err := t.readlink(name); err != errUnsure {
		return target, t.did("readlink", name, err)
	}
	real, _, err := t.resolve("readlink", name, false)
	if err != nil {
		return "", err
	}
	target, err := t.root.Readlink(real)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: cause(err)}
	}
	return target, nil
}

// ReadDir returns the entries of a directory by name. One with more than
// MaxEntries is ErrLimit; the package's ReadDir takes another limit.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	return ReadDir(t, name, MaxEntries)
}

// info is a description under the name that was asked for, not the one of the
// link's target.
type info struct {
	fs.FileInfo
	name string
}

func (i info) Name() string { return i.name }

// file is an open file or directory. It hides the host's path and whatever else
// an *os.File can do.
type file struct {
	f    *os.File
	tree *Tree
	name string
	dir  directory // where f is one
}

func (f *file) Read(p []byte) (int, error)                { return f.f.Read(p) }
func (f *file) ReadAt(p []byte, off int64) (int, error)   { return f.f.ReadAt(p, off) }
func (f *file) Seek(off int64, whence int) (int64, error) { return f.f.Seek(off, whence) }
func (f *file) Close() error                              { return f.f.Close() }

func (f *file) Stat() (fs.FileInfo, error) {
	fi, err := f.f.Stat()
	if err != nil {
		return nil, err
	}
	return info{FileInfo: fi, name: f.name}, nil
}

// ReadDir is fs.ReadDirFile's. Without a count it gives MaxEntries at most and
// then ErrLimit, so that no caller can be made to hold a whole huge directory.
func (f *file) ReadDir(n int) ([]fs.DirEntry, error) {
	limit := n
	if n <= 0 {
		limit = MaxEntries + 1
	}
	entries, err := f.dir.some(int(f.f.Fd()), limit)
	switch {
	case err == io.EOF && n > 0:
		return nil, err
	case err == io.EOF:
		err = nil
	case n <= 0 && len(entries) > MaxEntries:
		entries, err = entries[:MaxEntries], ErrLimit
	}
	return entries, f.tree.did("readdir", f.name, err)
}

func byName(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }

func sortEntries(entries []fs.DirEntry) { slices.SortFunc(entries, byName) }
