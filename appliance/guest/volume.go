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
	shadow bool // the device is a shadow
	stale  bool // the journal should have been replayed, and was not
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

// volumesOf returns what the disks hold, in the order of slots and partitions.
func volumesOf(names []string) ([]*volume, error) {
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
	parts, err := filepath.Glob("/sys/block/" + name + "/" + name + "*/partition")
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return []*volume{{device: "/dev/" + name, disk: slot}}, nil
	}
	disk, err := os.Open("/dev/" + name)
	if err != nil {
		return nil, err
	}
	defer disk.Close()
	names := tags(disk, sectorSize(name))
	var found []*volume
	for _, part := range parts {
		text, err := os.ReadFile(part)
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, err
		}
		found = append(found, &volume{device: "/dev/" + filepath.Base(filepath.Dir(part)), disk: slot, part: n, tag: names[n]})
	}
	slices.SortFunc(found, func(a, b *volume) int { return cmp.Compare(a.part, b.part) })
	return found, nil
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
	f, err := openSoon(v.device, os.O_RDONLY)
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

// openSoon opens a device whose node devtmpfs may make a moment later.
func openSoon(device string, flag int) (f *os.File, err error) {
	aerr := await(2*time.Second, func() bool {
		f, err = os.OpenFile(device, flag, 0)
		return err == nil
	})
	if aerr != nil {
		return nil, err
	}
	return f, nil
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
