package rootfs

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Create makes a regular file that must not be there, and opens it to write.
func (h *Handle) Create(name string) (*os.File, error) {
	if err := h.check("create", name); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(h.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, h.did("create", name, err)
	}
	return os.NewFile(uintptr(fd), path.Join(h.name, name)), nil
}

// Mkdir makes a directory.
func (h *Handle) Mkdir(name string) error {
	if err := h.check("mkdir", name); err != nil {
		return err
	}
	return h.did("mkdir", name, unix.Mkdirat(h.fd, name, 0o700))
}

// Symlink makes a link to any target.
func (h *Handle) Symlink(target, name string) error {
	if err := h.check("symlink", name); err != nil {
		return err
	}
	return h.did("symlink", name, unix.Symlinkat(target, h.fd, name))
}

// Mknod makes a device node, a pipe or a socket.
func (h *Handle) Mknod(name string, mode uint32, device uint64) error {
	if err := h.check("mknod", name); err != nil {
		return err
	}
	return h.did("mknod", name, unix.Mknodat(h.fd, name, mode, int(device)))
}

// Link makes name another name of what is called old in from.
func (h *Handle) Link(from *Handle, old, name string) error {
	if err := h.check("link", old, name); err != nil {
		return err
	}
	return h.did("link", name, unix.Linkat(from.fd, old, h.fd, name, 0))
}

// Rename gives an entry another name in h; what had that name is gone.
func (h *Handle) Rename(old, name string) error {
	if err := h.check("rename", old, name); err != nil {
		return err
	}
	return h.did("rename", name, unix.Renameat(h.fd, old, h.fd, name))
}

// maxRemove is how deep Remove goes, in directories.
const maxRemove = 1000

// Remove removes an entry and, of a directory, all below it. No link is followed.
// What is not there is no error.
func (h *Handle) Remove(name string) error { return h.remove(name, 0) }

func (h *Handle) remove(name string, depth int) error {
	st, err := h.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if depth > maxRemove {
		return h.did("remove", name, ErrLimit)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return h.did("remove", name, h.unlink(name, st.Mode, 0))
	}
	dir, err := h.Dir(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	for more := true; more; {
		names, err := dir.some()
		if err != nil {
			return err
		}
		for _, below := range names {
			if err := dir.remove(below, depth+1); err != nil {
				return err
			}
		}
		more = len(names) > 0
	}
	return h.did("remove", name, h.unlink(name, st.Mode, unix.AT_REMOVEDIR))
}

// unlink takes a name away, also of a file that is immutable.
func (h *Handle) unlink(name string, mode uint32, flag int) error {
	err := unix.Unlinkat(h.fd, name, flag)
	if kind := mode & unix.S_IFMT; err != unix.EPERM || kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return err
	}
	if err := errors.Join(h.SetFlags(name, 0), h.SetFlags(".", 0)); err != nil {
		return err
	}
	return unix.Unlinkat(h.fd, name, flag)
}

// some returns a few of the names in h, and none where there is nothing.
func (h *Handle) some() (names []string, err error) {
	if _, err := unix.Seek(h.fd, 0, 0); err != nil {
		return nil, h.did("readdir", ".", err)
	}
	buf := make([]byte, 8<<10)
	for len(names) == 0 {
		n, err := unix.Getdents(h.fd, buf)
		if err != nil && err != unix.EINTR {
			return nil, h.did("readdir", ".", err)
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:max(n, 0)], -1, names)
	}
	return names, nil
}

// Dress gives what has a name in h the owner, mode, extended attributes and time
// of want: exactly these attributes and no others. "." is h itself.
func (h *Handle) Dress(name string, want *unix.Stat_t, attributes map[string]string) error {
	if name != "." {
		if err := h.check("dress", name); err != nil {
			return err
		}
	}
	if err := unix.Fchownat(h.fd, name, int(want.Uid), int(want.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return h.did("chown", name, err)
	}
	if want.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(h.fd, name, want.Mode&0o7777, 0); err != nil {
			return h.did("chmod", name, err)
		}
	}
	if err := h.setXattrs(name, attributes); err != nil {
		return err
	}
	times := []unix.Timespec{want.Mtim, want.Mtim} // reading leaves no trace in the original, nor a time here
	return h.did("set the time of", name, unix.UtimesNanoAt(h.fd, name, times, unix.AT_SYMLINK_NOFOLLOW))
}

func (h *Handle) setXattrs(name string, want map[string]string) error {
	is, err := h.Xattrs(name)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if _, stays := want[key]; !stays {
			if err := unix.Lremovexattr(h.at(name), key); err != nil {
				return h.did("remove attribute "+key+" of", name, err)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value, there := is[key]; there && value == want[key] {
			continue
		}
		if err := unix.Lsetxattr(h.at(name), key, []byte(want[key]), 0); err != nil {
			return h.did("set attribute "+key+" of", name, err)
		}
	}
	return nil
}

// Flags of files that chattr sets and that are kept when a file is copied.
const (
	FlagImmutable = 0x10
	FlagAppend    = 0x20
	FlagNoDump    = 0x40
	FlagNoCopy    = 0x800000 // btrfs: not copied on write
	FlagEncrypted = 0x800
	FlagVerity    = 0x100000
	KeptFlags     = FlagImmutable | FlagAppend | FlagNoDump | FlagNoCopy
)

// Flags returns the flags of a regular file or directory, 0 where the file system
// has none. "." is h itself.
func (h *Handle) Flags(name string) (int, error) {
	f, err := h.flagged(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOTSUP) {
		return 0, nil
	}
	return flags, h.did("read the flags of", name, err)
}

// SetFlags gives a regular file or directory those of KeptFlags that are in flags,
// and takes the others of them away.
func (h *Handle) SetFlags(name string, flags int) error {
	is, err := h.Flags(name)
	if err != nil || is&KeptFlags == flags&KeptFlags {
		return err
	}
	f, err := h.flagged(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return h.did("set the flags of", name, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, is&^KeptFlags|flags&KeptFlags))
}

// flagged opens a regular file or a directory for its flags.
func (h *Handle) flagged(name string) (*os.File, error) {
	st, err := h.Lstat(name)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		return h.Open(name)
	}
	fd, err := unix.Openat(h.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, h.did("open", name, err)
	}
	return os.NewFile(uintptr(fd), path.Join(h.name, name)), nil
}
