//go:build integration

package main

import (
	"archive/tar"
	"bytes"
	bin "encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// put changes bytes of a file.
func put(d *desk, file string, at int64, data []byte) {
	d.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, at); err != nil {
		d.Fatal(err)
	}
}

func big64(n uint64) []byte { return bin.BigEndian.AppendUint64(nil, n) }

// made runs qemu-img create with a last argument of 64M, and returns the file.
func made(d *desk, format string, args ...string) string {
	d.Helper()
	file := filepath.Join(d.TempDir(), "image."+format)
	d.qemu("qemu-img", append(append([]string{"create", "-q", "-f", format}, args...), file, "64M")...)
	return file
}

// patched is a qcow2 image with some data, of which bytes are changed.
func patched(d *desk, at int64, data []byte) string {
	d.Helper()
	file := d.disk("64M", "3")
	put(d, file, at, data)
	return file
}

// TestImagesFromHell imports disk images that would read or write what is not
// theirs, or that are not what they say. Each is refused for its own reason.
func TestImagesFromHell(t *testing.T) {
	d := newDesk(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("secret\n"), 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	aes := func() string { return patched(d, 32, []byte{0, 0, 0, 1}) }
	for _, c := range []struct {
		name string
		file string
		args string
		says string
	}{
		{"backing file", made(d, "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw"), "", `it rests on another file, "/etc/shadow"`},
		{"backing file beside it", made(d, "qcow2", "-u", "-b", "x", "-F", "raw"), "", `it rests on another file, "x"`},
		{"json: backing name", made(d, "qcow2", "-u", "-b", `json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}`, "-F", "raw"), "", `it rests on another file, "json:`},
		{"nbd: backing name", made(d, "qcow2", "-u", "-b", "nbd://127.0.0.1:10809/x", "-F", "raw"), "", `it rests on another file, "nbd://127.0.0.1`},
		{"external data file", made(d, "qcow2", "-o", "data_file="+filepath.Join(t.TempDir(), "data")+",data_file_raw=on"), "", "its data lies in another file"},
		{"encrypted with LUKS", made(d, "qcow2", "--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"), "", "it is encrypted"},
		{"encrypted with AES", aes(), "", "it is encrypted"},
		{"version 2 with snapshots", snapshotted(d), "", "it holds 2 internal snapshots, which would be lost"},
		{"corrupt reference counts", uncounted(d), "", "the image is damaged or cut short"},
		{"2^63 bytes", patched(d, 24, big64(1<<63)), "", "9223372036854775808 bytes"},
		{"2^62 bytes", patched(d, 24, big64(1<<62)), "", "bytes"},
		{"more than there can be", patched(d, 24, big64(1<<47)), "", "bytes"},
		{"L1 table out of the file", patched(d, 40, big64(1<<40)), "", "an L1 table at byte 1099511627776"},
		{"reference counts out of the file", patched(d, 48, big64(1<<40)), "", "a refcount table at byte 1099511627776"},
		{"cut short", cutShort(d), "", "the file"},
		{"qcow2 in disguise", d.disk("64M", "3"), "--format raw", "it is a qcow2 image, not raw"},
		{"any file as raw", secret, "", "not a disk image"},
		{"VMDK of extents elsewhere", descriptor(d, `RW 131072 FLAT "`+secret+`" 0`), "", "whose data lies in other files (" + secret + ")"},
		{"VMDK with a parent", descriptor(d, `RW 1 SPARSE "x"`, "parentFileNameHint="+secret), "", "whose data lies in other files"},
		{"VMDK whose extent is another file", sparse(d, secret), "", "whose data lies in another file, " + fmt.Sprintf("%.20q", secret)[:12]},
		{"VDI that rests on another", differing(d, "vdi", 0x4c, []byte{4, 0, 0, 0}), "", "a VDI of type 4, which rests on another file"},
		{"VHD that rests on another", differing(d, "vpc", -512+60, []byte{0, 0, 0, 4}), "", "a VHD of type 4, which rests on another file"},
		{"VHDX that rests on another", parented(d), "", "a VHDX that rests on another file"},
		{"a pipe", pipe(d), "", "not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := &desk{t, d.dir}
			one.refused(c.says, append([]string{"import", "x", c.file}, strings.Fields(c.args)...)...)
			one.empty()
		})
	}
}

