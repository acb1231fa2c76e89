package merge

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
	"golang.org/x/sys/unix"
)

// A judge tells whether two places are alike.
type judge struct {
	trees   [3]Tree
	related bool
	limit   int64 // bytes read at most; 0: no limit
	read    int64
	looked  int  // entries that were compared or weighed as parts of a whole
	held    int  // names in memory
	last    int  // entries, when it was told last
	strict  bool // believe nothing but what is read
	tell    clade.Progress
	a, b    []byte
}

// untouched reports whether two places are the same file of one file system in two
// states, and nobody changed it between them. The kernel sets the time of change at
// every change of content, owner, mode or attributes, and nothing else can set it.
func (j *judge) untouched(p, q place, x, y int) bool {
	if j.strict || y == next && !j.related || p.kind() != q.kind() {
		return false
	}
	v, ok := j.trees[x].Volumes[p.st.Dev]
	w, known := j.trees[y].Volumes[q.st.Dev]
	return ok && known && v == w && v.Exact && v.ID != "" && p.st.Ino == q.st.Ino && p.st.Ctim == q.st.Ctim &&
		p.st.Mtim == q.st.Mtim && p.st.Size == q.st.Size && p.st.Mode == q.st.Mode && p.st.Uid == q.st.Uid && p.st.Gid == q.st.Gid
}

// dressed reports whether two directories have the same owner, mode and attributes.
func (j *judge) dressed(x, y int, at [3]place) (bool, error) {
	p, q := at[x], at[y]
	if p.is != q.is {
		return false, nil
	}
	return j.attributes(p, q, x, y)
}

func (j *judge) attributes(p, q place, x, y int) (bool, error) {
	if j.untouched(p, q, x, y) {
		return true, nil
	}
	if p.st.Uid != q.st.Uid || p.st.Gid != q.st.Gid || p.kind() != unix.S_IFLNK && p.st.Mode != q.st.Mode {
		return false, nil
	}
	xs, err := p.dir.Xattrs(p.name)
	if err != nil {
		return false, err
	}
	ys, err := q.dir.Xattrs(q.name)
	if err != nil || !maps.Equal(xs, ys) {
		return false, err
	}
	if kind := p.kind(); kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return true, nil
	}
	one, err := p.dir.Flags(p.name)
	if err != nil {
		return false, err
	}
	other, err := q.dir.Flags(q.name)
	return one&rootfs.KeptFlags == other&rootfs.KeptFlags, err
}

// alike reports whether two places are the same, with all that is below them.
func (j *judge) alike(path string, p, q place, x, y, depth int) (bool, error) {
	if !p.is || !q.is {
		return p.is == q.is, nil
	}
	if p.kind() != q.kind() {
		return false, nil
	}
	if p.isDir() {
		return j.alikeDirs(path, p, q, x, y, depth)
	}
	if j.untouched(p, q, x, y) {
		return true, nil
	}
	if same, err := j.attributes(p, q, x, y); err != nil || !same {
		return false, err
	}
	switch p.kind() {
	case unix.S_IFREG:
		return j.content(path, p, q)
	case unix.S_IFLNK:
		one, err := p.dir.ReadLink(p.name)
		if err != nil {
			return false, err
		}
		other, err := q.dir.ReadLink(q.name)
		return one == other, err
	case unix.S_IFBLK, unix.S_IFCHR:
		return p.st.Rdev == q.st.Rdev, nil
	}
	return true, nil
}

