package foreign

import (
	"encoding/xml"
	"io"
	"math/bits"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
)

// An envelope is what is read of an OVF description, versions 1 and 2 (DMTF's
// DSP0243), with what VMware and VirtualBox add for the firmware. Elements and
// attributes are told by their names without their name spaces, which vary.
type envelope struct {
	XMLName xml.Name     `xml:"Envelope"`
	Files   []ovfFile    `xml:"References>File"`
	Disks   []ovfDisk    `xml:"DiskSection>Disk"`
	Options []ovfOption  `xml:"DeploymentOptionSection>Configuration"`
	Systems []ovfSystem  `xml:"VirtualSystem"`
	Many    []ovfCollect `xml:"VirtualSystemCollection"`
}

type ovfFile struct {
	ID          string `xml:"id,attr"`
	Href        string `xml:"href,attr"`
	Compression string `xml:"compression,attr"`
	ChunkSize   string `xml:"chunkSize,attr"`
}

type ovfDisk struct {
	ID       string `xml:"diskId,attr"`
	FileRef  string `xml:"fileRef,attr"`
	Parent   string `xml:"parentRef,attr"`
	Capacity string `xml:"capacity,attr"`
	Units    string `xml:"capacityAllocationUnits,attr"`
	Format   string `xml:"format,attr"`
}

type ovfOption struct {
	ID      string `xml:"id,attr"`
	Default string `xml:"default,attr"`
}

type ovfCollect struct {
	Systems []ovfSystem  `xml:"VirtualSystem"`
	Many    []ovfCollect `xml:"VirtualSystemCollection"`
}

type ovfSystem struct {
	ID       string `xml:"id,attr"`
	Name     string `xml:"Name"`
	Hardware struct {
		Items    []ovfItem   `xml:"Item"`
		Storage  []ovfItem   `xml:"StorageItem"`
		Ethernet []ovfItem   `xml:"EthernetPortItem"`
		Config   []ovfConfig `xml:"Config"`
	} `xml:"VirtualHardwareSection"`
	VBox struct {
		Firmware struct {
			Type string `xml:"type,attr"`
		} `xml:"Hardware>Firmware"`
	} `xml:"Machine"`
}

type ovfConfig struct {
	Key   string `xml:"key,attr"`
	Value string `xml:"value,attr"`
}

// An ovfItem is one device, by the numbers of CIM's resource types.
type ovfItem struct {
	Configuration string   `xml:"configuration,attr"`
	Bound         string   `xml:"bound,attr"`
	Type          string   `xml:"ResourceType"`
	SubType       string   `xml:"ResourceSubType"`
	ID            string   `xml:"InstanceID"`
	Parent        string   `xml:"Parent"`
	Address       string   `xml:"AddressOnParent"`
	Units         string   `xml:"AllocationUnits"`
	Quantity      string   `xml:"VirtualQuantity"`
	Host          []string `xml:"HostResource"`
	Element       string   `xml:"ElementName"`
}

// OVF reads the description of an OVF package. The files of its disks are plain
// names of files beside it.
//
// Kinds: Invalid (no such XML), Unsupported (several machines, disks that rest on
// others, are packed or lie elsewhere), Corrupt (numbers and references that cannot be).
func OVF(r io.Reader) (*Machine, error) {
	var e envelope
	err := decode(r, &e)
	if err == nil {
		var m *Machine
		if m, err = e.machine(); err == nil {
			return m, nil
		}
	}
	return nil, about("read", "OVF description", err)
}

// systems are the machines at all depths.
func (e *envelope) systems() []ovfSystem {
	all := e.Systems
	for todo := slices.Clone(e.Many); len(todo) > 0; todo = todo[1:] {
		all = append(all, todo[0].Systems...)
		todo = append(todo, todo[0].Many...)
	}
	return all
}

