package appliance

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
)

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := &archive{w: &b}
	a.dir("modules")
	a.file("init", modeExec, 5, strings.NewReader("hello"))
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	want := "070701" + "00000002" + "000081ED" + strings.Repeat("00000000", 2) + "00000001" + "00000000" + "00000005" +
		strings.Repeat("00000000", 4) + "00000005" + "00000000" + "init\x00\x00" + "hello\x00\x00\x00" + "070701"
	if got := b.String(); !strings.Contains(got, want) || len(got)%4 != 0 {
		t.Errorf("archive of %d bytes %q, want %q in it, and a multiple of 4", len(got), got, want)
	}
	short := &archive{w: &b}
	short.file("init", modeExec, 5, strings.NewReader("hell"))
	if short.close() == nil {
		t.Error("a file that is shorter than said: no error")
	}
}

// elfModule is the least that the kernel would call a module.
func elfModule(modinfo string) []byte {
	names := "\x00.modinfo\x00.shstrtab\x00"
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a bytes.Buffer never fails
	data := uint64(64 + 3*64)
	put(elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64),
		Version: 1, Shoff: 64, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2})
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: data, Size: uint64(len(modinfo))})
	put(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: data + uint64(len(modinfo)), Size: uint64(len(names))})
	b.WriteString(modinfo + names)
	return b.Bytes()
}

