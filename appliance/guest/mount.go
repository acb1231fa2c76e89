package guest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"golang.org/x/sys/unix"
)

// always are the flags of every mount: nothing on a guest's disk is a program, a
// device or a privilege here, and reading a file leaves no trace in it.
const always = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME

const unlock = "generalize inside the running machine, where it is unlocked"

// fsck says what to do about a damaged file system.
func (v *volume) fsck() string {
	check := map[format]string{ext: "e2fsck -f", xfs: "xfs_repair", btrfs: "btrfs check", vfat: "fsck.vfat"}[v.format]
	return fmt.Sprintf("boot the machine, so that it checks its file systems, or run %s on %s in a rescue system; then try again", check, v)
}

// mounts are the mounted volumes of one guest, the root first.
type mounts struct {
	mods  *modules
	write bool
	at    []string
	used  []*volume

	replay func(*volume) error // puts a volume whose journal is to be replayed under a shadow
}

// add mounts a volume in a directory. The subvolume is of btrfs. Read-only mounts
// write not one byte to the disk.
// Kinds: Corrupt (damaged; says what to do), Unsupported (not a file system),
// NotFound (no such subvolume).
func (m *mounts) add(v *volume, dir, subvol string) error {
	if err := m.mountable(v); err != nil {
		return err
	}
	if v.replay && !m.write && !v.shadow {
		v.stale = m.replay(v) != nil
	}
	err := m.mount(v, dir, subvol)
	if errors.Is(err, unix.EROFS) && !m.write && !v.shadow && !v.stale { // only now is it known
		v.stale = m.replay(v) != nil
		err = m.mount(v, dir, subvol)
	}
	switch {
	case err == nil:
		m.at, m.used = append(m.at, dir), append(m.used, v)
		return nil
	case errors.Is(err, unix.ENODEV):
		return v.refuse(clade.Unsupported, fmt.Errorf("the appliance's kernel knows no %s", v.format), "set CLADE_KERNEL to another kernel")
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL) && subvol != "":
		return v.refuse(clade.NotFound, fmt.Errorf("it has no subvolume %q", subvol), "")
	}
	return v.refuse(clade.Corrupt, fmt.Errorf("its %s file system cannot be mounted: %w", v.format, err), v.fsck())
}

func (v *volume) refuse(kind clade.Kind, err error, hint string) error {
	return &clade.Error{Op: "mount", On: v.String(), Kind: kind, Err: err, Hint: hint}
}

// mountable refuses what is no file system, or a damaged one for writing, and
// loads what the kernel needs for the others.
func (m *mounts) mountable(v *volume) error {
	switch v.format {
	case ext, xfs, btrfs, vfat:
	case luks, bitlock:
		return v.refuse(clade.Unsupported, fmt.Errorf("it is locked (%s)", v.format), unlock)
	default:
		return v.refuse(clade.Unsupported, fmt.Errorf("format %q is not supported", v.format), "")
	}
	if m.write && v.trouble != nil {
		return v.refuse(clade.Corrupt, v.trouble, v.fsck())
	}
	names := []string{string(v.format)}
	if v.format == vfat {
		names = append(names, "nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8")
	}
	for _, name := range names {
		if err := m.mods.load(name); err != nil {
			return err
		}
	}
	return nil
}

func (m *mounts) mount(v *volume, dir, subvol string) error {
	options := m.options(v)
	if id, numbered := strings.CutPrefix(subvol, "#"); numbered {
		options = append(options, "subvolid="+id)
	} else if subvol != "" {
		options = append(options, "subvol="+subvol)
	}
	flags := uintptr(always)
	if !m.write {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount(v.device, dir, string(v.format), flags, strings.Join(options, ","))
}

// options returns how a volume is mounted. A journal is replayed unless it cannot
// be; one that is known to be empty is not looked at.
func (m *mounts) options(v *volume) (options []string) {
	if v.format == xfs {
		options = append(options, "nouuid")
	}
	switch {
	case m.write && v.format == ext:
		return append(options, "errors=remount-ro")
	case m.write || v.shadow:
		return options
	case v.format == ext:
		return append(options, "noload")
	case v.format == xfs && v.stale:
		return append(options, "norecovery")
	case v.format == btrfs:
		return append(options, "rescue=nologreplay")
	}
	return options
}

// unmount takes all mounts away, the last one first. Nothing of the guest may be
// open. It may be called twice.
func (m *mounts) unmount() error {
	for len(m.at) > 0 {
		last := len(m.at) - 1
		if err := unix.Unmount(m.at[last], unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", m.used[last], err)
		}
		m.at, m.used = m.at[:last], m.used[:last]
	}
	return nil
}

// join takes over the mounts of another.
func (m *mounts) join(other *mounts) {
	m.at, m.used = append(m.at, other.at...), append(m.used, other.used...)
}

// remember tells btrfs of all devices of a machine: a file system may have many.
// Until forget, it knows those of no other: a clone has the same identity on
// another disk, and must not be taken for a second one of the first.
func (m *machine) remember() error {
	if !slices.ContainsFunc(m.volumes, func(v *volume) bool { return v.format == btrfs }) {
		return nil
	}
	if err := m.server.mods.load("btrfs"); err != nil {
		return err
	}
	m.server.btrfs.Lock()
	m.btrfs = true
	tellBtrfs(m.volumes, btrfsScan)
	return nil
}

func (m *machine) forget() {
	if m.btrfs {
		tellBtrfs(m.volumes, btrfsForget)
		m.server.btrfs.Unlock()
		m.btrfs = false
	}
}

// The requests of /dev/btrfs-control, with a struct btrfs_ioctl_vol_args.
const (
	btrfsScan   = 0x50009404
	btrfsForget = 0x50009405
)

// tellBtrfs makes a request for each btrfs volume. A refusal is not an error: the
// mount that needs the volume will say so.
func tellBtrfs(volumes []*volume, request uint) {
	control, err := os.OpenFile("/dev/btrfs-control", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer control.Close()
	for _, v := range volumes {
		if v.format == btrfs {
			args := make([]byte, 4096)
			copy(args[8:], v.device)
			ioctl(control, request, args)
		}
	}
}