func snapshotted(d *desk) string {
	d.Helper()
	file := made(d, "qcow2", "-o", "compat=0.10")
	d.qemu("qemu-img", "snapshot", "-c", "one", file)
	d.qemu("qemu-img", "snapshot", "-c", "two", file)
	return file
}

// uncounted is an image whose first block of reference counts is empty.
func uncounted(d *desk) string {
	d.Helper()
	file := d.disk("64M", "3")
	data, err := os.ReadFile(file)
	if err != nil {
		d.Fatal(err)
	}
	table := bin.BigEndian.Uint64(data[48:])
	put(d, file, int64(bin.BigEndian.Uint64(data[table:])), make([]byte, 512))
	return file
}

func cutShort(d *desk) string {
	d.Helper()
	file := d.disk("64M", "3")
	if err := os.Truncate(file, 1<<20); err != nil {
		d.Fatal(err)
	}
	return file
}

// descriptor is a VMDK that is only text.
func descriptor(d *desk, extent string, more ...string) string {
	d.Helper()
	text := "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n" + strings.Join(more, "\n") + "\n" + extent + "\n"
	file := filepath.Join(d.TempDir(), "x.vmdk")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
	return file
}

// sparse is a VMDK with its data in it that says that they lie elsewhere.
func sparse(d *desk, elsewhere string) string {
	d.Helper()
	file := made(d, "vmdk")
	data, err := os.ReadFile(file)
	if err != nil {
		d.Fatal(err)
	}
	area := data[512 : 21*512]
	text := strings.Replace(string(bytes.TrimRight(area, "\x00")), `"image.vmdk"`, `"`+elsewhere+`"`, 1)
	put(d, file, 512, append([]byte(text), make([]byte, len(area)-len(text))...))
	return file
}

// differing is an image whose type is changed; at counts from the end if negative.
func differing(d *desk, format string, at int64, kind []byte) string {
	d.Helper()
	file := made(d, format)
	if fi, err := os.Stat(file); err != nil {
		d.Fatal(err)
	} else if at < 0 {
		at += fi.Size()
	}
	put(d, file, at, kind)
	return file
}

// parented is a VHDX that says that it has a parent.
func parented(d *desk) string {
	d.Helper()
	file := made(d, "vhdx")
	data, err := os.ReadFile(file)
	if err != nil {
		d.Fatal(err)
	}
	table := bytes.Index(data, []byte("metadata"))
	item := bytes.Index(data[table:], []byte("\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"))
	at := table + int(bin.LittleEndian.Uint32(data[table+item+16:])) + 4
	put(d, file, int64(at), []byte{data[at] | 2})
	return file
}

func pipe(d *desk) string {
	d.Helper()
	file := filepath.Join(d.TempDir(), "pipe")
	d.qemu("mkfifo", file)
	return file
}

// A part is one member of an archive.
type part struct {
	tar.Header
	data []byte
}

func plain(name string, data []byte) part {
	return part{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func link(kind byte, name, to string) part {
	return part{tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o644}, nil}
}

// archived writes an archive of parts.
func archived(d *desk, name string, parts ...part) string {
	d.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range parts {
		if err := w.WriteHeader(&p.Header); err != nil {
			d.Fatal(err)
		}
		if _, err := w.Write(p.data); err != nil {
			d.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		d.Fatal(err)
	}
	file := filepath.Join(d.TempDir(), name)
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		d.Fatal(err)
	}
	return file
}

// taken takes an archive apart.
func taken(d *desk, file string) (parts []part) {
	d.Helper()
	f, err := os.Open(file)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			return parts
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			d.Fatal(err)
		}
		parts = append(parts, part{*h, b.Bytes()})
	}
}

// hugeHeader is an archive whose first header says that a gigabyte of it follows.
func hugeHeader(d *desk, name string) string {
	d.Helper()
	file := archived(d, name, plain("x", nil))
	data, err := os.ReadFile(file)
	if err != nil {
		d.Fatal(err)
	}
	header := data[:512]
	header[156] = 'x' // more of the header follows, in PAX's form
	copy(header[124:], "10000000000\x00")
	copy(header[148:], "        ")
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	put(d, file, 0, header)
	if err := os.Truncate(file, 2<<30); err != nil {
		d.Fatal(err)
	}
	return file
}