// moduleTree writes modules with their dependencies, by name.
func moduleTree(t *testing.T, deps map[string]string, builtin string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "kernel/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, list := range deps {
		path := filepath.Join(dir, "kernel/x", name+".ko")
		if err := os.WriteFile(path, elfModule("license=GPL\x00depends="+list+"\x00"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte(builtin), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestResolve(t *testing.T) {
	dir := moduleTree(t, map[string]string{
		"virtio_mmio": "virtio,virtio-ring", "virtio": "", "virtio_ring": "virtio", "virtio_blk": "virtio",
		"ext4": "jbd2,mbcache", "jbd2": "", "mbcache": "", "crc32c_generic": "", "unwanted": "",
	}, "kernel/drivers/char/virtio_console.ko\n")
	mods, err := resolve(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range mods {
		got = append(got, m.name+":"+strings.Join(m.needs, ","))
	}
	want := []string{"virtio:", "virtio_ring:virtio", "virtio_mmio:virtio,virtio_ring", "virtio_blk:virtio",
		"jbd2:", "mbcache:", "crc32c_generic:", "ext4:jbd2,mbcache,crc32c_generic"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("resolve = %v, want %v", got, want)
	}
	if _, err := resolve(moduleTree(t, map[string]string{"ext4": ""}, "")); err == nil {
		t.Error("without virtio: no error")
	}
}

// bzImage is the head of a kernel image with this release.
func bzImage(release string) []byte {
	b := make([]byte, 4096)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x400)
	copy(b[0x600:], release+" (builder@host) #1 SMP")
	return b
}

func TestFindKernel(t *testing.T) {
	boot, modules, dir := t.TempDir(), t.TempDir(), t.TempDir()
	f := finder{boot: boot, modules: modules, dir: dir}
	t.Setenv("PATH", "") // no apt
	if _, err := f.find(t.Context(), "", nil); !errors.Is(err, clade.Missing) || !strings.Contains(clade.HintOf(err), "apt-get install") {
		t.Errorf("no kernel: %v (hint %q), want Missing and what to install", err, clade.HintOf(err))
	}
	tree := moduleTree(t, map[string]string{"ext4": ""}, "virtio_mmio.ko\nvirtio_blk.ko\nvirtio_console.ko\n")
	for _, release := range []string{"6.1.0-9-amd64", "6.1.0-10-amd64"} {
		if err := os.WriteFile(filepath.Join(boot, "vmlinuz-"+release), bzImage(release), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(tree, filepath.Join(modules, release)); err != nil {
			t.Fatal(err)
		}
	}
	// A link is not walked into: give the newest its own tree.
	newest := filepath.Join(modules, "6.1.0-10-amd64")
	if err := errors.Join(os.Remove(newest), os.Rename(tree, newest)); err != nil {
		t.Fatal(err)
	}
	k, err := f.find(t.Context(), "", nil)
	if err != nil || k.Release != "6.1.0-10-amd64" || !strings.HasPrefix(k.Image, dir) {
		t.Fatalf("host's kernels: %+v, %v; want the newest, kept in the cache", k, err)
	}
	if err := os.RemoveAll(boot); err != nil {
		t.Fatal(err)
	}
	if k, err := f.find(t.Context(), "", nil); err != nil || k.Release != "6.1.0-10-amd64" {
		t.Errorf("from the cache: %+v, %v", k, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "kernel/.new-*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.find(t.Context(), text, nil); !errors.Is(err, clade.Invalid) {
		t.Errorf("a text as kernel: %v, want Invalid", err)
	}
	if _, err := f.find(t.Context(), text+"-not", nil); !errors.Is(err, clade.NotFound) {
		t.Errorf("no file as kernel: %v, want NotFound", err)
	}
}

func TestNewer(t *testing.T) {
	order := []string{"vmlinuz-5.10.0-1", "vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-10-amd64", "vmlinuz-6.12.1"}
	for i := range order {
		for j := range order {
			if got := newer(order[i], order[j]); got != (i > j) {
				t.Errorf("newer(%s, %s) = %v", order[i], order[j], got)
			}
		}
	}
}

func TestKernelDepends(t *testing.T) {
	got := kernelDepends("linux-image-virtual\n  Depends: linux-image-6.8.0-31-generic\n |Depends: linux-image-unsigned-hwe\n" +
		"  PreDepends: linux-modules-6.8.0-31-generic\n  Depends: linux-image-6.1.0;reboot\n  Depends: kmod\n")
	want := []string{"linux-image-6.8.0-31-generic", "linux-modules-6.8.0-31-generic"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("kernelDepends = %v, want %v", got, want)
	}
}

func TestArgs(t *testing.T) {
	s := spec{accel: "tcg", cpus: 2, ticks: 2_600_000, memory: 384 * clade.MiB, kernel: "/k", initrd: "/i",
		disks: [][]link{{{"/head,a", Qcow2}, {"/base", Raw}}, {{"/data", Raw}}}, write: []bool{true, false}}
	args, err := s.args()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(args, "\n")
	for _, want := range []string{
		"-nodefaults\n-no-user-config", "-smp\n2", "tsc_early_khz=2600000",
		`-blockdev` + "\n" + `{"driver":"file","node-name":"d0-1-f","read-only":true,"filename":"/base","locking":"on"}`,
		`{"driver":"raw","node-name":"d0-1","read-only":true,"file":"d0-1-f"}`,
		`{"driver":"file","node-name":"d0-f","read-only":false,"discard":"unmap","filename":"/head,a","locking":"on","cache":{"no-flush":true}}`,
		`{"driver":"qcow2","node-name":"d0","read-only":false,"discard":"unmap","detect-zeroes":"unmap","file":"d0-f","backing":"d0-1"}`,
		`{"driver":"raw","node-name":"d1","read-only":true,"file":"d1-f"}`,
		"virtio-blk-device,discard_granularity=512,drive=d1,serial=clade-1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("arguments lack %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "netdev") || strings.Contains(text, "-nic") {
		t.Errorf("the appliance has a network:\n%s", text)
	}
	s.disks, s.write = [][]link{{{"/flat", Qcow2}}}, []bool{false}
	if args, _ = s.args(); !strings.Contains(strings.Join(args, "\n"), `"file":"d0-f","backing":null}`) {
		t.Errorf("a qcow2 file that rests on nothing may still find a backing file:\n%v", args)
	}
	s.disks, s.write = make([][]link, maxBlock+1), make([]bool, maxBlock+1)
	if args, _ = s.args(); !strings.Contains(strings.Join(args, "\n"), "scsi-hd,bus=scsi.0,discard_granularity=512,scsi-id=20") {
		t.Errorf("%d disks do not share a bus: %v", len(s.disks), args)
	}
}

func TestQEMUError(t *testing.T) {
	const node = `qemu-system-x86_64: -blockdev {"driver":"qcow2","node-name":"d12","read-only":true,"file":"d12-f","locking":"on","backing":null}: `
	for _, c := range []struct {
		text string
		kind clade.Kind
		disk int // -1: about none
		said string
	}{
		{node + "Could not read qcow2 header: Input/output error", clade.Corrupt, 12, "Could not read qcow2 header: Input/output error"},
		{node + "Unsupported qcow2 feature(s): Unknown", clade.Unsupported, 12, "Unsupported qcow2 feature(s): Unknown"},
		{`qemu-system-x86_64: -blockdev {"driver":"file","node-name":"d3-1-f","filename":"/a","locking":"on"}: Could not open '/a': Permission denied`,
			clade.Denied, 3, "Could not open '/a': Permission denied"},
		{`qemu-system-x86_64: -device scsi-hd,bus=scsi.0,scsi-id=7,lun=0,drive=d7,serial=clade-7: Failed to get "write" lock | Is another process using the image [x]?`,
			clade.InUse, 7, `Failed to get "write" lock | Is another process using the image [x]?`},
		{"Could not access KVM kernel module", clade.Missing, -1, ""},
		{"qemu-system-x86_64: -m 384M: Cannot allocate memory", clade.Internal, -1, ""},
	} {
		err := qemuError(c.text)
		about, ok := errors.AsType[*complaint](err)
		if !errors.Is(err, c.kind) || ok != (c.disk >= 0) || ok && (about.disk != c.disk || about.text != c.said) {
			t.Errorf("%s: %v (%s) %+v, want %s about disk %d", c.text, err, clade.KindOf(err), about, c.kind, c.disk)
		}
	}
}

// qcow returns the header of a qcow2 file that rests on backing.
func qcow(backing string, format Format, features uint64) []byte {
	b := make([]byte, 65536)
	for at, v := range map[int]uint32{0: qcowMagic, 4: 3, 20: 16, 36: 1, 100: 104} {
		binary.BigEndian.PutUint32(b[at:], v)
	}
	binary.BigEndian.PutUint64(b[40:], 4096)
	binary.BigEndian.PutUint64(b[48:], 8192)
	binary.BigEndian.PutUint64(b[72:], features)
	if backing != "" {
		binary.BigEndian.PutUint32(b[104:], formatTag)
		binary.BigEndian.PutUint32(b[108:], uint32(len(format)))
		copy(b[112:], format)
		binary.BigEndian.PutUint64(b[8:], 1024)
		binary.BigEndian.PutUint32(b[16:], uint32(len(backing)))
		copy(b[1024:], backing)
	}
	return b
}

func TestChain(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	base, flat := write("base", []byte("raw")), write("flat", qcow("", "", 0))
	head := write("head", qcow("middle", Qcow2, 0))
	middle := write("middle", qcow("base", Raw, 0))
	links, err := Disk{Path: head, Format: Qcow2, Backed: true}.chain()
	if want := []link{{head, Qcow2}, {middle, Qcow2}, {base, Raw}}; err != nil || !reflect.DeepEqual(links, want) {
		t.Errorf("chain = %v, %v; want %v", links, err, want)
	}
	cut := qcow("", "", 0)[:4097]
	for _, c := range []struct {
		name string
		disk Disk
		kind clade.Kind
	}{
		{"rests on another and is not vouched for", Disk{Path: head, Format: Qcow2}, clade.Invalid},
		{"data elsewhere", Disk{Path: write("data", qcow("", "", externalData)), Format: Qcow2, Backed: true}, clade.Invalid},
		{"a protocol as backing", Disk{Path: write("nbd", qcow("nbd://host", Raw, 0)), Format: Qcow2, Backed: true}, clade.Invalid},
		{"a backing format to guess", Disk{Path: write("guess", qcow("base", "", 0)), Format: Qcow2, Backed: true}, clade.Invalid},
		{"a circle", Disk{Path: write("self", qcow("self", Qcow2, 0)), Format: Qcow2, Backed: true}, clade.Invalid},
		{"cut off", Disk{Path: write("cut", cut), Format: Qcow2}, clade.Corrupt},
		{"not qcow2", Disk{Path: base, Format: Qcow2}, clade.Corrupt},
		{"no such format", Disk{Path: base, Format: "vmdk"}, clade.Invalid},
		{"not there", Disk{Path: base + "-not", Format: Raw}, clade.NotFound},
		{"backing not there", Disk{Path: write("lost", qcow("nowhere", Raw, 0)), Format: Qcow2, Backed: true}, clade.NotFound},
		{"a directory", Disk{Path: dir, Format: Raw}, clade.Invalid},
	} {
		if _, err := c.disk.chain(); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v (%s), want %s", c.name, err, clade.KindOf(err), c.kind)
		}
	}
	if _, err := (Disk{Path: flat, Format: Qcow2}).chain(); err != nil {
		t.Errorf("a plain qcow2 file: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(qcow("base", Raw, 0)[:2048])
	f.Add(qcow("", "", externalData)[:104])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(bytes.NewReader(b), int64(len(b)))
		if err == nil && len(h.backing) > 1023 {
			t.Errorf("backing name of %d bytes", len(h.backing))
		}
	})
}

func FuzzUnpackKernel(f *testing.F) {
	f.Add(bzImage("6.1.0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = unpackKernel(path) // it is enough that it returns
		_, _ = kernelRelease(path)
	})
}

func TestTail(t *testing.T) {
	v := &tail{limit: 100}
	for i := range 100 {
		fmt.Fprintf(v, "line %d\x1b[31m\r\n", i)
	}
	if got, want := v.last(2), "line 98[31m | line 99[31m"; got != want {
		t.Errorf("last = %q, want %q", got, want)
	}
	if n := len(v.String()); n < 100 || n > 220 {
		t.Errorf("kept %d bytes, want about 100", n)
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\x1b]0;b\tc\x00\nd" + strings.Repeat("x", 2*maxText)); !strings.HasPrefix(got, "a]0;b c\ndx") || len(got) > maxText {
		t.Errorf("clean = %.20q and %d bytes", got, len(got))
	}
}

func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v, want to wait until the deadline", err)
	}
	unlock()
	if unlock, err = lockFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestStatic(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := static(text); !errors.Is(err, clade.Invalid) {
		t.Errorf("a script as init: %v, want Invalid", err)
	}
}

// What follows the loaded parts of a program is not copied into the VM, and
// nothing of them is lost.
func TestStaticIsLoadedWhole(t *testing.T) {
	// An ELF file of a head, two parts to load of which the later in the list ends
	// earlier, and a hundred bytes for debuggers.
	head := make([]byte, 64+2*56)
	copy(head, "\x7fELF\x02\x01\x01")
	put16, put32, put64 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint64
	put16(head[16:], 2)                                        // an executable
	put16(head[18:], 62)                                       // x86-64
	put32(head[20:], 1)                                        // version
	put64(head[32:], 64)                                       // where the parts are listed
	put16(head[52:], 64)                                       // the size of this head
	put16(head[54:], 56)                                       // of an entry
	put16(head[56:], 2)                                        // how many
	for i, part := range [][2]uint64{{500, 300}, {200, 300}} { // offset, size
		at := head[64+56*i:]
		put32(at, 1) // to load
		put64(at[8:], part[0])
		put64(at[32:], part[1])
	}
	path := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(path, append(head, make([]byte, 900-len(head))...), 0o755); err != nil {
		t.Fatal(err)
	}
	if loaded, err := static(path); err != nil || loaded != 800 {
		t.Errorf("static = %d, %v; want 800 bytes", loaded, err)
	}
}
