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

const fsck = "let the machine check its file systems: boot it, or run fsck in a rescue system; then try again"

// mounts are the mounted volumes of one guest, the root first.
type mounts struct {
	mods  *modules
	write bool
	at    []string
	used  []*volume
}

// add mounts a volume in a directory. The subvolume is of btrfs. Read-only mounts
// replay no journal: not one byte is written.
// Kinds: Corrupt (damaged; says what to do), Unsupported (not a file system).
func (m *mounts) add(v *volume, dir, subvol string) error {
	refuse := func(kind clade.Kind, err error, hint string) error {
		return &clade.Error{Op: "mount", On: v.String(), Kind: kind, Err: err, Hint: hint}
	}
	options := mountOptions(v.format, m.write)
	switch v.format {
	case ext, xfs, btrfs, vfat:
	case luks, bitlock:
		return refuse(clade.Unsupported, fmt.Errorf("it is locked (%s)", v.format), "generalize inside the running machine, where it is unlocked")
	default:
		return refuse(clade.Unsupported, fmt.Errorf("format %q is not supported", v.format), "")
	}
	if m.write && v.trouble != nil {
		return refuse(clade.Corrupt, v.trouble, fsck)
	}
	if err := m.mods.load(string(v.format)); err != nil {
		return err
	}
	if v.format == vfat {
		for _, name := range []string{"nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"} {
			if err := m.mods.load(name); err != nil {
				return err
			}
		}
	}
	if id, numbered := strings.CutPrefix(subvol, "#"); numbered {
		options = append(options, "subvolid="+id)
	} else if subvol != "" {
		options = append(options, "subvol="+subvol)
	}
	flags := uintptr(always)
	if !m.write {
		flags |= unix.MS_RDONLY
	}
	err := unix.Mount(v.device, dir, string(v.format), flags, strings.Join(options, ","))
	switch {
	case err == nil:
		m.at, m.used = append(m.at, dir), append(m.used, v)
		return nil
	case errors.Is(err, unix.ENODEV):
		return refuse(clade.Unsupported, fmt.Errorf("the appliance's kernel knows no %s", v.format), "set CLADE_KERNEL to another kernel")
	case errors.Is(err, unix.ENOENT):
		return refuse(clade.NotFound, fmt.Errorf("it has no subvolume %q", subvol), "")
	}
	return refuse(clade.Corrupt, fmt.Errorf("its %s file system cannot be mounted: %w", v.format, err), fsck)
}

func mountOptions(f format, write bool) []string {
	switch {
	case f == ext && !write:
		return []string{"noload"}
	case f == ext:
		return []string{"errors=remount-ro"}
	case f == xfs && !write:
		return []string{"norecovery", "nouuid"}
	case f == xfs:
		return []string{"nouuid"}
	case f == btrfs && !write:
		return []string{"rescue=nologreplay"}
	}
	return nil
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
func (m *mounts) join(other mounts) {
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
