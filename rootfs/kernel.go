package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errUnsure: the kernel gives no verdict on a name, and resolve has to.
var errUnsure = errors.New("no verdict of the kernel")

// reach opens what name leads to as the kernel itself resolves it below the
// guest's root: openat2 with RESOLVE_IN_ROOT is chroot for one call, and one call
// where resolve needs dozens. It is errUnsure where the kernel is too old, a
// filter of system calls forbids it, something was renamed or mounted meanwhile,
// or the name is longer than its own limit.
func (t *Tree) reach(name string, flag uint64) (fd int, err error) {
	return t.ask(name, unix.OpenHow{Flags: flag | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
}

// straight is resolve for names without a link on the way, which most are: those
// are where they end. For all others it is errUnsure.
func (t *Tree) straight(name string, follow bool) (string, *node, error) {
	if !valid(name) {
		return "", nil, errUnsure
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
	fd, err := t.ask(name, how)
	if err == unix.ENOENT { // of the last step only?
		how.Flags |= unix.O_DIRECTORY
		if fd, err = t.ask(path.Dir(name), how); err != nil {
			return "", nil, errUnsure
		}
		unix.Close(fd)
		return name, nil, fs.ErrNotExist
	}
	if err != nil {
		return "", nil, errUnsure
	}
	defer unix.Close(fd)
	n, err := describe(fd, name)
	if err != nil || follow && n.Mode()&fs.ModeSymlink != 0 {
		return "", nil, errUnsure
	}
	return name, n, nil
}

// ask is openat2 below the guest's root: see reach.
func (t *Tree) ask(name string, how unix.OpenHow) (fd int, err error) {
	if t.alone.Load() {
		return -1, errUnsure
	}
	gone := t.raw.Control(func(root uintptr) {
		for {
			if fd, err = unix.Openat2(int(root), name, &how); err != unix.EINTR {
				return
			}
		}
	})
	switch {
	case gone != nil:
		return -1, errUnsure // closed: resolve knows how to say so
	case err == unix.ENOSYS, err == unix.EPERM && how.Flags&unix.O_PATH != 0:
		t.alone.Store(true)
		return -1, errUnsure
	case err == unix.EAGAIN, err == unix.ENAMETOOLONG, err == unix.EINVAL, err == unix.E2BIG:
		return -1, errUnsure
	}
	return fd, err
}

// look describes what name leads to, or the link in the last place.
func (t *Tree) look(name string, follow bool) (*node, error) {
	fd, err := t.handle(name, follow)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return describe(fd, name)
}

// handle returns a handle on what name leads to, which opens nothing: a device
// node is not touched by it.
func (t *Tree) handle(name string, follow bool) (int, error) {
	flag := uint64(unix.O_PATH)
	if !follow {
		flag |= unix.O_NOFOLLOW
	}
	return t.reach(name, flag)
}

// take opens the regular file or directory that name leads to, which is looked at
// before and after: see open.
func (t *Tree) take(name string, flag int) (*os.File, error) {
	fd, _, err := t.enter(name, flag)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path.Base(name)), nil
}

func (t *Tree) enter(name string, flag int) (int, *node, error) {
	before, err := t.look(name, true)
	if err != nil {
		return -1, nil, err
	}
	if !before.IsDir() && !before.Mode().IsRegular() {
		return -1, nil, ErrSpecial
	}
	fd, err := t.reach(name, uint64(flag|syscall.O_NONBLOCK|syscall.O_NOCTTY))
	if err != nil {
		return -1, nil, err
	}
	after, err := describe(fd, name)
	if err != nil || !same(before, after) {
		unix.Close(fd)
		return -1, nil, ErrSpecial
	}
	return fd, after, nil
}

// content returns what is in the regular file that name leads to: see ReadFile.
func (t *Tree) content(name string, limit int64) ([]byte, error) {
	fd, is, err := t.enter(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if is.IsDir() {
		return nil, ErrSpecial
	}
	return drain(fd, is.Size(), limit)
}

// drain reads an open file of that size.
func drain(fd int, size, limit int64) ([]byte, error) {
	data := make([]byte, min(size, limit))
	for at := 0; at < len(data); {
		n, err := unix.Read(fd, data[at:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return data[:at], nil // shorter than it says
		default:
			at += n
		}
	}
	if size > limit {
		return data, ErrLimit
	}
	return data, nil
}

// readlink returns the target of the link of that name.
func (t *Tree) readlink(name string) (string, error) {
	fd, err := t.handle(name, false)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	if err == unix.ENOENT { // of a handle: it is no link
		err = unix.EINVAL
	}
	if err != nil {
		return "", err
	}
	return string(target[:n]), nil
}

// A node is the description of an open file.
type node struct {
	name string
	stat unix.Stat_t
}

func describe(fd int, name string) (*node, error) {
	n := &node{name: path.Base(name)}
	if err := unix.Fstat(fd, &n.stat); err != nil {
		return nil, err
	}
	return n, nil
}

// same reports whether two descriptions are of one file.
func same(a, b *node) bool {
	x, y := a.stat, b.stat
	return x.Dev == y.Dev && x.Ino == y.Ino && x.Mode&syscall.S_IFMT == y.Mode&syscall.S_IFMT
}

func (n *node) Name() string       { return n.name }
func (n *node) Size() int64        { return n.stat.Size }
func (n *node) ModTime() time.Time { return time.Unix(n.stat.Mtim.Unix()) }
func (n *node) IsDir() bool        { return n.stat.Mode&syscall.S_IFMT == syscall.S_IFDIR }

// Sys is what an *os.File has there, as far as anybody asks for it.
func (n *node) Sys() any {
	s := &n.stat
	return &syscall.Stat_t{Dev: s.Dev, Ino: s.Ino, Nlink: s.Nlink, Mode: s.Mode, Uid: s.Uid, Gid: s.Gid, Rdev: s.Rdev, Size: s.Size, Blocks: s.Blocks}
}

func (n *node) Mode() fs.FileMode {
	mode := fs.FileMode(n.stat.Mode&0o777) | kind(n.stat.Mode>>12)
	for bit, is := range map[uint32]fs.FileMode{
		syscall.S_ISUID: fs.ModeSetuid, syscall.S_ISGID: fs.ModeSetgid, syscall.S_ISVTX: fs.ModeSticky,
	} {
		if n.stat.Mode&bit != 0 {
			mode |= is
		}
	}
	return mode
}

// kind returns the type of a file by its number, which is the same in the mode
// that stat tells and in the entries of directories.
func kind(number uint32) fs.FileMode {
	switch number {
	case unix.DT_REG:
		return 0
	case unix.DT_DIR:
		return fs.ModeDir
	case unix.DT_LNK:
		return fs.ModeSymlink
	case unix.DT_FIFO:
		return fs.ModeNamedPipe
	case unix.DT_SOCK:
		return fs.ModeSocket
	case unix.DT_BLK:
		return fs.ModeDevice
	case unix.DT_CHR:
		return fs.ModeDevice | fs.ModeCharDevice
	}
	return fs.ModeIrregular
}
