package rootfs

import (
	"encoding/binary"
	"io"
	"io/fs"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// buffers are for the records of directories; a small one is read at once.
var buffers = sync.Pool{New: func() any { return new([8 << 10]byte) }}

// each calls fn for every entry of the directory of that name: see eachEntry. It
// asks nothing about them beside what the directory itself tells, so that a huge
// one costs what it must.
func (t *Tree) each(name string, fn func(fs.DirEntry) error) error {
	fd, err := t.reach(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == errUnsure {
		return err
	}
	if err != nil {
		return t.did("readdir", name, err)
	}
	defer unix.Close(fd)
	return t.entries(fd, name, t, fn)
}

// entries calls fn for every entry of an open directory, which are in the tree from.
func (t *Tree) entries(fd int, name string, from lstater, fn func(fs.DirEntry) error) error {
	buf := buffers.Get().(*[8 << 10]byte)
	defer buffers.Put(buf)
	d := directory{tree: from, name: name, buf: buf[:]}
	for {
		e, err := d.next(fd)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return t.did("readdir", name, err)
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}

// An lstater describes files: a Tree or a Still.
type lstater interface {
	Lstat(name string) (fs.FileInfo, error)
}

// A directory reads the entries of an open directory.
type directory struct {
	tree lstater
	name string
	buf  []byte
	rest []byte // of buf: the records that are not handed out
}

// next returns the next entry, and io.EOF after the last one.
func (d *directory) next(fd int) (fs.DirEntry, error) {
	for {
		if len(d.rest) == 0 {
			n, err := unix.Getdents(fd, d.buf)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, err
			}
			if n == 0 {
				return nil, io.EOF
			}
			d.rest = d.buf[:n]
		}
		if e, err := d.entry(); e != nil || err != nil {
			return e, err
		}
	}
}

// some returns up to n entries, and io.EOF with none where there are no more.
func (d *directory) some(fd, n int) (entries []fs.DirEntry, err error) {
	if d.buf == nil {
		d.buf = make([]byte, 8<<10)
	}
	for len(entries) < n {
		e, err := d.next(fd)
		if err == io.EOF && len(entries) > 0 {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// entry takes one struct linux_dirent64 off the records. It is nil for the names
// of the directory itself and of the one above.
func (d *directory) entry() (fs.DirEntry, error) {
	const header = 19 // inode, offset, length, type
	size := int(binary.NativeEndian.Uint16(d.rest[16:]))
	number, name := uint32(d.rest[18]), unix.ByteSliceToString(d.rest[header:size])
	d.rest = d.rest[size:]
	if name == "." || name == ".." {
		return nil, nil
	}
	e := &entry{tree: d.tree, dir: d.name, name: name, kind: kind(number)}
	if number == unix.DT_UNKNOWN { // this file system does not tell
		fi, err := e.Info()
		if err != nil {
			return nil, err
		}
		e.kind = fi.Mode().Type()
	}
	return e, nil
}

// An entry is a name in a directory of a Tree.
type entry struct {
	tree      lstater
	dir, name string
	kind      fs.FileMode
}

func (e *entry) Name() string               { return e.name }
func (e *entry) IsDir() bool                { return e.kind.IsDir() }
func (e *entry) Type() fs.FileMode          { return e.kind }
func (e *entry) Info() (fs.FileInfo, error) { return e.tree.Lstat(path.Join(e.dir, e.name)) }
func (e *entry) String() string             { return fs.FormatDirEntry(e) }