func (j *judge) alikeDirs(path string, p, q place, x, y, depth int) (bool, error) {
	if same, err := j.attributes(p, q, x, y); err != nil || !same {
		return false, err
	}
	if depth >= maxDepth {
		return false, refuse(path, clade.Unsupported, "it lies more than %d directories deep", maxDepth)
	}
	one, err := p.open()
	if err != nil {
		return false, err
	}
	defer p.close(one)
	other, err := q.open()
	if err != nil {
		return false, err
	}
	defer q.close(other)
	names, err := one.Names(maxNames)
	if err != nil {
		return false, limited(path, err)
	}
	if theirs, err := other.Names(maxNames); err != nil || !slices.Equal(names, theirs) {
		return false, limited(path, err)
	}
	if err := j.bound(path, len(names)); err != nil {
		return false, err
	}
	defer j.hold(-len(names))
	if !j.hold(len(names)) {
		return false, refuse(path, clade.Unsupported, "more than %d entries in the directories on the way to it", maxHeld)
	}
	for _, name := range names {
		a, err := look(one, name)
		if err != nil {
			return false, err
		}
		b, err := look(other, name)
		if err != nil {
			return false, err
		}
		if same, err := j.alike(join(path, name), a, b, x, y, depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// hold counts names that are held in memory, and reports whether they fit.
func (j *judge) hold(n int) bool {
	j.held += n
	return j.held <= maxHeld
}

// bound counts entries that are looked at as parts of a whole.
func (j *judge) bound(path string, n int) error {
	if before := j.looked; before/2000 != (before+n)/2000 {
		j.tell.Tell(clade.Event{Step: "merge"})
	}
	if j.looked += n; j.looked > 3*maxEntries {
		return refuse(path, clade.Unsupported, "there are more than %d files", maxEntries)
	}
	return nil
}

// weigh counts what lies at a place and below it, and its content in bytes as the
// file system keeps it. It refuses what could not be copied.
func (j *judge) weigh(path string, p place, depth int) (n int, bytes int64, err error) {
	if !p.isDir() {
		return 1, 512 * p.st.Blocks, nil
	}
	if depth >= maxDepth {
		return 0, 0, refuse(path, clade.Unsupported, "it lies more than %d directories deep", maxDepth)
	}
	dir, err := p.open()
	if err != nil {
		return 0, 0, err
	}
	defer p.close(dir)
	names, err := dir.Names(maxNames)
	if err != nil {
		return 0, 0, limited(path, err)
	}
	if err := j.bound(path, len(names)); err != nil {
		return 0, 0, err
	}
	defer j.hold(-len(names))
	if !j.hold(len(names)) {
		return 0, 0, refuse(path, clade.Unsupported, "more than %d entries in the directories on the way to it", maxHeld)
	}
	n = 1
	for _, name := range names {
		there, err := look(dir, name)
		if err != nil {
			return 0, 0, err
		}
		m, b, err := j.weigh(join(path, name), there, depth+1)
		if err != nil {
			return 0, 0, err
		}
		n, bytes = n+m, bytes+b
	}
	return n, bytes, nil
}

const (
	block = 256 << 10
	spell = 64 << 20 // bytes after which it says that it is still at work
)

// content compares two regular files, holes unread.
func (j *judge) content(path string, p, q place) (bool, error) {
	if p.st.Size != q.st.Size {
		return false, nil
	}
	one, err := p.dir.Open(p.name)
	if err != nil {
		return false, err
	}
	defer one.Close()
	other, err := q.dir.Open(q.name)
	if err != nil {
		return false, err
	}
	defer other.Close()
	if j.a == nil {
		j.a, j.b = make([]byte, block), make([]byte, block)
	}
	for at := int64(0); at < p.st.Size; {
		from := min(data(one, at, p.st.Size), data(other, at, p.st.Size))
		n := int(min(block, p.st.Size-from))
		if n <= 0 {
			return true, nil
		}
		if err := j.spend(path, n); err != nil {
			return false, err
		}
		if err := errors.Join(fill(one, j.a[:n], from), fill(other, j.b[:n], from)); err != nil {
			return false, err
		}
		if !bytes.Equal(j.a[:n], j.b[:n]) {
			return false, nil
		}
		at = from + int64(n)
	}
	return true, nil
}

// spend counts bytes that are read.
func (j *judge) spend(path string, n int) error {
	if before := j.read; before/spell != (before+int64(n))/spell {
		j.tell.Tell(clade.Event{Step: "merge"})
	}
	if j.read += int64(n); j.limit > 0 && j.read > j.limit {
		return refuse(path, clade.Unsupported, "its files hold many times more than its disks")
	}
	return nil
}

// data returns where the next data of a file begins: its size where there is none.
func data(f *os.File, at, size int64) int64 {
	from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size
	case err != nil: // a file system that does not know
		return at
	}
	return from
}

// fill reads all of b; what lies beyond the end of a file is zeroes.
func fill(f *os.File, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	clear(b[n:])
	if err == io.EOF {
		return nil
	}
	return err
}
