package foreign

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLibvirt(t *testing.T) {
	got, err := Libvirt(strings.NewReader(read(t, "libvirt.xml")))
	want := &Machine{
		Name:     "web & mail",
		Hardware: clade.Hardware{CPUs: 2, Memory: 2 * clade.GiB, Firmware: clade.UEFI},
		Disks: []Disk{
			{File: "/srv/web.qcow2", Format: "qcow2", Bus: "virtio"},
			{File: "/srv/data.img", Format: "raw", Bus: "scsi"},
			{File: "/srv/old.img", Format: "raw"},
		},
		NICs: []NIC{{"virtio"}, {}},
		Notes: []string{"the cdrom sda is not taken", "the variables of its UEFI are not taken: it boots by the default path",
			"secure boot is not taken", "its TPM is not taken, nor what is sealed to it", "devices of the host are not taken"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Libvirt = %+v, %v, want\n%+v", got, err, want)
	}
}

func TestOVF(t *testing.T) {
	for name, want := range map[string]*Machine{
		"virtualbox.ovf": {
			Name:     "lab",
			Hardware: clade.Hardware{CPUs: 4, Memory: 2 * clade.GiB, Firmware: clade.UEFI},
			Disks: []Disk{
				{File: "lab-disk001.vmdk", Format: "vmdk", Virtual: 8 * clade.GiB, Bus: "sata"},
				{File: "lab disk002.vmdk", Format: "vmdk", Virtual: clade.GiB, Bus: "sata"},
			},
			NICs:  []NIC{{"e1000"}},
			Notes: []string{"the sound card is not taken", "the CD drive is not taken"},
		},
		"vmware.ovf": {
			Name:     "db",
			Hardware: clade.Hardware{CPUs: 16, Memory: 16 * clade.GiB, Firmware: clade.UEFI},
			Disks: []Disk{
				{File: "db-1.vmdk", Format: "vmdk", Virtual: 40 * clade.GiB, Bus: "scsi"},
				{Format: "vmdk", Virtual: 10 * clade.GiB, Bus: "scsi"},
			},
			NICs: []NIC{{"vmxnet3"}},
		},
	} {
		got, err := OVF(strings.NewReader(read(t, name)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("OVF of %s = %+v, %v, want\n%+v", name, got, err, want)
		}
	}
}

// edit replaces what must be there in a description.
func edit(t *testing.T, s string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("there is no %q to replace", pairs[i])
		}
		s = strings.ReplaceAll(s, pairs[i], pairs[i+1])
	}
	return s
}

func TestLibvirtVariants(t *testing.T) {
	xml := read(t, "libvirt.xml")
	for _, c := range []struct {
		edits []string
		want  clade.Hardware
	}{
		{[]string{" current='2'", ""}, clade.Hardware{CPUs: 8, Memory: 2 * clade.GiB, Firmware: clade.UEFI}},
		{[]string{"<memory unit='KiB'>2097152", "<memory unit='GB'>2"}, clade.Hardware{CPUs: 2, Memory: 2e9, Firmware: clade.UEFI}},
		{[]string{"<memory unit='KiB'>2097152", "<memory>1024"}, clade.Hardware{CPUs: 2, Memory: clade.MiB, Firmware: clade.UEFI}},
		{[]string{" firmware='efi'", ""}, clade.Hardware{CPUs: 2, Memory: 2 * clade.GiB, Firmware: clade.UEFI}},
		{[]string{"type='pflash'", "type='rom'"}, clade.Hardware{CPUs: 2, Memory: 2 * clade.GiB, Firmware: clade.UEFI}},
		{[]string{" firmware='efi'", "", "type='pflash'", "type='rom'"}, clade.Hardware{CPUs: 2, Memory: 2 * clade.GiB, Firmware: clade.BIOS}},
	} {
		m, err := Libvirt(strings.NewReader(edit(t, xml, c.edits...)))
		if err != nil || m.Hardware != c.want {
			t.Errorf("%q: %+v, %v, want %+v", c.edits, m, err, c.want)
		}
	}
}