func (e *envelope) machine() (*Machine, error) {
	all := e.systems()
	if len(all) != 1 {
		return nil, hinted(clade.Unsupported, "export each machine by itself", "it describes %d machines, not one", len(all))
	}
	s := all[0]
	m := &Machine{Name: text(s.Name)}
	if m.Name == "" {
		m.Name = text(s.ID)
	}
	m.Hardware.Firmware = clade.BIOS
	if strings.HasPrefix(strings.ToUpper(s.VBox.Firmware.Type), "EFI") {
		m.Hardware.Firmware = clade.UEFI
	}
	for _, c := range s.Hardware.Config {
		if strings.EqualFold(c.Key, "firmware") && strings.EqualFold(c.Value, "efi") {
			m.Hardware.Firmware = clade.UEFI
		}
	}
	items := e.chosen(slices.Concat(s.Hardware.Items, s.Hardware.Storage, s.Hardware.Ethernet))
	if err := e.devices(m, items); err != nil {
		return nil, err
	}
	return m, m.check()
}

// chosen are the devices of the default configuration, without the bounds that
// some give beside their quantities.
func (e *envelope) chosen(items []ovfItem) []ovfItem {
	choice := ""
	for i, o := range e.Options {
		if i == 0 || o.Default == "true" || o.Default == "1" {
			choice = o.ID
		}
	}
	return slices.DeleteFunc(items, func(i ovfItem) bool {
		return i.Configuration != "" && !slices.Contains(strings.Fields(i.Configuration), choice) ||
			i.Bound != "" && i.Bound != "normal"
	})
}

// The resource types of CIM that are told apart.
const (
	cimCPU      = "3"
	cimMemory   = "4"
	cimIDE      = "5"
	cimSCSI     = "6"
	cimEthernet = "10"
	cimDisk     = "17"
	cimStorage  = "20" // SATA, NVMe
)

// leftOut are devices that are not taken; others (controllers) need no word.
var leftOut = map[string]string{
	"14": "the floppy drive", "15": "the CD drive", "16": "the DVD drive", "21": "the serial port", "22": "the parallel port",
	"35": "the sound card",
}

