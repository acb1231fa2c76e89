package guest

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/clade-vm/clade"
)

// The drivers of the VM's disks: the first few have a device each, the others
// share a bus.
var (
	blockDrivers = []string{"virtio_blk"}
	busDrivers   = []string{"virtio_scsi", "sd_mod"}
)

// disks are the VM's disks, by the serials that the host has given them. Safe for
// concurrent use.
type disks struct {
	mods  *modules
	mu    sync.Mutex
	names map[string]string // the kernel's names, by serial
	asked map[string]bool   // the kernel's names of those whose serial is known
}

// find returns the kernel's names of the disks with these serials, after they have
// all turned up. The bus is looked at only for a disk that is not elsewhere.
func (d *disks) find(serials []string) ([]string, error) {
	for _, drivers := range [][]string{blockDrivers, busDrivers} {
		for _, name := range drivers {
			if err := d.mods.load(name); err != nil {
				return nil, err
			}
		}
		if names, missing := d.bySerial(serials); missing == "" {
			return names, nil
		}
	}
	var names []string
	var missing string
	err := await(patience, func() bool {
		names, missing = d.bySerial(serials)
		return missing == ""
	})
	if err != nil {
		return nil, &clade.Error{Op: "find", On: "disk " + missing, Kind: clade.Missing, Err: err}
	}
	return names, nil
}

// bySerial returns the names of disks, or a serial that none is known to have.
func (d *disks) bySerial(serials []string) (names []string, missing string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 0; i < len(serials); i++ {
		name, ok := d.names[serials[i]]
		switch {
		case ok:
			names = append(names, name)
		case d.refresh():
			i--
		default:
			return nil, serials[i]
		}
	}
	return names, ""
}

// refresh asks the disks that are new for their serials, and reports whether there
// are any. The caller holds the lock.
func (d *disks) refresh() (found bool) {
	const dir = "/sys/block"
	entries, _ := os.ReadDir(dir) // an error there is a disk missing
	for _, e := range entries {
		if name := e.Name(); !d.asked[name] {
			serial, ok := serialOfDisk(filepath.Join(dir, name))
			if !ok {
				continue
			}
			if d.names == nil {
				d.names, d.asked = map[string]string{}, map[string]bool{}
			}
			d.names[serial], d.asked[name], found = name, true, true
		}
	}
	return found
}

// serialOfDisk reads the serial of a disk by its directory in sysfs.
func serialOfDisk(dir string) (string, bool) {
	if text, err := os.ReadFile(filepath.Join(dir, "serial")); err == nil {
		return strings.TrimSpace(string(text)), true
	}
	page, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80"))
	if err != nil || len(page) <= 4 {
		return "", false
	}
	return strings.TrimSpace(string(page[4:])), true
}