func TestHostileLibvirt(t *testing.T) {
	xml := read(t, "libvirt.xml")
	web := "<source file='/srv/web.qcow2' index='1'/>"
	for _, c := range []struct {
		name  string
		edits []string
		kind  clade.Kind
		says  string
	}{
		{"no XML", []string{"<domain", "domain"}, clade.Invalid, ""},
		{"cut off", []string{"</domain>", ""}, clade.Invalid, "EOF"},
		{"another document", []string{"<domain ", "<pool ", "</domain>", "</pool>"}, clade.Invalid, ""},
		{"entity of a stranger", []string{"web &amp; mail", "&xxe;"}, clade.Invalid, "xxe"},
		{"too long", []string{"web &amp; mail", strings.Repeat("x", int(MaxDescription))}, clade.Corrupt, "more than"},
		{"container", []string{">hvm<", ">exe<"}, clade.Unsupported, "exe"},
		{"other processor", []string{"x86_64", "aarch64"}, clade.Unsupported, "aarch64"},
		{"processors", []string{"current='2'", "current='-2'"}, clade.Corrupt, "-2"},
		{"many processors", []string{"current='2'", "current='60000'"}, clade.Corrupt, "60000"},
		{"memory", []string{"2097152", "9223372036854775808"}, clade.Corrupt, "9223372036854775808"},
		{"much memory", []string{"2097152", "9007199254740992"}, clade.Corrupt, "9007199254740992"},
		{"unit", []string{"<memory unit='KiB'>", "<memory unit='parsec'>"}, clade.Corrupt, "units of 0"},
		{"block device", []string{"type='file' device='disk'", "type='block' device='disk'", web, "<source dev='/dev/sda'/>"}, clade.Unsupported, "/dev/sda"},
		{"network disk", []string{"type='file' device='disk'", "type='network' device='disk'"}, clade.Unsupported, "network"},
		{"volume", []string{"type='file' device='disk'", "type='volume' device='disk'"}, clade.Unsupported, "volume"},
		{"lun", []string{"device='disk'", "device='lun'"}, clade.Unsupported, "lun"},
		{"encrypted", []string{web, web + "<encryption format='luks'/>"}, clade.Unsupported, "encrypted"},
		{"encrypted source", []string{web, "<source file='/srv/web.qcow2'><encryption/></source>"}, clade.Unsupported, "encrypted"},
		{"rests on a file", []string{web, web + "<backingStore type='file'><format type='raw'/><source file='/etc/shadow'/></backingStore>"}, clade.Unsupported, `rests on another image, "/etc/shadow"`},
		{"rests on an address", []string{web, web + "<backingStore type='network'><source protocol='nbd' name='x'/></backingStore>"}, clade.Unsupported, "rests on another image"},
		{"slice", []string{web, "<source file='/srv/web.qcow2'><slices/></source>"}, clade.Unsupported, "slice"},
		{"relative path", []string{"/srv/web.qcow2", "../web.qcow2"}, clade.Corrupt, "../web.qcow2"},
		{"address", []string{"/srv/web.qcow2", "http://x/web.qcow2"}, clade.Corrupt, "http://x"},
		{"no source", []string{web, ""}, clade.Corrupt, "no path"},
		{"no disks", []string{"device='disk'", "device='cdrom'", "<disk type='file'>", "<disk type='file' device='floppy'>"}, clade.Unsupported, "no disk"},
		{"many disks", []string{"<devices>", "<devices>" + strings.Repeat("<disk type='file'><source file='/x'/></disk>", maxDisks)}, clade.Unsupported, "67 disks"},
		{"many cards", []string{"<devices>", "<devices>" + strings.Repeat("<interface/>", maxNICs)}, clade.Unsupported, "66 network cards"},
	} {
		m, err := Libvirt(strings.NewReader(edit(t, xml, c.edits...)))
		if clade.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Libvirt = %+v, %v, want kind %q and %q", c.name, m, err, c.kind, c.says)
		}
	}
}

