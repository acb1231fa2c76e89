package guest

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// maxShadow is how many bytes of a volume can be written in its shadow: what is in
// a journal and not yet in its place. The VM has at least twice as many for files
// in memory.
const maxShadow = 64 << 20

// A shadow is a device that reads from a volume and writes to memory. While it is
// there it is the volume's device.
type shadow struct {
	of     *volume
	below  string // the volume's own device
	name   string // for the device mapper
	memory *loop
}

// replay puts shadows over a volume and the others of its file system, so that its
// journal can be replayed and the disk is not written.
func (m *machine) replay(v *volume) error {
	for _, name := range []string{"dm_mod", "dm_snapshot"} {
		if err := m.server.mods.load(name); err != nil {
			return err
		}
	}
	parts := m.parts(v)
	tellBtrfs(parts, btrfsForget)
	defer tellBtrfs(parts, btrfsScan)
	for _, part := range parts {
		if err := m.cast(part); err != nil {
			return err
		}
	}
	return nil
}

// parts returns the volumes that a file system has: of btrfs they may be several.
func (m *machine) parts(v *volume) []*volume {
	if v.format != btrfs {
		return []*volume{v}
	}
	return slices.DeleteFunc(slices.Clone(m.volumes), func(o *volume) bool { return o.format != btrfs || o.uuid != v.uuid })
}

// cast makes a volume's device a shadow of it.
func (m *machine) cast(v *volume) (err error) {
	size, err := sectors(v.device)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(m.dir, "shadow-")
	if err != nil {
		return err
	}
	defer f.Close()
	defer os.Remove(f.Name()) // the loop keeps it
	if err := f.Truncate(maxShadow); err != nil {
		return err
	}
	s := shadow{of: v, below: v.device, name: m.server.deviceName()}
	if s.memory, err = m.server.newLoop(f.Name()); err != nil {
		return err
	}
	const chunk = 8 // sectors
	table := []target{{0, size, "snapshot", fmt.Sprintf("%s %s N %d", v.device, s.memory.device, chunk)}}
	device, err := mapDevice(s.name, table, true)
	if err != nil {
		return errors.Join(err, s.memory.close())
	}
	m.shadows = append(m.shadows, s)
	v.device, v.shadow = device, true
	return nil
}

// dropShadows gives the volumes their own devices back. Nothing may be mounted.
func (m *machine) dropShadows() error {
	var errs []error
	for _, s := range slices.Backward(m.shadows) {
		_, err := mapper(dmRemove, s.name, 0, nil)
		errs = append(errs, err, s.memory.close())
		s.of.device, s.of.shadow = s.below, false
	}
	m.shadows = nil
	return errors.Join(errs...)
}

// protect lets nothing write to the volumes of disks that can be written, until
// unprotect.
func (m *machine) protect() error { return m.setReadOnly(1) }

// unprotect makes all volumes what they are for work that writes. Nothing may be
// mounted.
func (m *machine) unprotect() error {
	tellBtrfs(m.volumes, btrfsForget)
	if err := m.dropShadows(); err != nil {
		return err
	}
	tellBtrfs(m.volumes, btrfsScan)
	return m.setReadOnly(0)
}

func (m *machine) setReadOnly(flag int) error {
	for _, v := range m.volumes {
		if !m.write || v.device == "" { // of one that cannot be made
			continue
		}
		f, err := os.Open(v.device)
		if err != nil {
			return err
		}
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, flag)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("protect %s: %w", v, err)
		}
	}
	return nil
}

// sectors returns the size of a device in sectors of 512 bytes.
func sectors(device string) (int64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	return size / 512, err
}
