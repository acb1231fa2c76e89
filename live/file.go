package live

import (
	"bytes"
	"io"
	"io/fs"
	"time"

	"github.com/clade-vm/clade/rootfs"
)

// info is a node under the name that was asked for.
type info struct {
	*node
	name string
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.mtime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// entry is a node in its directory.
type entry struct{ info }

func (e entry) Type() fs.FileMode { return e.mode.Type() }
func (e entry) String() string    { return fs.FormatDirEntry(e) }

func (e entry) Info() (fs.FileInfo, error) {
	if err := e.unknown(); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: e.name, Err: err}
	}
	return e.info, nil
}

// newFile opens n as it is known now.
func newFile(name string, n *node) fs.File {
	if n.mode.IsDir() {
		return &directory{info: info{n, name}, todo: n.names()}
	}
	return &file{info: info{n, name}, r: bytes.NewReader(n.data)}
}

// A file is an open regular file. Of a large one the mirror holds the beginning:
// to read beyond it is rootfs.ErrLimit.
type file struct {
	info
	r *bytes.Reader
}

func (f *file) Stat() (fs.FileInfo, error)                { return f.info, nil }
func (f *file) Close() error                              { return nil }
func (f *file) Seek(off int64, whence int) (int64, error) { return f.r.Seek(off, whence) }

func (f *file) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	return n, f.end(err)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.r.ReadAt(p, off)
	return n, f.end(err)
}

func (f *file) end(err error) error {
	if err == io.EOF && len(f.data) > maxFile {
		return &fs.PathError{Op: "read", Path: f.name, Err: rootfs.ErrLimit}
	}
	return err
}

// A directory is an open directory.
type directory struct {
	info
	todo []string
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *directory) Close() error               { return nil }

func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: rootfs.ErrSpecial}
}

// ReadDir is fs.ReadDirFile's. Of a directory that the mirror knows in part it
// gives that part, and then rootfs.ErrLimit; and no more than rootfs.MaxEntries at
// once, as a rootfs.Tree does.
func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	most := n
	if n <= 0 {
		most = rootfs.MaxEntries
	}
	var entries []fs.DirEntry
	for len(d.todo) > 0 && len(entries) < most {
		entries = append(entries, entry{info{d.inside[d.todo[0]], d.todo[0]}})
		d.todo = d.todo[1:]
	}
	switch {
	case n <= 0 && len(d.todo) > 0, d.cut && len(d.todo) == 0 && (n <= 0 || len(entries) == 0):
		return entries, &fs.PathError{Op: "readdir", Path: d.name, Err: rootfs.ErrLimit}
	case n > 0 && len(entries) == 0:
		return nil, io.EOF
	}
	return entries, nil
}
