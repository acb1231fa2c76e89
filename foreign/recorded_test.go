package foreign

import (
	"reflect"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// TestRecorded reads what virt-install 4.1.0 and virt-clone 4.1.0 printed on Debian 12
// for a machine of two disks.
func TestRecorded(t *testing.T) {
	for name, want := range map[string]Machine{
		"virt-install.xml":      {Name: "web", Hardware: clade.Hardware{Firmware: clade.BIOS}, Disks: []Disk{{File: "/srv/vms/sys.qcow2"}, {File: "/srv/vms/data.raw"}}},
		"virt-install-uefi.xml": {Name: "web", Hardware: clade.Hardware{Firmware: clade.UEFI}, Disks: []Disk{{File: "/srv/vms/sys.qcow2"}, {File: "/srv/vms/data.raw"}}},
		"virt-clone.xml":        {Name: "web-2", Hardware: clade.Hardware{Firmware: clade.BIOS}, Disks: []Disk{{File: "/srv/vms/sys-clone.qcow2"}, {File: "/srv/vms/data-clone.raw"}}},
	} {
		want.Hardware.CPUs, want.Hardware.Memory = 2, 2*clade.GiB
		want.NICs = []NIC{{"virtio"}}
		for i, format := range []string{"qcow2", "raw"} {
			want.Disks[i].Format, want.Disks[i].Bus = format, "virtio"
		}
		got, err := Libvirt(strings.NewReader(read(t, name)))
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("%s: %+v, %v, want\n%+v", name, got, err, &want)
		}
	}
}
