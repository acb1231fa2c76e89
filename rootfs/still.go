package rootfs

import (
	"io/fs"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxKept is how many directories a Still keeps open: several are read at a time.
const maxKept = 256

// A Still is a Tree that does not change while it is read. Each directory that was
// read is kept open, so that the files in it are reached from there in one step and
// not from the root again: to read all marks of a guest takes two thirds of the system
// calls. It answers as its Tree does; what it does not reach from where it stands, the
// Tree does. It is for one goroutine.
type Still struct {
	*Tree
	kept map[string]int // handles, by the name of the directory
}

// Still returns t as long as it does not change. The caller releases it.
func (t *Tree) Still() *Still { return &Still{Tree: t, kept: map[string]int{}} }

// Release closes the directories that are kept open, and not the Tree. Entries of
// directories that were read are good for ever.
func (s *Still) Release() {
	for _, fd := range s.kept {
		unix.Close(fd)
	}
	clear(s.kept)
}

// in returns the directory that name stands in, if it is kept, and its name there.
func (s *Still) in(name string) (fd int, base string, ok bool) {
	if name == "." || !valid(name) {
		return -1, "", false
	}
	fd, ok = s.kept[path.Dir(name)]
	return fd, path.Base(name), ok
}

// Lstat describes the file of that name, which may be a link.
func (s *Still) Lstat(name string) (fs.FileInfo, error) {
	if fd, base, ok := s.in(name); ok {
		if n, err := describeAt(fd, base); err == nil {
			return n, nil
		}
	}
	return s.Tree.Lstat(name)
}

// each is the Tree's, and keeps the directory open.
func (s *Still) each(name string, fn func(fs.DirEntry) error) error {
	if _, known := s.kept[name]; known || len(s.kept) >= maxKept {
		return s.Tree.each(name, fn)
	}
	fd, err := s.list(name)
	if err == errUnsure {
		return err
	}
	if err != nil {
		return s.did("readdir", name, err)
	}
	s.kept[name] = fd
	return s.entries(fd, name, s, fn)
}

// list opens a directory to be read.
func (s *Still) list(name string) (int, error) {
	if at, base, ok := s.in(name); ok {
		fd, err := unix.Openat(at, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, nil
		}
	}
	return s.reach(name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// content is the Tree's.
func (s *Still) content(name string, limit int64) ([]byte, error) {
	if at, base, ok := s.in(name); ok {
		if before, err := describeAt(at, base); err == nil && before.Mode().IsRegular() {
			fd, err := unix.Openat(at, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
			if err == nil {
				defer unix.Close(fd)
				if is, err := describe(fd, name); err == nil && same(before, is) {
					return drain(fd, is.Size(), limit)
				}
			}
		}
	}
	return s.Tree.content(name, limit)
}

// describeAt describes what stands in an open directory under a name, which may be a
// link.
func describeAt(dir int, base string) (*node, error) {
	n := &node{name: base}
	for {
		if err := unix.Fstatat(dir, base, &n.stat, unix.AT_SYMLINK_NOFOLLOW); err != syscall.EINTR {
			return n, err
		}
	}
}