func TestHostileOVF(t *testing.T) {
	box, vmware := read(t, "virtualbox.ovf"), read(t, "vmware.ovf")
	system := vmware[strings.Index(vmware, "<VirtualSystem "):strings.Index(vmware, "</Envelope>")]
	for _, c := range []struct {
		name  string
		from  string
		edits []string
		kind  clade.Kind
		says  string
	}{
		{"no XML", box, []string{"<Envelope", "Envelope"}, clade.Invalid, ""},
		{"up", box, []string{"lab-disk001.vmdk", "../disk.vmdk"}, clade.Unsupported, "../disk.vmdk"},
		{"up, in disguise", box, []string{"lab-disk001.vmdk", "..%2Fdisk.vmdk"}, clade.Unsupported, "..%2Fdisk.vmdk"},
		{"down", box, []string{"lab-disk001.vmdk", "dir/disk.vmdk"}, clade.Unsupported, "dir/disk.vmdk"},
		{"absolute", box, []string{"lab-disk001.vmdk", "/etc/shadow"}, clade.Unsupported, "/etc/shadow"},
		{"of Windows", box, []string{"lab-disk001.vmdk", `C:\disk.vmdk`}, clade.Unsupported, "C:"},
		{"address", box, []string{"lab-disk001.vmdk", "http://example.org/disk.vmdk"}, clade.Unsupported, "http://example.org"},
		{"address of a file", box, []string{"lab-disk001.vmdk", "file:disk.vmdk"}, clade.Unsupported, "file:disk.vmdk"},
		{"dot-dot", box, []string{"lab-disk001.vmdk", ".."}, clade.Unsupported, `".."`},
		{"no name", box, []string{"lab-disk001.vmdk", ""}, clade.Unsupported, `""`},
		{"odd letters", box, []string{"lab-disk001.vmdk", "a%0ab"}, clade.Unsupported, "a%0ab"},
		{"packed", box, []string{`ovf:href="lab-disk001.vmdk"`, `ovf:href="x.vmdk" ovf:compression="gzip"`}, clade.Unsupported, "gzip"},
		{"in parts", box, []string{`ovf:href="lab-disk001.vmdk"`, `ovf:href="x.vmdk" ovf:chunkSize="1024"`}, clade.Unsupported, "parts"},
		{"snapshot", box, []string{`ovf:diskId="vmdisk1"`, `ovf:diskId="vmdisk1" ovf:parentRef="vmdisk2"`}, clade.Unsupported, "rests on another"},
		{"no such file", box, []string{`ovf:id="file1"`, `ovf:id="file3"`}, clade.Corrupt, "file1"},
		{"no such disk", box, []string{`ovf:diskId="vmdisk1"`, `ovf:diskId="vmdisk3"`}, clade.Corrupt, "vmdisk1"},
		{"content elsewhere", box, []string{"/disk/vmdisk1", "http://example.org/x"}, clade.Corrupt, "http://example.org"},
		{"no content", box, []string{"<rasd:HostResource>/disk/vmdisk1</rasd:HostResource>", ""}, clade.Corrupt, "0 contents"},
		{"2^63", box, []string{"8589934592", "9223372036854775808"}, clade.Corrupt, "9223372036854775808"},
		{"2^62", box, []string{"8589934592", "4611686018427387904"}, clade.Corrupt, "4611686018427387904"},
		{"overflow", vmware, []string{"byte * 2^30", "byte * 2^60"}, clade.Corrupt, "units of 0"},
		{"exponent", vmware, []string{"byte * 2^30", "byte * 10^99"}, clade.Corrupt, "units of 0"},
		{"unit", vmware, []string{"byte * 2^20", "parsec"}, clade.Corrupt, "units of 0"},
		{"processors", vmware, []string{">16<", ">99999<"}, clade.Corrupt, "99999"},
		{"two machines", vmware, []string{system, system + system}, clade.Unsupported, "2 machines"},
		{"a collection of two", vmware, []string{system, "<VirtualSystemCollection>" + system + "<VirtualSystemCollection>" + system + "</VirtualSystemCollection></VirtualSystemCollection>"}, clade.Unsupported, "2 machines"},
		{"none", vmware, []string{system, ""}, clade.Unsupported, "0 machines"},
		{"blank without a size", vmware, []string{`ovf:capacity="10"`, ""}, clade.Corrupt, "0 bytes"},
	} {
		m, err := OVF(strings.NewReader(edit(t, c.from, c.edits...)))
		if clade.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: OVF = %+v, %v, want kind %q and %q", c.name, m, err, c.kind, c.says)
		}
	}
	one := edit(t, vmware, system, "<VirtualSystemCollection>"+system+"</VirtualSystemCollection>")
	if m, err := OVF(strings.NewReader(one)); err != nil || m.Name != "db" {
		t.Errorf("a collection of one: OVF = %+v, %v", m, err)
	}
	odd := edit(t, vmware, "<Name>db</Name>", "<Name>\x1b[2J d\nb\u202e"+strings.Repeat("x", 500)+"</Name>")
	if m, err := OVF(strings.NewReader(odd)); err == nil && (strings.ContainsAny(m.Name, "\x1b\n\u202e") || len(m.Name) > maxText+4) {
		t.Errorf("Name = %q", m.Name)
	}
}

