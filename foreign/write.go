package foreign

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/template"
	"time"

	"github.com/clade-vm/clade"
)

// vmdkURI is how an OVF names the only format of disks that all who read OVAs take.
const vmdkURI = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"

// WriteOVA writes a machine as an OVA. Each disk has Virtual and a File, the plain
// name that it gets in the archive; open opens its content, a stream-optimized VMDK
// (image.Export), and WriteOVA closes it. On an error what w got is no OVA.
//
// Disks are on an IDE controller each pair, up to four, where no Bus is said: of
// what all hypervisors have, it is what the most guests know; Debian's cloud kernel
// has no drivers for SATA and LSI SCSI. Network cards are VmxNet3 where no Model is
// said: VMware's own, which that kernel knows too; VirtualBox takes its default
// instead, or "virtio" where that is the Model, which VMware does not know.
//
// Kinds: Invalid (a machine or disk that cannot be described), Corrupt (a file that
// is no such VMDK), Timeout, those of open and of writing to w.
func WriteOVA(ctx context.Context, w io.Writer, m *Machine, open func(Disk) (*os.File, error), p clade.Progress) error {
	return about("export", "machine "+text(m.Name), writeOVA(ctx, w, m, open, p))
}

func writeOVA(ctx context.Context, w io.Writer, m *Machine, open func(Disk) (*os.File, error), p clade.Progress) (err error) {
	o, err := describeOVF(m)
	if err != nil {
		return err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	event := clade.Event{Step: "export", Unit: "B"}
	for i, d := range m.Disks {
		f, err := open(d)
		if err != nil {
			return about("", "disk "+d.File, err)
		}
		files = append(files, f)
		if o.Disks[i].Size, err = streamOptimized(f); err != nil {
			return about("", "disk "+d.File, err)
		}
		event.Total += o.Disks[i].Size
	}
	var description bytes.Buffer
	if err := ovfText.Execute(&description, o); err != nil {
		return err
	}
	archive, sums := tar.NewWriter(w), new(strings.Builder)
	base := strings.TrimSuffix(m.Disks[0].File, ".vmdk")
	if err := add(ctx, archive, sums, base+".ovf", int64(description.Len()), &description, clade.Event{}, nil); err != nil {
		return err
	}
	for i, f := range files {
		event.Note = m.Disks[i].File
		if err := add(ctx, archive, sums, m.Disks[i].File, o.Disks[i].Size, f, event, p); err != nil {
			return about("", "disk "+m.Disks[i].File, err)
		}
		event.Done += o.Disks[i].Size
	}
	// The checksums come second or last; last, the disks are read once.
	text := sums.String()
	if err := add(ctx, archive, new(strings.Builder), base+".mf", int64(len(text)), strings.NewReader(text), clade.Event{}, nil); err != nil {
		return err
	}
	event.Note, event.End = "", true
	p.Tell(event)
	return archive.Close()
}

// streamOptimized returns the length of a VMDK, of which there must be one: QEMU
// writes version 3 of the format, and VMware wants it.
func streamOptimized(f *os.File) (int64, error) {
	head := make([]byte, 12)
	if n, err := f.ReadAt(head, 0); n < len(head) && err != io.EOF {
		return 0, err
	}
	const version, compressedWithMarkers = 3, 3 << 16
	le := binary.LittleEndian
	if string(head[:4]) != "KDMV" || le.Uint32(head[4:]) != version || le.Uint32(head[8:])&compressedWithMarkers != compressedWithMarkers {
		return 0, refusal(clade.Corrupt, "it is no stream-optimized VMDK")
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// add adds a member, and its checksum to sums.
func add(ctx context.Context, archive *tar.Writer, sums *strings.Builder, name string, size int64, r io.Reader, e clade.Event, p clade.Progress) error {
	err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tarFormat(size)})
	if err != nil {
		return err
	}
	sum := sha256.New()
	quiet := clade.Progress(func(now clade.Event) {
		if p != nil && !now.End {
			p(now)
		}
	})
	if err := transfer(ctx, io.MultiWriter(archive, sum), r, e, quiet); err != nil {
		return err
	}
	fmt.Fprintf(sums, "SHA256(%s)= %s\n", name, hex.EncodeToString(sum.Sum(nil)))
	return nil
}

// tarFormat is the plain format that everybody reads, but for members it cannot hold.
func tarFormat(size int64) tar.Format {
	const most = 8 << 30
	if size < most {
		return tar.FormatUSTAR
	}
	return tar.FormatGNU
}

// An ovfMachine is what the text of an OVF is made of.
type ovfMachine struct {
	Name        string
	CPUs        int
	Memory      int64 // MiB
	UEFI        bool
	Controllers []ovfController
	Disks       []ovfTarget
	NICs        []ovfNIC
}

type ovfController struct {
	ID, Type, Address int
	SubType, Name     string
}

type ovfTarget struct {
	Number, ID, Parent, Address int
	File                        string
	Size, Capacity              int64
}

type ovfNIC struct {
	ID, Number int
	SubType    string
}

// describeOVF proves that m can be described, and numbers its devices.
func describeOVF(m *Machine) (*ovfMachine, error) {
	if err := m.check(); err != nil {
		return nil, refusal(clade.Invalid, "%w", err)
	}
	h := m.Hardware
	if m.Name == "" || text(m.Name) != m.Name || h.CPUs == 0 || h.Memory < clade.MiB {
		return nil, refusal(clade.Invalid, "a machine needs a name, processors and memory")
	}
	o := &ovfMachine{Name: m.Name, CPUs: h.CPUs, Memory: int64(h.Memory / clade.MiB), UEFI: h.Firmware == clade.UEFI}
	next := 3 // 1 and 2 are processors and memory
	id := func() int { next++; return next - 1 }
	seen := make(map[string]bool)
	for i, d := range m.Disks {
		name := strings.ToLower(d.File)
		if !plainName(d.File) || !strings.HasSuffix(name, ".vmdk") || seen[name] || d.Virtual <= 0 {
			return nil, refusal(clade.Invalid, "disk %d: %.100q of %d bytes: it needs a size and a name of its own that ends in .vmdk", i, d.File, d.Virtual)
		}
		seen[name] = true
		parent, address, err := o.attach(d.Bus, id)
		if err != nil {
			return nil, about("", "disk "+d.File, err)
		}
		o.Disks = append(o.Disks, ovfTarget{Number: i + 1, ID: id(), Parent: parent, Address: address, File: d.File, Capacity: int64(d.Virtual)})
	}
	for i, n := range m.NICs {
		subtype, known := nicTypes[n.Model]
		if !known {
			return nil, refusal(clade.Invalid, "network card %d: %.40q is none that other hypervisors know", i, n.Model)
		}
		o.NICs = append(o.NICs, ovfNIC{ID: id(), Number: i + 1, SubType: subtype})
	}
	return o, nil
}

var nicTypes = map[string]string{"": "VmxNet3", "vmxnet3": "VmxNet3", "e1000": "E1000", "e1000e": "E1000e", "virtio": "virtio-net", "pcnet": "PCNet32"}

// buses are the controllers that both VirtualBox and VMware have.
var buses = map[string]struct {
	ovfController
	disks, most int // disks on one, and how many there can be
}{
	"ide":  {ovfController{Type: 5, SubType: "PIIX4", Name: "ideController"}, 2, 2},
	"scsi": {ovfController{Type: 6, SubType: "lsilogic", Name: "scsiController"}, 7, 4},
	"sata": {ovfController{Type: 20, SubType: "AHCI", Name: "sataController"}, 30, 1},
}

// attach finds a place for a disk, on a new controller if need be.
func (o *ovfMachine) attach(bus string, id func() int) (parent, address int, err error) {
	if bus == "" {
		bus = "ide"
	}
	kind, known := buses[bus]
	if !known {
		return 0, 0, refusal(clade.Invalid, "bus %.40q is none that other hypervisors have: ide, sata and scsi are", bus)
	}
	controllers := 0
	for _, c := range o.Controllers {
		if c.Type != kind.Type {
			continue
		}
		controllers++
		used := 0
		for _, d := range o.Disks {
			if d.Parent == c.ID {
				used++
			}
		}
		if used < kind.disks {
			return c.ID, used, nil
		}
	}
	if controllers == kind.most {
		return 0, 0, hinted(clade.Unsupported, "use sata or scsi for the others", "there is no place for more than %d disks on %s", kind.disks*kind.most, bus)
	}
	c := kind.ovfController
	c.ID, c.Address, c.Name = id(), controllers, fmt.Sprint(c.Name, controllers)
	o.Controllers = append(o.Controllers, c)
	return c.ID, 0, nil
}

var ovfText = template.Must(template.New("ovf").Funcs(template.FuncMap{"x": escaped, "vmdk": func() string { return vmdkURI }}).Parse(ovfTemplate))

// escaped makes a text safe within XML.
func escaped(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}
