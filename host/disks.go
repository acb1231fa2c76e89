package host

import (
	"path/filepath"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
)

// systemDisks returns the disks that are no data disks. They come first in every
// machine and template.
func systemDisks(disks []clade.Disk) []clade.Disk {
	return slices.DeleteFunc(slices.Clone(disks), clade.Disk.Data)
}

// disksOf returns the disks of m that are cloned and kept in templates: without its
// data disks, unless these are asked for.
func disksOf(m *store.Machine, withData bool) []clade.Disk {
	if withData {
		return slices.Clone(m.Disks)
	}
	return systemDisks(m.Disks)
}

// at is where a disk's record and head are in m, by its slot.
func at(m *store.Machine, slot int) int {
	return slices.IndexFunc(m.Disks, func(d clade.Disk) bool { return d.Slot == slot })
}

// asRecorded returns the disks of the same slots as m has them now.
func asRecorded(m *store.Machine, disks []clade.Disk) []clade.Disk {
	now := slices.Clone(disks)
	for i, d := range disks {
		now[i] = m.Disks[at(m, d.Slot)]
	}
	return now
}

// headsOf returns the paths of the heads of some of m's disks.
func (h *Host) headsOf(m *store.Machine, disks []clade.Disk) []string {
	heads := make([]string, len(disks))
	for i, d := range disks {
		heads[i] = filepath.Join(h.machineDir(m.ID), m.Heads[at(m, d.Slot)])
	}
	return heads
}

// addDataDisks gives a machine that is built in dir the data disks that are wanted:
// empty, and resting on nothing. Kind Invalid.
func addDataDisks(dir string, m *store.Machine, want []clade.DataDisk) error {
	added, err := clade.AddDataDisks(m.Disks, want)
	if err != nil {
		return err
	}
	for _, d := range added {
		head := headName(d.Slot, 0)
		if err := qcow2.WriteOverlay(filepath.Join(dir, head), qcow2.Overlay{Virtual: d.Virtual}); err != nil {
			return err
		}
		m.Disks, m.Heads = append(m.Disks, d), append(m.Heads, head)
	}
	return nil
}
