package rootfs

import (
	"encoding/binary"
	"io"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// A directory reads the entries of an open directory. It asks nothing about them
// beside what the directory itself tells, so that a huge one costs what it must.
type directory struct {
	tree *Tree
	name string
	buf  []byte
	rest []byte // of buf: the records that are not handed out
}

// next returns up to n entries, and io.EOF with none where there are no more.
func (d *directory) next(fd, n int) (entries []fs.DirEntry, err error) {
	for len(entries) < n {
		if len(d.rest) == 0 {
			if d.buf == nil {
				d.buf = make([]byte, 32<<10)
			}
			size, err := unix.Getdents(fd, d.buf)
			if err == unix.EINTR {
				continue
			}
			if err == nil && size == 0 && len(entries) == 0 {
				err = io.EOF
			}
			if err != nil || size == 0 {
				return entries, err
			}
			d.rest = d.buf[:size]
		}
		e, err := d.entry()
		if err != nil {
			return entries, err
		}
		if e != nil {
			entries = append(entries, e)
		}
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
	e := &entry{tree: d.tree, name: path.Join(d.name, name), kind: kind(number)}
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
	tree *Tree
	name string // from the root of the tree
	kind fs.FileMode
}

func (e *entry) Name() string               { return path.Base(e.name) }
func (e *entry) IsDir() bool                { return e.kind.IsDir() }
func (e *entry) Type() fs.FileMode          { return e.kind }
func (e *entry) Info() (fs.FileInfo, error) { return e.tree.Lstat(e.name) }
func (e *entry) String() string             { return fs.FormatDirEntry(e) }
