package guest

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"golang.org/x/sys/unix"
)

// A volume is what can hold a file system: a disk, a partition of one, or a
// logical volume.
type volume struct {
	device string // "/dev/vda1"
	disk   int    // the slot in the machine
	part   int    // the partition's number; 0 for a whole disk
	lv     string // "group/volume", of a logical volume
	tag    tag
	superblock
}

// String names the volume for people.
func (v *volume) String() string {
	switch {
	case v.lv != "":
		return "logical volume " + v.lv
	case v.part > 0:
		return fmt.Sprintf("partition %d of disk %d", v.part, v.disk)
	}
	return fmt.Sprintf("disk %d", v.disk)
}

// id names the volume in a choice: "0", "0.2", "group/volume".
func (v *volume) id() string {
	switch {
	case v.lv != "":
		return v.lv
	case v.part > 0:
		return fmt.Sprintf("%d.%d", v.disk, v.part)
	}
	return strconv.Itoa(v.disk)
}

// findDisks returns the kernel's names of the disks with these serials, after
// they have all turned up.
func (s *server) findDisks(serials []string) ([]string, error) {
	if err := s.mods.load("virtio_blk"); err != nil {
		return nil, err
	}
	names, missing := s.bySerial(serials)
	if missing != "" {
		s.disks = disksBySerial("/sys/block")
		names, missing = s.bySerial(serials)
	}
	if missing == "" {
		return names, nil
	}
	for _, name := range []string{"virtio_scsi", "sd_mod"} {
		if err := s.mods.load(name); err != nil {
			return nil, err
		}
	}
	err := await(patience, func() bool {
		s.disks = disksBySerial("/sys/block")
		names, missing = s.bySerial(serials)
		return missing == ""
	})
	if err != nil {
		return nil, &clade.Error{Op: "find", On: "disk " + missing, Kind: clade.Missing, Err: err}
	}
	return names, nil
}

// bySerial returns the names of disks, or a serial that none is known to have.
func (s *server) bySerial(serials []string) (names []string, missing string) {
	for _, serial := range serials {
		name, ok := s.disks[serial]
		if !ok {
			return nil, serial
		}
		names = append(names, name)
	}
	return names, ""
}

// disksBySerial returns the names of all disks that have a serial.
func disksBySerial(dir string) map[string]string {
	entries, _ := os.ReadDir(dir)
	disks := map[string]string{}
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(dir, e.Name(), "serial")); err == nil {
			disks[strings.TrimSpace(string(text))] = e.Name()
		} else if page, err := os.ReadFile(filepath.Join(dir, e.Name(), "device/vpd_pg80")); err == nil && len(page) > 4 {
			disks[strings.TrimSpace(string(page[4:]))] = e.Name()
		}
	}
	return disks
}

// volumesOf returns what the disks hold, in the order of slots and partitions.
func (s *server) volumesOf(names []string) ([]*volume, error) {
	var all []*volume
	for slot, name := range names {
		parts, err := partitions(slot, name)
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	for _, v := range all {
		if err := v.probe(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// partitions returns the partitions of a disk, or the disk itself if it has none.
func partitions(slot int, name string) ([]*volume, error) {
	entries, err := os.ReadDir(filepath.Join("/sys/block", name))
	if err != nil {
		return nil, err
	}
	disk, err := os.Open("/dev/" + name)
	if err != nil {
		return nil, err
	}
	defer disk.Close()
	names := tags(disk, sectorSize(name))
	var parts []*volume
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join("/sys/block", name, e.Name(), "partition"))
		if err != nil {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, err
		}
		parts = append(parts, &volume{device: "/dev/" + e.Name(), disk: slot, part: n, tag: names[n]})
	}
	if parts == nil {
		return []*volume{{device: "/dev/" + name, disk: slot}}, nil
	}
	slices.SortFunc(parts, func(a, b *volume) int { return cmp.Compare(a.part, b.part) })
	return parts, nil
}

func sectorSize(name string) int64 {
	text, err := os.ReadFile(filepath.Join("/sys/block", name, "queue/logical_block_size"))
	if err != nil {
		return 512
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n < 512 {
		return 512
	}
	return n
}

// probe reads the volume's superblock, again if need be.
func (v *volume) probe() error {
	var f *os.File
	err := await(2*time.Second, func() bool { // devtmpfs makes the node a moment later
		var err error
		f, err = os.Open(v.device)
		return err == nil
	})
	if err != nil {
		return &clade.Error{Op: "open", On: v.String(), Kind: clade.Missing, Err: err}
	}
	defer f.Close()
	v.superblock, err = probe(f)
	if err != nil {
		return &clade.Error{Op: "read", On: v.String(), Kind: clade.Corrupt, Err: err, Hint: "examine the image: qemu-img check FILE"}
	}
	return nil
}

// settle forces what was written to the volume out to the disk, and forgets what
// the kernel has in memory of it, so that the next reader reads the disk.
func (v *volume) settle() error {
	f, err := os.Open(v.device)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
}
