package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// trim makes what was erased unreadable: it overwrites with zeroes what no file
// has any more on the volumes that were written, ext4's journal, and what the
// guest has swapped out. A file system or a device that cannot is a note. XFS's
// log keeps names and the targets of links for a while, never what files hold.
func (m *machine) trim(written []*volume) {
	for i, v := range written {
		if slices.Contains(written[:i], v) {
			continue // two subvolumes of one
		}
		if err := m.trimVolume(v); err != nil {
			m.note("what was erased may still be readable in the free space of %s: %v", v, err)
		}
	}
	for _, v := range m.volumes {
		if v.format != swap {
			continue
		}
		if err := v.clearSwap(); err != nil {
			m.note("what the guest has swapped out is still on %s: %v", v, err)
		}
	}
}

// trimVolume mounts a volume once more, through a loop, and lets its file system
// discard what is free.
func (m *machine) trimVolume(v *volume) (err error) {
	parts := m.parts(v)
	tellBtrfs(parts, btrfsForget)
	defer tellBtrfs(parts, btrfsScan)
	var loops []*volume
	for _, part := range parts {
		l, lerr := m.server.newLoop(part.device)
		if lerr != nil {
			return lerr
		}
		defer func() { err = errors.Join(err, l.close()) }()
		over := *part
		over.device = l.device
		loops = append(loops, &over)
	}
	tellBtrfs(loops, btrfsScan)
	defer tellBtrfs(loops, btrfsForget)
	dir, err := os.MkdirTemp(m.dir, "trim-")
	if err != nil {
		return err
	}
	at := m.mounts(true)
	if err := at.add(loops[slices.Index(parts, v)], dir, ""); err != nil {
		return err
	}
	return errors.Join(discard(dir, v.format), at.unmount())
}

// The requests of file systems that are used here.
const (
	fitrim         = 0xc0185879 // with a struct fstrim_range
	ext4Checkpoint = 0x4004662b // with flags
	zeroJournal    = 2
)

// discard lets the file system mounted in dir discard all that is free.
func discard(dir string, f format) error {
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := unix.Syncfs(int(root.Fd())); err != nil {
		return err
	}
	all := make([]byte, 24) // from the first byte on, so many, in pieces of any length
	binary.NativeEndian.PutUint64(all[8:], math.MaxUint64)
	if err := ioctl(root, fitrim, all); err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	if f != ext {
		return nil
	}
	flags := binary.NativeEndian.AppendUint32(nil, zeroJournal)
	if err := ioctl(root, ext4Checkpoint, flags); err != nil && err != unix.EOPNOTSUPP && err != unix.ENOTTY { // no journal
		return fmt.Errorf("clear the journal: %w", err)
	}
	return nil
}

// clearSwap overwrites a swap area with zeroes but for its first page, which says
// what it is.
func (v *volume) clearSwap() error {
	const page = 4096
	f, err := os.OpenFile(v.device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	span := binary.NativeEndian.AppendUint64(nil, page)
	span = binary.NativeEndian.AppendUint64(span, uint64(size-page)&^511)
	return ioctl(f, unix.BLKZEROOUT, span)
}
