package foreign

import (
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
)

// A domain is what is read of libvirt's XML (formatdomain.html in its docs).
type domain struct {
	XMLName xml.Name `xml:"domain"`
	Name    string   `xml:"name"`
	Memory  struct {
		Unit  string `xml:"unit,attr"`
		Value string `xml:",chardata"`
	} `xml:"memory"`
	VCPU struct {
		Current string `xml:"current,attr"`
		Value   string `xml:",chardata"`
	} `xml:"vcpu"`
	OS struct {
		Firmware string `xml:"firmware,attr"`
		Type     struct {
			Arch  string `xml:"arch,attr"`
			Value string `xml:",chardata"`
		} `xml:"type"`
		Loader struct {
			Type   string `xml:"type,attr"`
			Secure string `xml:"secure,attr"`
		} `xml:"loader"`
		NVRAM  *struct{} `xml:"nvram"`
		Kernel string    `xml:"kernel"`
	} `xml:"os"`
	Devices struct {
		Disks      []domainDisk `xml:"disk"`
		Interfaces []struct {
			Model struct {
				Type string `xml:"type,attr"`
			} `xml:"model"`
		} `xml:"interface"`
		TPM         []struct{} `xml:"tpm"`
		HostDevs    []struct{} `xml:"hostdev"`
		Filesystems []struct{} `xml:"filesystem"`
	} `xml:"devices"`
}