// TestBundlesFromHell takes a sound bundle and changes what a stranger could.
func TestBundlesFromHell(t *testing.T) {
	d := newDesk(t)
	d.run("import", "m", d.disk("64M", "3"))
	d.run("template", "create", "t", "--from", "m", "--skip-generalize")
	sound := filepath.Join(t.TempDir(), "t.clade")
	d.run("export", "t", sound)
	parts := taken(d, sound)
	piece := parts[len(parts)-1]
	with := func(at int, p ...part) []part {
		return append(append(append([]part(nil), parts[:at]...), p...), parts[min(at+1, len(parts)):]...)
	}
	named := func(name string) part { return plain(name, piece.data) }
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := plain(piece.Name, encoder.EncodeAll(make([]byte, 256<<20), nil))
	manifest := func(old, by string) part {
		text := strings.Replace(string(parts[0].data), old, by, 1)
		if text == string(parts[0].data) {
			t.Fatalf("there is no %s in the manifest:\n%s", old, text)
		}
		return plain("manifest.json", []byte(text))
	}
	last := len(parts) - 1
	other := d.other()
	for _, c := range []struct {
		name, says string
		parts      []part
	}{
		{"zip bomb", "it holds more than the", with(last, bomb)},
		{"a piece that is too long", "more than", with(last, plain(piece.Name, make([]byte, 5<<20)))},
		{"2^63 bytes", "its manifest cannot be read", with(0, manifest(`"virtual": 67108864`, `"virtual": 9223372036854775808`))},
		{"a file that cannot be", "its file would have", with(0, manifest(`"size": `, `"size": 90000`))},
		{"up", `"../layer" does not belong there`, with(last, named("../layer"))},
		{"absolute", `"/etc/cron.d/x" does not belong there`, with(last, named("/etc/cron.d/x"))},
		{"up, further on", "does not belong there", with(last, named("layers/../../x"))},
		{"a link", "is no plain file", with(last, link(tar.TypeSymlink, piece.Name, "/etc/shadow"))},
		{"a hard link", "is no plain file", with(last, link(tar.TypeLink, piece.Name, "manifest.json"))},
		{"a device", "is no plain file", with(last, link(tar.TypeChar, piece.Name, ""))},
		{"a member twice", "does not belong there", with(last, piece, piece)},
		{"a second manifest", `"manifest.json" does not belong there`, with(1, parts[0])},
		{"a layer's id with a path", "this is no id", with(0, manifest(`"id": "`, `"id": "../`))},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := &desk{t, other.dir}
			one.refused(c.says, "import", archived(d, "x.clade", c.parts...))
			one.run("gc") // layers that are what they say are kept for the next try
			one.empty()
		})
	}
	t.Run("huge header", func(t *testing.T) {
		one := &desk{t, other.dir}
		one.refused("not a bundle of clade", "import", hugeHeader(d, "x.clade"))
		one.empty()
	})
}

