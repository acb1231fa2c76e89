//go:build integration

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	bin "encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
)

// two imports a machine with two disks from libvirt's XML, as virt-install printed it.
func two(d *desk, name string) {
	d.Helper()
	dir := d.TempDir()
	d.qemu("qemu-img", "convert", "-O", "qcow2", d.disk("64M", "7"), filepath.Join(dir, "sys.qcow2"))
	d.qemu("qemu-img", "convert", "-O", "raw", d.disk("32M", "9"), filepath.Join(dir, "data.raw"))
	said := d.run("import", recorded(d, "virt-install.xml", dir), "--name", name)
	if !strings.Contains(said, "clade mend") {
		d.Errorf("import says %q, not that it is a twin inside", said)
	}
	heads := d.heads(name)
	d.same(filepath.Join(dir, "sys.qcow2"), "qcow2", heads[0], "qcow2")
	d.same(filepath.Join(dir, "data.raw"), "raw", heads[1], "qcow2")
}

// recorded returns a description that another tool wrote, of disks that lie in dir.
func recorded(d *desk, name, dir string) string {
	d.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "foreign", "testdata", name))
	if err != nil {
		d.Fatal(err)
	}
	path := filepath.Join(d.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), "/srv/vms", dir)), 0o600); err != nil {
		d.Fatal(err)
	}
	return path
}

// TestLibvirtMachinesComeOver imports what virt-install and virt-clone describe.
func TestLibvirtMachinesComeOver(t *testing.T) {
	d := newDesk(t)
	two(d, "web-9")
	m := d.shown("web-9")
	if m.Hardware != (clade.Hardware{CPUs: 2, Memory: 2 * clade.GiB, Firmware: clade.BIOS}) || len(m.Disks) != 2 || m.Disks[1].Virtual != 32*clade.MiB {
		t.Errorf("it became %+v", m)
	}
	// The identity is new: nothing of what the description says.
	if m.Identity.UUID == "f30be6c0-4fe0-4067-af1b-d65d03d1be4f" || m.Identity.MAC == "52:54:00:38:8d:5d" || m.Identity.MAC == "" {
		t.Errorf("its identity is %+v", m.Identity)
	}
	dir := t.TempDir()
	for name, format := range map[string]string{"sys.qcow2": "qcow2", "sys-clone.qcow2": "qcow2", "data.raw": "raw", "data-clone.raw": "raw"} {
		d.qemu("qemu-img", "create", "-q", "-f", format, filepath.Join(dir, name), "16M")
	}
	d.run("import", recorded(d, "virt-clone.xml", dir)) // keeps its name
	d.run("import", recorded(d, "virt-install-uefi.xml", dir), "--memory", "512M")
	if a, b := d.shown("web-2"), d.shown("web"); a.Hardware.Firmware != clade.BIOS || b.Hardware.Firmware != clade.UEFI || b.Hardware.Memory != 512*clade.MiB {
		t.Errorf("they became %+v and %+v", a.Hardware, b.Hardware)
	}
	d.refused("the name is taken", "import", recorded(d, "virt-clone.xml", dir))
}

// TestOVAsGoRound exports a machine of two disks and imports it elsewhere; tar, an
// XML reader of its own and sha256 look at what is in between.
func TestOVAsGoRound(t *testing.T) {
	d := newDesk(t)
	two(d, "web")
	file := filepath.Join(t.TempDir(), "web.ova")
	d.refused("it is not generalized", "export", "web", file)
	if said := d.run("export", "web", file, "--accept-twins", "all", "--dry-run"); !strings.Contains(said, "at most") {
		t.Errorf("a dry run says %q", said)
	}
	mustBeAbsent(t, file)
	said := d.run("export", "web", file, "--accept-twins", "all")
	if !strings.Contains(said, "takes along who it is inside: ") || !strings.Contains(said, "stay here") {
		t.Errorf("export says %q", said)
	}
	d.refused("there is a file of this name", "export", "web", file, "--accept-twins", "all")
	inspectOVA(d, file)

	other := d.other()
	other.run("import", file)
	m := other.shown("web")
	if was := d.shown("web"); m.Hardware != was.Hardware || m.Identity.UUID == was.Identity.UUID || m.Identity.MAC == was.Identity.MAC {
		t.Errorf("%+v came over as %+v", was, m)
	}
	for i, head := range other.heads("web") {
		d.same(d.heads("web")[i], "qcow2", head, "qcow2")
	}
	flip(d, file, func(name string) bool { return name == "web-disk1.vmdk" })
	other.refused("checksum", "import", file, "--name", "again")
}