func (e *envelope) devices(m *Machine, items []ovfItem) (err error) {
	var disks []ovfItem
	for _, i := range items {
		switch kind := strings.TrimSpace(i.Type); kind {
		case cimCPU:
			m.Hardware.CPUs, err = count(i.Quantity)
		case cimMemory:
			m.Hardware.Memory, err = amount(i.Quantity, ovfUnit(i.Units, clade.MiB))
		case cimEthernet:
			m.NICs = append(m.NICs, NIC{nicModel(i.SubType)})
		case cimDisk:
			disks = append(disks, i)
		default:
			if what := leftOut[kind]; what != "" {
				m.note("%s is not taken", what)
			}
		}
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(disks, func(a, b ovfItem) int {
		if byBus := place(items, a) - place(items, b); byBus != 0 {
			return byBus
		}
		return address(a) - address(b)
	})
	for _, i := range disks {
		d, err := e.disk(i)
		if err != nil {
			return about("", "disk "+text(i.Element), err)
		}
		d.Bus = bus(items, i)
		m.Disks = append(m.Disks, d)
	}
	return nil
}

// place is where the controller of a disk stands among the devices.
func place(items []ovfItem, disk ovfItem) int {
	return slices.IndexFunc(items, func(i ovfItem) bool { return i.ID != "" && i.ID == disk.Parent })
}

func address(disk ovfItem) int {
	n, err := strconv.ParseUint(strings.TrimSpace(disk.Address), 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

func bus(items []ovfItem, disk ovfItem) string {
	at := place(items, disk)
	if at < 0 {
		return ""
	}
	switch controller := items[at]; strings.TrimSpace(controller.Type) {
	case cimIDE:
		return "ide"
	case cimSCSI:
		return "scsi"
	case cimStorage:
		if strings.Contains(strings.ToLower(controller.SubType), "nvme") {
			return "nvme"
		}
		return "sata"
	}
	return ""
}

func nicModel(s string) string {
	if s == "VirtioNet" || s == "virtio-net" || s == "3" {
		return "virtio"
	}
	return strings.TrimSuffix(word(s, "virtio", "e1000", "e1000e", "vmxnet3", "pcnet32", "pcnet"), "32")
}

// disk follows a device to its disk and file.
func (e *envelope) disk(i ovfItem) (Disk, error) {
	if len(i.Host) != 1 {
		return Disk{}, refusal(clade.Corrupt, "it refers to %d contents", len(i.Host))
	}
	ref := strings.TrimPrefix(strings.TrimSpace(i.Host[0]), "ovf:")
	if id, found := strings.CutPrefix(ref, "/file/"); found {
		file, err := e.file(id)
		return Disk{File: file}, err
	}
	id, found := strings.CutPrefix(ref, "/disk/")
	at := slices.IndexFunc(e.Disks, func(d ovfDisk) bool { return d.ID == id })
	if !found || at < 0 {
		return Disk{}, refusal(clade.Corrupt, "it refers to %.80q, which is not there", i.Host[0])
	}
	d := e.Disks[at]
	if d.Parent != "" {
		return Disk{}, hinted(clade.Unsupported, "export the machine without its snapshots", "it rests on another disk")
	}
	virtual, err := amount(d.Capacity, ovfUnit(d.Units, 1))
	if err != nil {
		return Disk{}, err
	}
	disk := Disk{Format: diskFormat(d.Format), Virtual: virtual}
	if d.FileRef != "" {
		disk.File, err = e.file(d.FileRef)
	}
	return disk, err
}

// file returns the name of a file beside the description.
func (e *envelope) file(id string) (string, error) {
	at := slices.IndexFunc(e.Files, func(f ovfFile) bool { return f.ID == id })
	if at < 0 {
		return "", refusal(clade.Corrupt, "it refers to the file %.80q, which is not there", id)
	}
	f := e.Files[at]
	if f.Compression != "" && f.Compression != "identity" {
		return "", hinted(clade.Unsupported, "export it without compression", "its file is packed with %.40q", f.Compression)
	}
	if f.ChunkSize != "" {
		return "", hinted(clade.Unsupported, "export it as one file", "its file is in several parts")
	}
	name, err := url.PathUnescape(f.Href)
	if err != nil || !plainName(name) {
		return "", refusal(clade.Unsupported, "its file is at %.200q, not beside the description", f.Href)
	}
	return name, nil
}

// plainName says whether s is the name of a file in the same folder.
func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 255 && text(s) == s && !strings.ContainsAny(s, `/\:`)
}

// diskFormat is the format that an OVF names by the address of its description.
func diskFormat(uri string) string {
	for _, f := range []struct{ sign, format string }{{"vmdk", "vmdk"}, {"qcow", "qcow2"}, {"vhd", "vpc"}, {"vdi", "vdi"}} {
		if strings.Contains(strings.ToLower(uri), f.sign) {
			return f.format
		}
	}
	return ""
}

var programmatic = regexp.MustCompile(`^byte(?:s)?(?:\s*\*\s*(2|10)\s*\^\s*([0-9]{1,2}))?$`)

// ovfUnit is the size of a unit: a programmatic one of DSP0004, such as "byte *
// 2^20", or a word that is used in its place. 0 for an unknown one.
func ovfUnit(s string, unsaid clade.Bytes) clade.Bytes {
	s = strings.ToLower(strings.TrimSpace(s))
	switch s {
	case "":
		return unsaid
	case "kilobytes", "kb":
		return clade.KiB
	case "megabytes", "mb":
		return clade.MiB
	case "gigabytes", "gb":
		return clade.GiB
	case "terabytes", "tb":
		return clade.TiB
	}
	parts := programmatic.FindStringSubmatch(s)
	if parts == nil {
		return 0
	}
	if parts[2] == "" {
		return 1
	}
	base, _ := strconv.ParseUint(parts[1], 10, 8)
	exponent, _ := strconv.Atoi(parts[2])
	unit := uint64(1)
	for range exponent {
		over, low := bits.Mul64(unit, base)
		if over != 0 || low > uint64(maxVirtual) {
			return 0
		}
		unit = low
	}
	return clade.Bytes(unit)
}