type domainDisk struct {
	Type   string `xml:"type,attr"`
	Device string `xml:"device,attr"`
	Driver struct {
		Type string `xml:"type,attr"`
	} `xml:"driver"`
	Source struct {
		File       string    `xml:"file,attr"`
		Dev        string    `xml:"dev,attr"`
		Encryption *struct{} `xml:"encryption"`
		Slices     *struct{} `xml:"slices"`
	} `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
		Bus string `xml:"bus,attr"`
	} `xml:"target"`
	Boot struct {
		Order uint `xml:"order,attr"`
	} `xml:"boot"`
	Encryption *struct{} `xml:"encryption"`
	// libvirt shows what a running domain's image rests on; empty where that is nothing.
	Backing struct {
		Source struct {
			File     string `xml:"file,attr"`
			Dev      string `xml:"dev,attr"`
			Name     string `xml:"name,attr"`
			Protocol string `xml:"protocol,attr"`
		} `xml:"source"`
	} `xml:"backingStore"`
}

// restsOn names what the disk's image rests on; "" for nothing.
func (d *domainDisk) restsOn() string {
	s := d.Backing.Source
	for _, name := range []string{s.File, s.Dev, s.Name, s.Protocol} {
		if name != "" {
			return name
		}
	}
	return ""
}

// Libvirt reads a domain's XML, as virsh dumpxml prints it.
//
// Kinds: Invalid (no such XML), Unsupported (another processor, disks that are no
// files), Corrupt (numbers that cannot be).
func Libvirt(r io.Reader) (*Machine, error) {
	var d domain
	err := decode(r, &d)
	if err == nil {
		var m *Machine
		if m, err = d.machine(); err == nil {
			return m, nil
		}
	}
	return nil, about("read", "libvirt domain", err)
}

// decode reads one XML document of a bounded size into v.
func decode(r io.Reader, v any) error {
	data, err := io.ReadAll(io.LimitReader(r, int64(MaxDescription)+1))
	if err != nil {
		return err
	}
	if len(data) > int(MaxDescription) {
		return refusal(clade.Corrupt, "a description of more than %v", MaxDescription)
	}
	if err := xml.Unmarshal(data, v); err != nil {
		return refusal(clade.Invalid, "it cannot be read: %s", text(err.Error()))
	}
	return nil
}

func (d *domain) machine() (*Machine, error) {
	m := &Machine{Name: text(d.Name)}
	switch kind, arch := strings.TrimSpace(d.OS.Type.Value), d.OS.Type.Arch; {
	case kind != "hvm":
		return nil, refusal(clade.Unsupported, "a machine of the kind %.40q", kind)
	case arch != "" && arch != "x86_64" && arch != "i686":
		return nil, refusal(clade.Unsupported, "a machine with processors of the kind %.40q", arch)
	}
	cpus := d.VCPU.Current
	if cpus == "" {
		cpus = d.VCPU.Value
	}
	var err error
	if m.Hardware.CPUs, err = count(cpus); err != nil {
		return nil, err
	}
	if m.Hardware.Memory, err = amount(d.Memory.Value, libvirtUnit(d.Memory.Unit)); err != nil {
		return nil, err
	}
	m.Hardware.Firmware = clade.BIOS
	if d.OS.Firmware == "efi" || d.OS.Loader.Type == "pflash" {
		m.Hardware.Firmware = clade.UEFI
	}
	if err := d.disks(m); err != nil {
		return nil, err
	}
	for _, i := range d.Devices.Interfaces {
		m.NICs = append(m.NICs, NIC{word(i.Model.Type, "virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "pcnet")})
	}
	d.notes(m)
	return m, m.check()
}

func (d *domain) notes(m *Machine) {
	for _, n := range []struct {
		there bool
		what  string
	}{
		{d.OS.NVRAM != nil, "the variables of its UEFI are not taken: it boots by the default path"},
		{d.OS.Loader.Secure == "yes", "secure boot is not taken"},
		{d.OS.Kernel != "", "it is booted with a kernel from the host, which is not taken"},
		{len(d.Devices.TPM) > 0, "its TPM is not taken, nor what is sealed to it"},
		{len(d.Devices.HostDevs) > 0, "devices of the host are not taken"},
		{len(d.Devices.Filesystems) > 0, "folders of the host are not taken"},
	} {
		if n.there {
			m.note("%s", n.what)
		}
	}
}

// disks takes the disks, those with a boot order first.
func (d *domain) disks(m *Machine) error {
	all := slices.Clone(d.Devices.Disks)
	slices.SortStableFunc(all, func(a, b domainDisk) int {
		const last = 1 << 30
		order := func(d domainDisk) int {
			if d.Boot.Order == 0 || d.Boot.Order > last {
				return last
			}
			return int(d.Boot.Order)
		}
		return order(a) - order(b)
	})
	for _, disk := range all {
		name := "disk " + text(disk.Target.Dev)
		if device := disk.Device; device == "cdrom" || device == "floppy" {
			m.note("the %s %s is not taken", device, text(disk.Target.Dev))
			continue
		}
		if err := disk.check(); err != nil {
			return about("", name, err)
		}
		format := strings.ToLower(disk.Driver.Type)
		if format == "" {
			format = "raw" // as libvirt takes it: it guesses at nothing
		}
		m.Disks = append(m.Disks, Disk{File: disk.Source.File, Format: text(format),
			Bus: word(disk.Target.Bus, "virtio", "scsi", "sata", "ide", "nvme")})
	}
	return nil
}

func (d *domainDisk) check() error {
	switch {
	case d.Device != "" && d.Device != "disk":
		return refusal(clade.Unsupported, "a %.40q is a device of the host", d.Device)
	case d.Type == "block":
		return hinted(clade.Unsupported, "copy it to a file first, and import that: qemu-img convert -O qcow2 DEVICE FILE",
			"its content is on the block device %.200q", d.Source.Dev)
	case d.Type != "file":
		return hinted(clade.Unsupported, "copy it to a file first, and import that: virsh vol-download",
			"its content is in no file but a %.40q", d.Type)
	case d.restsOn() != "":
		return hinted(clade.Unsupported, "make it one file first: virsh blockcommit, or qemu-img convert -O qcow2 OLD NEW",
			"it rests on another image, %.200q", d.restsOn())
	case d.Encryption != nil || d.Source.Encryption != nil:
		return refusal(clade.Unsupported, "it is encrypted by libvirt")
	case d.Source.Slices != nil:
		return refusal(clade.Unsupported, "it is a slice of a file")
	case !filepath.IsAbs(d.Source.File) || strings.ContainsRune(d.Source.File, 0):
		return refusal(clade.Corrupt, "%.200q is no path", d.Source.File)
	}
	return nil
}

// libvirtUnit is the size of a unit of libvirt's, 0 for an unknown one.
func libvirtUnit(unit string) clade.Bytes {
	switch unit {
	case "b", "bytes":
		return 1
	case "KB":
		return 1000
	case "", "k", "KiB":
		return clade.KiB
	case "MB":
		return 1e6
	case "M", "MiB":
		return clade.MiB
	case "GB":
		return 1e9
	case "G", "GiB":
		return clade.GiB
	case "TB":
		return 1e12
	case "T", "TiB":
		return clade.TiB
	}
	return 0
}

// count reads a small number; nothing is 0.
func count(s string) (int, error) {
	if s = strings.TrimSpace(s); s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, refusal(clade.Corrupt, "%.40q processors", s)
	}
	return int(n), nil
}

// amount reads a number of units that stand for at most maxVirtual; nothing is 0.
func amount(s string, unit clade.Bytes) (clade.Bytes, error) {
	if s = strings.TrimSpace(s); s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err == nil && unit <= 0 {
		err = errors.New("unit")
	}
	if err != nil || clade.Bytes(n) > maxVirtual/unit {
		return 0, refusal(clade.Corrupt, "a size of %.40q units of %d bytes", s, unit)
	}
	return clade.Bytes(n) * unit, nil
}