// inspectOVA reads an archive with other eyes than ours.
func inspectOVA(d *desk, file string) {
	d.Helper()
	const want = "web-disk0.ovf\nweb-disk0.vmdk\nweb-disk1.vmdk\nweb-disk0.mf\n"
	if got := d.qemu("tar", "-tf", file); got != want {
		d.Errorf("tar lists %q, want %q", got, want)
	}
	dir := d.TempDir()
	d.qemu("tar", "-C", dir, "-xf", file)
	sums, err := os.ReadFile(filepath.Join(dir, "web-disk0.mf"))
	if err != nil {
		d.Fatal(err)
	}
	for _, name := range []string{"web-disk0.ovf", "web-disk0.vmdk", "web-disk1.vmdk"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		sum := sha256.Sum256(data)
		if line := "SHA256(" + name + ")= " + hex.EncodeToString(sum[:]); err != nil || !strings.Contains(string(sums), line) {
			d.Errorf("%s is not in the checksums:\n%s", line, sums)
		}
	}
	for i, head := range d.heads("web") {
		vmdk := filepath.Join(dir, []string{"web-disk0.vmdk", "web-disk1.vmdk"}[i])
		d.same(head, "qcow2", vmdk, "vmdk")
		d.qemu("qemu-img", "check", "-q", "-f", "vmdk", vmdk)
	}
	f, err := os.Open(filepath.Join(dir, "web-disk0.ovf"))
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	var elements []string
	for x := xml.NewDecoder(f); ; {
		token, err := x.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			elements = append(elements, e.Name.Local)
		}
	}
	// The order of DSP0243's schema.
	at := -1
	for _, name := range []string{"Envelope", "References", "DiskSection", "NetworkSection", "VirtualSystem", "OperatingSystemSection", "VirtualHardwareSection"} {
		next := slices.Index(elements, name)
		if next <= at {
			d.Errorf("the element %s stands at %d, after one at %d: %v", name, next, at, elements)
		}
		at = next
	}
}

// flip changes one bit in the middle of a member of an archive.
func flip(d *desk, file string, which func(string) bool) {
	d.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			d.Fatal(err)
		}
		if !which(h.Name) {
			continue
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			d.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at+h.Size/2); err != nil {
			d.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, at+h.Size/2); err != nil {
			d.Fatal(err)
		}
		return
	}
}

// TestDisksGoRound exports each disk in each plain format, of a machine and of a
// template that rests on several layers.
func TestDisksGoRound(t *testing.T) {
	d := newDesk(t)
	two(d, "web")
	d.run("template", "create", "t", "--from", "web", "--skip-generalize")
	d.write("web", 0, "5") // the machine goes on, the template does not
	dir := t.TempDir()
	d.refused("it has 2 disks", "export", "web", filepath.Join(dir, "x.raw"), "--accept-twins", "all")
	d.refused("it has no disk 2", "export", "web", filepath.Join(dir, "x.raw"), "--disk", "2", "--accept-twins", "all")
	for _, format := range []string{"qcow2", "raw", "vmdk"} {
		for slot, head := range d.heads("web") {
			file := filepath.Join(dir, "web-"+string(rune('0'+slot))+"."+format)
			d.run("export", "web", file, "--disk", string(rune('0'+slot)), "--accept-twins", "all")
			d.same(head, "qcow2", file, format)
		}
		file := filepath.Join(dir, "t-"+format)
		d.run("export", "t:1", file, "--format", format, "--disk", "0", "--accept-twins", "all")
		if out := d.qemu("qemu-io", "-r", "-f", format, file, "-c", "read -P 0 8M 300k", "-c", "read -P 7 1M 3M"); strings.Contains(out, "failed") {
			t.Errorf("the template as %s: %s", format, out)
		}
	}
	left, err := os.ReadDir(filepath.Join(d.dir, "tmp"))
	if len(left) > 0 || err != nil {
		t.Errorf("tmp holds %v, %v", left, err)
	}
	d.full("web", filepath.Join(dir, "full.raw"))
	small := filepath.Join(dir, "small")
	d.refused("no such file", "export", "web", filepath.Join(small, "x.ova"), "--accept-twins", "all")
}

