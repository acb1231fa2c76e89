package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Handle is an open directory of a guest, for work that takes a tree as it lies
// there: names are single names in it, and no link is ever followed, in no place.
// Device nodes, pipes and sockets are described and made, and never opened. Its
// methods are for one goroutine. The caller closes it.
type Handle struct {
	fd   int
	name string // for errors
}

// OpenHandle opens the directory in which a guest's root is mounted.
func OpenHandle(dir string) (*Handle, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Handle{fd: fd}, nil
}

// Close lets the directory go. It may be called twice, and on nil.
func (h *Handle) Close() error {
	if h == nil || h.fd < 0 {
		return nil
	}
	err := unix.Close(h.fd)
	h.fd = -1
	return err
}

// single reports whether name is one name, which leads nowhere else.
func single(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// did returns err as an *fs.PathError about a name in h, and nil as nil. A name
// that is not a single one is fs.ErrInvalid.
func (h *Handle) did(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path.Join(h.name, name), Err: cause(err)}
}

func (h *Handle) check(op string, names ...string) error {
	for _, name := range names {
		if !single(name) {
			return h.did(op, name, fs.ErrInvalid)
		}
	}
	return nil
}

// Dir opens a directory in h.
func (h *Handle) Dir(name string) (*Handle, error) {
	if err := h.check("open", name); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(h.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, h.did("open", name, err)
	}
	return &Handle{fd: fd, name: path.Join(h.name, name)}, nil
}

// Names returns what is in the directory, in order. More than limit is ErrLimit.
func (h *Handle) Names(limit int) (names []string, err error) {
	if _, err := unix.Seek(h.fd, 0, io.SeekStart); err != nil {
		return nil, h.did("readdir", ".", err)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(h.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, h.did("readdir", ".", err)
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		if len(names) > limit {
			return nil, h.did("readdir", ".", ErrLimit)
		}
	}
}

// Lstat describes what has a name in h; "." is h itself.
func (h *Handle) Lstat(name string) (st unix.Stat_t, err error) {
	if name == "." {
		return st, h.did("stat", name, unix.Fstat(h.fd, &st))
	}
	if err := h.check("stat", name); err != nil {
		return st, err
	}
	return st, h.did("stat", name, unix.Fstatat(h.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW))
}

// Open opens a regular file to read; anything else is ErrSpecial, and not touched.
func (h *Handle) Open(name string) (*os.File, error) {
	before, err := h.Lstat(name)
	if err != nil {
		return nil, err
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, h.did("open", name, ErrSpecial)
	}
	fd, err := unix.Openat(h.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, h.did("open", name, err)
	}
	var after unix.Stat_t
	if err := unix.Fstat(fd, &after); err != nil || after.Ino != before.Ino || after.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, h.did("open", name, ErrSpecial)
	}
	return os.NewFile(uintptr(fd), path.Join(h.name, name)), nil
}

// ReadLink returns the target of a link, as it is written.
func (h *Handle) ReadLink(name string) (string, error) {
	if err := h.check("readlink", name); err != nil {
		return "", err
	}
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(h.fd, name, target)
	if err != nil {
		return "", h.did("readlink", name, err)
	}
	return string(target[:n]), nil
}

// at is a path for calls that take no directory: it leads to the entry itself.
func (h *Handle) at(name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", h.fd, name) }

// maxXattrs is how long the list of a file's attributes is at most: the kernel's
// XATTR_LIST_MAX.
const maxXattrs = 64 << 10

// Xattrs returns the extended attributes of what has a name in h, a link's own, by
// their names: SELinux labels, ACLs, capabilities. "." is h itself.
func (h *Handle) Xattrs(name string) (map[string]string, error) {
	at := h.at(name)
	size, err := unix.Llistxattr(at, nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil, nil
	}
	list := make([]byte, min(max(size, 0)+256, maxXattrs))
	if err == nil {
		size, err = unix.Llistxattr(at, list)
	}
	if err != nil {
		return nil, h.did("listxattr", name, err)
	}
	all := map[string]string{}
	value := make([]byte, 64<<10) // the kernel's XATTR_SIZE_MAX
	for key := range strings.SplitSeq(strings.TrimRight(string(list[:size]), "\x00"), "\x00") {
		if key == "" {
			continue
		}
		n, err := unix.Lgetxattr(at, key, value)
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) {
			continue // listed by the kernel, but not stored
		}
		if err != nil {
			return nil, h.did("getxattr", name, fmt.Errorf("%q: %w", key, err))
		}
		all[key] = string(value[:n])
	}
	return all, nil
}