// TestMachinesFromHell imports descriptions that name what is not theirs.
func TestMachinesFromHell(t *testing.T) {
	d := newDesk(t)
	d.run("import", "m", d.disk("64M", "3"))
	ova := filepath.Join(t.TempDir(), "m.ova")
	d.run("export", "m", ova, "--accept-twins", "all")
	parts := taken(d, ova) // the description, the disk, the checksums
	ovf, vmdk := parts[0], parts[1]
	described := func(pairs ...string) []part {
		text := string(ovf.data)
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("there is no %s in the description", pairs[i])
			}
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		return []part{plain(ovf.Name, []byte(text)), vmdk}
	}
	href := func(to string) []part { return described(`ovf:href="`+vmdk.Name+`"`, `ovf:href="`+to+`"`) }
	other := d.other()
	for _, c := range []struct {
		name, says string
		parts      []part
	}{
		{"up", `"../disk.vmdk" lies elsewhere`, []part{ovf, vmdk, plain("../disk.vmdk", nil)}},
		{"absolute", `"/etc/cron.d/x" lies elsewhere`, []part{ovf, vmdk, plain("/etc/cron.d/x", nil)}},
		{"down", `"a/b" lies elsewhere`, []part{ovf, vmdk, plain("a/b", nil)}},
		{"a link", "is no plain file", []part{ovf, link(tar.TypeSymlink, vmdk.Name, "/etc/shadow")}},
		{"a hard link", "is no plain file", []part{ovf, vmdk, link(tar.TypeLink, "x", vmdk.Name)}},
		{"a member twice", "twice", []part{ovf, vmdk, vmdk}},
		{"another disk than the checksums say", "checksum", []part{ovf, plain(vmdk.Name, append([]byte("x"), vmdk.data[1:]...)), parts[2]}},
		{"no disk", "is not in the archive", []part{ovf}},
		{"file elsewhere", `its file is at "../disk.vmdk"`, href("../disk.vmdk")},
		{"file of the host", `its file is at "/etc/shadow"`, href("/etc/shadow")},
		{"file on the network", `its file is at "http://127.0.0.1/x"`, href("http://127.0.0.1/x")},
		{"entity of a stranger", "it cannot be read", described(`<?xml version="1.0" encoding="UTF-8"?>`, `<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>`, "<Name>m</Name>", "<Name>&x;</Name>")},
		{"2^63 bytes", "a size of", described(`ovf:capacity="67108864"`, `ovf:capacity="9223372036854775808"`)},
		{"a disk of extents elsewhere", "whose data lies in other files", []part{ovf, plain(vmdk.Name, []byte("# Disk DescriptorFile\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/shadow\" 0\n"))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := &desk{t, other.dir}
			one.refused(c.says, "import", archived(d, "x.ova", c.parts...))
			one.empty()
		})
	}
	t.Run("huge header", func(t *testing.T) {
		one := &desk{t, other.dir}
		one.refused("neither XML nor an OVA", "import", hugeHeader(d, "x.ova"))
		one.empty()
	})
}

// TestDomainsFromHell imports libvirt's XML that names what is no disk of its own.
func TestDomainsFromHell(t *testing.T) {
	d := newDesk(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("secret\n\n"), 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	d.qemu("cp", d.disk("64M", "3"), filepath.Join(dir, "sys.qcow2"))
	d.qemu("qemu-img", "create", "-q", "-f", "raw", filepath.Join(dir, "data.raw"), "16M")
	xml, err := os.ReadFile(recorded(d, "virt-install.xml", dir))
	if err != nil {
		t.Fatal(err)
	}
	const file = `<disk type="file" device="disk">`
	source := `<source file="` + dir + `/sys.qcow2"/>`
	for _, c := range []struct{ name, old, by, says string }{
		{"network disk", file, `<disk type="network" device="disk">`, `its content is in no file but a "network"`},
		{"block device", file + "\n      <driver name=\"qemu\" type=\"qcow2\"/>\n      " + source,
			`<disk type="block" device="disk"><source dev="/dev/sda"/>`, `its content is on the block device "/dev/sda"`},
		{"backing store", source, source + `<backingStore type="file"><format type="raw"/><source file="/etc/shadow"/></backingStore>`, `it rests on another image, "/etc/shadow"`},
		{"up", dir + "/sys.qcow2", "../sys.qcow2", `"../sys.qcow2" is no path`},
		{"any file as a raw disk", dir + "/data.raw", secret, "is not read as a disk on the word of a description"},
		{"qcow2 in disguise", dir + "/data.raw", dir + "/sys.qcow2", "it is a qcow2 image, not raw"},
		{"no such format", `type="qcow2"`, `type="nbd"`, `format "nbd"`},
		{"entity of a stranger", "<name>web</name>", "<name>&xxe;</name>", "it cannot be read"},
		{"no name", "<name>web</name>", "<name>../web</name>", "cannot be one here"},
		{"processors", "<vcpu>2</vcpu>", "<vcpu>1000</vcpu>", "CPUs must be between 1 and 255"},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := &desk{t, d.dir}
			text := strings.Replace(string(xml), c.old, c.by, 1)
			if text == string(xml) {
				t.Fatalf("there is no %s", c.old)
			}
			path := filepath.Join(t.TempDir(), "domain.xml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			one.refused(c.says, "import", path)
			one.empty()
		})
	}
}