// full exports a disk that says that it holds more than any file system has.
func (d *desk) full(name, file string) {
	d.Helper()
	head := d.heads(name)[1]
	if err := os.Remove(head); err != nil {
		d.Fatal(err)
	}
	free, err := image.Space(filepath.Dir(file))
	if err != nil {
		d.Fatal(err)
	}
	const perTable = 512 * clade.GiB // of an L2 table, with clusters of 2 MiB
	tables := int(free/perTable) + 1
	d.qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", head, fmt.Sprint(tables*int(perTable)))
	d.qemu("qemu-io", "-f", "qcow2", head, "-c", "write -P 1 0 2M")
	// All clusters are the first one: so the image is small, and its disk is full.
	data, err := os.ReadFile(head)
	if err != nil {
		d.Fatal(err)
	}
	l1 := bin.BigEndian.Uint64(data[40:])
	l2 := bin.BigEndian.Uint64(data[l1:]) & 0x00fffffffffffe00
	put(d, head, int64(l2), bytes.Repeat(data[l2:l2+8], 1<<18))
	put(d, head, int64(l1), bytes.Repeat(data[l1:l1+8], tables))
	d.refused("are free", "export", name, file, "--disk", "1", "--accept-twins", "all")
	d.refused("are free", "export", name, file, "--disk", "1", "--accept-twins", "all", "--dry-run")
	mustBeAbsent(d.T, file)
}

// TestBundlesGoRound carries a machine and the two versions of a template.
func TestBundlesGoRound(t *testing.T) {
	d, dir := newDesk(t), t.TempDir()
	two(d, "web")
	d.run("template", "create", "t", "--from", "web", "--skip-generalize")
	d.write("web", 0, "5")
	for _, line := range []string{"export t:1 one.clade", "export web web.clade"} {
		words := strings.Fields(line)
		d.run(words[0], words[1], filepath.Join(dir, words[2]))
	}
	other := d.other()
	other.run("import", filepath.Join(dir, "one.clade"))
	said := other.run("import", filepath.Join(dir, "web.clade"), "--as", "web-2")
	if !strings.Contains(said, "0 of") || !strings.Contains(said, "clade mend web-2") {
		t.Errorf("the layers were there, and a head came: %q", said)
	}
	for i, head := range other.heads("web-2") {
		d.same(d.heads("web")[i], "qcow2", head, "qcow2")
		d.qemu("qemu-img", "check", "-q", head)
	}
	other.run("clone", "t:1", "c", "--accept-twins", "all", "--network", "none")
	other.run("verify", "--all")
	// The same bundle is the same bytes.
	d.run("export", "t:1", filepath.Join(dir, "again.clade"))
	a, err := os.ReadFile(filepath.Join(dir, "one.clade"))
	b, err2 := os.ReadFile(filepath.Join(dir, "again.clade"))
	if string(a) != string(b) || err != nil || err2 != nil {
		t.Errorf("two exports of one template differ: %d and %d bytes", len(a), len(b))
	}
}

func mustBeAbsent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s is there", path)
	}
}
