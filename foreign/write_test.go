package foreign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

var update = flag.Bool("update", false, "write the golden files anew")

// stream is the beginning of a stream-optimized VMDK, with something behind it.
func stream(content string) string {
	b := binary.LittleEndian.AppendUint32([]byte("KDMV"), 3)
	return string(binary.LittleEndian.AppendUint32(b, 0x30001)) + content
}

func machine() *Machine {
	return &Machine{
		Name:     `web & "mail" <1>`,
		Hardware: clade.Hardware{CPUs: 2, Memory: clade.GiB, Firmware: clade.UEFI},
		Disks: []Disk{
			{File: "web-disk0.vmdk", Format: "vmdk", Virtual: 10 * clade.GiB, Bus: "ide"},
			{File: "web-disk1.vmdk", Format: "vmdk", Virtual: 512, Bus: "ide"},
			{File: "web-disk2.vmdk", Format: "vmdk", Virtual: clade.TiB, Bus: "ide"},
		},
		NICs: []NIC{{"vmxnet3"}, {"virtio"}},
	}
}

// written writes a machine whose disks have their own names as content.
func written(t *testing.T, m *Machine) (string, error) {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	err := WriteOVA(t.Context(), &b, m, func(d Disk) (*os.File, error) {
		path := filepath.Join(dir, "open")
		return openFile(path, stream(d.File))
	}, nil)
	path := filepath.Join(dir, "x.ova")
	if e := os.WriteFile(path, b.Bytes(), 0o600); e != nil {
		t.Fatal(e)
	}
	return path, err
}

func openFile(path, content string) (*os.File, error) {
	if err := os.RemoveAll(path); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return nil, err
	}
	return os.Open(path)
}

func TestWriteOVAComesBack(t *testing.T) {
	want := machine()
	path, err := written(t, want)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if !reflect.DeepEqual(s.Machine, want) {
		t.Errorf("it comes back as %+v, want\n%+v", s.Machine, want)
	}
	mustFetch(t, s, stream("web-disk0.vmdk"), stream("web-disk1.vmdk"), stream("web-disk2.vmdk"))
	golden := filepath.Join("testdata", "written.ovf")
	if *update {
		if err := os.WriteFile(golden, s.archive.description, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(s.archive.description); got != read(t, "written.ovf") {
		t.Errorf("the description is\n%s\nwant that of %s (-update writes it)", got, golden)
	}
	again, err := written(t, want)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(path)
	if b, err := os.ReadFile(again); err != nil || !bytes.Equal(a, b) {
		t.Error("the same machine was written as other bytes")
	}
}

func TestWriteOVADefaults(t *testing.T) {
	m := machine()
	m.Hardware.Firmware = ""
	m.NICs = []NIC{{}}
	for i := range m.Disks {
		m.Disks[i].Bus = ""
	}
	path, err := written(t, m)
	if err != nil {
		t.Fatal(err)
	}
	got := open(t, path).Machine
	if got.Hardware.Firmware != clade.BIOS || got.NICs[0].Model != "vmxnet3" || got.Disks[2].Bus != "ide" {
		t.Errorf("it comes back as %+v", got)
	}
}

func TestWriteOVARefuses(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(m *Machine)
		kind clade.Kind
	}{
		"sound":             {func(m *Machine) {}, ""},
		"no name":           {func(m *Machine) { m.Name = "" }, clade.Invalid},
		"name with escapes": {func(m *Machine) { m.Name = "a\x1b" }, clade.Invalid},
		"no processors":     {func(m *Machine) { m.Hardware.CPUs = 0 }, clade.Invalid},
		"no memory":         {func(m *Machine) { m.Hardware.Memory = 0 }, clade.Invalid},
		"no disks":          {func(m *Machine) { m.Disks = nil }, clade.Invalid},
		"name elsewhere":    {func(m *Machine) { m.Disks[0].File = "../x.vmdk" }, clade.Invalid},
		"another format":    {func(m *Machine) { m.Disks[0].File = "x.qcow2" }, clade.Invalid},
		"a name twice":      {func(m *Machine) { m.Disks[0].File = "WEB-disk1.vmdk" }, clade.Invalid},
		"no size":           {func(m *Machine) { m.Disks[0].Virtual = 0 }, clade.Invalid},
		"five on ide": {func(m *Machine) {
			m.Disks = append(m.Disks, Disk{File: "a.vmdk", Virtual: 1}, Disk{File: "b.vmdk", Virtual: 1})
		}, clade.Unsupported},
		"one on sata": {func(m *Machine) {
			m.Disks = append(m.Disks, Disk{File: "a.vmdk", Virtual: 1}, Disk{File: "b.vmdk", Virtual: 1, Bus: "sata"})
		}, ""},
		"bus":  {func(m *Machine) { m.Disks[0].Bus = "virtio" }, clade.Invalid},
		"card": {func(m *Machine) { m.NICs[0].Model = "rtl8139" }, clade.Invalid},
	} {
		m := machine()
		c.do(m)
		if _, err := written(t, m); clade.KindOf(err) != c.kind {
			t.Errorf("%s: WriteOVA error = %v, want kind %q", name, err, c.kind)
		}
	}
	mine := errors.New("mine")
	for name, c := range map[string]struct {
		open func(Disk) (*os.File, error)
		want error
	}{
		"open fails":   {func(Disk) (*os.File, error) { return nil, mine }, mine},
		"another file": {func(Disk) (*os.File, error) { return openFile(filepath.Join(t.TempDir(), "x"), "QFI") }, clade.Corrupt},
		"an old VMDK": {func(Disk) (*os.File, error) {
			return openFile(filepath.Join(t.TempDir(), "x"), strings.Replace(stream("x"), "\x03\x00", "\x01\x00", 1))
		}, clade.Corrupt},
		"a sparse VMDK": {func(Disk) (*os.File, error) {
			return openFile(filepath.Join(t.TempDir(), "x"), "KDMV\x03\x00\x00\x00\x03\x00\x00\x00")
		}, clade.Corrupt},
	} {
		if err := WriteOVA(t.Context(), new(bytes.Buffer), machine(), c.open, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: WriteOVA error = %v, want %v", name, err, c.want)
		}
	}
}

func TestWriteOVATells(t *testing.T) {
	var done, total int64
	ends := 0
	err := WriteOVA(t.Context(), new(bytes.Buffer), machine(), func(d Disk) (*os.File, error) {
		return openFile(filepath.Join(t.TempDir(), "x"), stream(d.File))
	}, func(e clade.Event) {
		if e.Done < done || total != 0 && e.Total != total {
			t.Errorf("after %d of %d comes %+v", done, total, e)
		}
		if done, total = e.Done, e.Total; e.End {
			ends++
		}
	})
	if err != nil || done != total || total != 3*(12+14) || ends != 1 {
		t.Errorf("WriteOVA = %v; told %d of %d, and %d ends", err, done, total, ends)
	}
}