func TestUnits(t *testing.T) {
	for s, want := range map[string]clade.Bytes{
		"": 7, "byte": 1, "bytes": 1, "byte * 2^10": clade.KiB, "byte*2^30": clade.GiB, "byte * 10^3": 1000, "Byte * 2^40": clade.TiB,
		"MegaBytes": clade.MiB, "GB": clade.GiB, "kilobytes": clade.KiB, "byte * 3^2": 0, "hertz * 10^6": 0, "byte * 2^63": 0, "byte * 2^": 0,
	} {
		if got := ovfUnit(s, 7); got != want {
			t.Errorf("ovfUnit(%q) = %d, want %d", s, got, want)
		}
	}
}

func FuzzLibvirt(f *testing.F) {
	f.Add([]byte(read(f, "libvirt.xml")))
	f.Fuzz(func(t *testing.T, data []byte) { mustBeBounded(t, data, Libvirt) })
}

func FuzzOVF(f *testing.F) {
	f.Add([]byte(read(f, "virtualbox.ovf")))
	f.Add([]byte(read(f, "vmware.ovf")))
	f.Fuzz(func(t *testing.T, data []byte) { mustBeBounded(t, data, OVF) })
}

// mustBeBounded holds a reader to its promise, whatever it reads.
func mustBeBounded(t *testing.T, data []byte, parse func(io.Reader) (*Machine, error)) {
	t.Helper()
	m, err := parse(bytes.NewReader(data))
	if err != nil {
		if k := clade.KindOf(err); k != clade.Invalid && k != clade.Unsupported && k != clade.Corrupt {
			t.Errorf("error = %v of kind %q", err, k)
		}
		return
	}
	if h := m.Hardware; h.CPUs < 0 || h.CPUs > 1024 || h.Memory < 0 || h.Memory > maxVirtual || len(m.Disks) > maxDisks || text(m.Name) != m.Name {
		t.Errorf("%+v", m)
	}
	for _, d := range m.Disks {
		if d.Virtual < 0 || d.Virtual > maxVirtual || d.File != "" && !filepath.IsAbs(d.File) && !plainName(d.File) {
			t.Errorf("disk %+v", d)
		}
	}
}

func TestErrorsHaveKinds(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, clade.NotFound) {
		t.Errorf("Open of nothing: error = %v, want kind NotFound", err)
	}
}
