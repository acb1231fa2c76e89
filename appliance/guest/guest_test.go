package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	want := Request{ID: 7, Verb: Read, Disks: []string{"clade-0"}}
	if err := WriteFrame(&b, want); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	var got Request
	if err := ReadFrame(bytes.NewReader(whole), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ReadFrame = %+v, %v; want %+v", got, err, want)
	}
	if err := ReadFrame(bytes.NewReader(nil), &got); err != io.EOF {
		t.Errorf("nothing: %v, want io.EOF", err)
	}
	if err := ReadFrame(bytes.NewReader(whole[:len(whole)-1]), &got); err != io.ErrUnexpectedEOF {
		t.Errorf("cut off: %v, want %v", err, io.ErrUnexpectedEOF)
	}
	huge := binary.BigEndian.AppendUint32(nil, MaxFrame+1)
	if err := ReadFrame(bytes.NewReader(huge), &got); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a frame over the limit: %v, want it refused", err)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reply
		_ = ReadFrame(bytes.NewReader(b), &r)
	})
}

func TestFault(t *testing.T) {
	err := &clade.Error{Op: "mount", On: "disk 0", Kind: clade.Corrupt, Err: errors.New("torn"), Hint: "fsck"}
	want := &Fault{Op: "mount", On: "disk 0", Kind: clade.Corrupt, Text: "torn", Hint: "fsck"}
	if got := faultOf(err); !reflect.DeepEqual(got, want) {
		t.Errorf("faultOf = %+v, want %+v", got, want)
	}
	if got := faultOf(errors.Join(err, io.EOF)); got.Kind != clade.Corrupt || !strings.Contains(got.Text, "torn") {
		t.Errorf("faultOf joined = %+v, want the kind kept", got)
	}
}

// TestServe asks for what needs no VM, and for a verb that is none.
func TestServe(t *testing.T) {
	var in, out bytes.Buffer
	for _, r := range []Request{{ID: 1, Verb: Greet}, {ID: 2, Verb: "dance"}, {ID: 3, Verb: Generalize, Enable: []string{"no-such-mark"}}} {
		if err := WriteFrame(&in, r); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(struct {
		io.Reader
		io.Writer
	}{&in, &out}, nil)
	if err := s.serve(); err != io.EOF {
		t.Fatal(err)
	}
	want := []struct {
		kernel bool
		kind   clade.Kind
	}{{true, ""}, {false, clade.Internal}, {false, clade.Invalid}}
	for i, w := range want {
		var r Reply
		if err := ReadFrame(&out, &r); err != nil {
			t.Fatal(err)
		}
		var kind clade.Kind
		if r.Fault != nil {
			kind = r.Fault.Kind
		}
		if r.ID != uint64(i+1) || !r.Last || kind != w.kind || (r.Kernel != "") != w.kernel {
			t.Errorf("reply %d: %+v, want kind %q", i+1, r, w.kind)
		}
	}
}

func TestModules(t *testing.T) {
	index := filepath.Join(t.TempDir(), "index")
	if err := os.WriteFile(index, []byte("virtio\njbd2\nmbcache virtio\next4 jbd2 mbcache builtin ext4\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := readModules(index)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.order("ext4", []string{"virtio"}), []string{"virtio", "jbd2", "mbcache", "ext4"}; !reflect.DeepEqual(got, want) {
		t.Errorf("order = %v, want %v", got, want)
	}
	if err := m.load("built_in"); err != nil {
		t.Errorf("a module that is not there is built in, but load says %v", err)
	}
}

// block is the begin of a volume with these bytes in it.
func block(parts map[int]string) []byte {
	b := make([]byte, probeSize)
	for at, text := range parts {
		copy(b[at:], text)
	}
	return b
}

const rawUUID = "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"

func TestRecognize(t *testing.T) {
	const uuid = "00112233-4455-6677-8899-aabbccddeeff"
	extWith := func(state, compat, incompat string) []byte {
		return block(map[int]string{0x438: "\x53\xef", 0x43a: state, 0x45c: compat, 0x460: incompat, 0x468: rawUUID, 0x478: "root\x1b"})
	}
	for _, c := range []struct {
		name    string
		b       []byte
		want    superblock
		trouble bool
	}{
		{"ext4", extWith("\x01", "\x04", "\x00"), superblock{format: ext, uuid: uuid, label: "root"}, false},
		{"ext4 to replay", extWith("\x01", "\x04", "\x04"), superblock{format: ext, uuid: uuid, label: "root", replay: true}, false},
		{"ext4 with errors", extWith("\x03", "\x04", "\x00"), superblock{format: ext, uuid: uuid, label: "root"}, true},
		{"ext2 not unmounted", extWith("\x00", "\x00", "\x00"), superblock{format: ext, uuid: uuid, label: "root"}, true},
		{"a journal device", extWith("\x01", "\x00", "\x08"), superblock{}, false},
		{"xfs", block(map[int]string{0: "XFSB", 32: rawUUID, 108: "data"}), superblock{format: xfs, uuid: uuid, label: "data"}, false},
		{"btrfs", block(map[int]string{0x10040: "_BHRfS_M", 0x10020: rawUUID, 0x1012b: "pool"}), superblock{format: btrfs, uuid: uuid, label: "pool"}, false},
		{"btrfs with a log", block(map[int]string{0x10040: "_BHRfS_M", 0x10020: rawUUID, 0x10060: "\x00\x00\x01"}), superblock{format: btrfs, uuid: uuid, replay: true}, false},
		{"vfat", block(map[int]string{67: "\x34\x12\xcd\xab", 71: "EFI        ", 82: "FAT32   ", 510: "\x55\xaa"}), superblock{format: vfat, uuid: "ABCD-1234", label: "EFI"}, false},
		{"fat16", block(map[int]string{39: "\x34\x12\xcd\xab", 43: "OLD        ", 54: "FAT16   ", 510: "\x55\xaa"}), superblock{format: vfat, uuid: "ABCD-1234", label: "OLD"}, false},
		{"swap", block(map[int]string{4086: "SWAPSPACE2", 1036: rawUUID}), superblock{format: swap, uuid: uuid}, false},
		{"hibernated", block(map[int]string{4086: "S1SUSPEND\x00"}), superblock{format: swap}, true},
		{"luks over an old ext4", block(map[int]string{0: "LUKS\xba\xbe", 0x438: "\x53\xef"}), superblock{format: luks}, false},
		{"lvm", block(map[int]string{512: "LABELONE"}), superblock{format: lvm}, false},
		{"nothing", block(nil), superblock{}, false},
	} {
		got := recognize(c.b)
		if (got.trouble != nil) != c.trouble {
			t.Errorf("%s: trouble %v, want any: %v", c.name, got.trouble, c.trouble)
		}
		if got.trouble = nil; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func FuzzRecognize(f *testing.F) {
	f.Add(block(map[int]string{0x438: "\x53\xef"})[:0x800])
	f.Add(block(map[int]string{0: "XFSB"})[:512])
	f.Add(block(map[int]string{0x10040: "_BHRfS_M"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := recognize(b); !plainOrEmpty(s.label) || !plainOrEmpty(s.uuid) {
			t.Errorf("a name with control characters: %+v", s)
		}
	})
}

func plainOrEmpty(s string) bool { return s == "" || plain(s) }

func TestTags(t *testing.T) {
	gpt := make([]byte, 64<<10)
	copy(gpt[512:], "EFI PART")
	binary.LittleEndian.PutUint64(gpt[512+72:], 2)
	binary.LittleEndian.PutUint32(gpt[512+80:], 4)
	binary.LittleEndian.PutUint32(gpt[512+84:], 128)
	second := gpt[1024+128:]
	copy(second, rawUUID)
	copy(second[16:], "\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff")
	copy(second[56:], "d\x00a\x00t\x00a\x00")
	want := map[int]tag{2: {uuid: "00112233-4455-6677-8899-aabbccddeeff", label: "data"}}
	if got := tags(bytes.NewReader(gpt), 512); !reflect.DeepEqual(got, want) {
		t.Errorf("gpt: %v, want %v", got, want)
	}
	mbr := make([]byte, 512)
	copy(mbr[440:], "\x34\x12\xfe\xca")
	copy(mbr[510:], "\x55\xaa")
	if got := tags(bytes.NewReader(mbr), 512)[5].uuid; got != "cafe1234-05" {
		t.Errorf("mbr: partition 5 is %q, want cafe1234-05", got)
	}
}

func FuzzTags(f *testing.F) {
	f.Add(make([]byte, 2048))
	f.Add(append(append(make([]byte, 512), "EFI PART"...), make([]byte, 2048)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, tag := range tags(bytes.NewReader(b), 512) {
			if !plainOrEmpty(tag.label) {
				t.Errorf("a label with control characters: %q", tag.label)
			}
		}
	})
}

func TestParseFstab(t *testing.T) {
	got := parseFstab(`# a comment
UUID=x /var/lib ext4 defaults 0 2
/dev/vda1 / ext4 errors=remount-ro 0 1
LABEL=a\040b /srv/a\040b xfs nofail
"UUID=q" /home btrfs subvol=@home,compress=zstd 0 0
UUID=q /snap btrfs subvolid=257
UUID=y none swap sw 0 0
nas:/export /mnt nfs defaults 0 0
/srv /bound none bind 0 0
/srv /bound ext4 bind 0 0
/dev/sr0 /media/cdrom auto ro 0 0
UUID=z relative ext4 defaults
UUID=e /evil btrfs subvol=x\,rw
UUID=e /evil btrfs subvolid=1;2
UUID=e /ev\033il ext4 defaults
UUID=u /var/../../etc/. vfat umask=0077 0 1
`)
	want := []line{
		{spec: "/dev/vda1", dir: "/", kind: "ext4"},
		{spec: "UUID=q", dir: "/home", kind: "btrfs", subvol: "@home"},
		{spec: "UUID=q", dir: "/snap", kind: "btrfs", subvol: "#257"},
		{spec: "UUID=u", dir: "/etc", kind: "vfat"},
		{spec: "UUID=x", dir: "/var/lib", kind: "ext4"},
		{spec: "LABEL=a b", dir: "/srv/a b", kind: "xfs", lax: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parseFstab:\n%+v, want\n%+v", got, want)
	}
}

func FuzzParseFstab(f *testing.F) {
	f.Add("UUID=x /var ext4 subvol=a,subvolid=3 0 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range parseFstab(text) {
			if !plain(l.spec) || !plain(l.dir) || strings.Contains(l.dir, "..") && filepath.Clean(l.dir) != l.dir ||
				!strings.HasPrefix(l.dir, "/") || strings.ContainsAny(l.subvol, ",\x00\n") {
				t.Errorf("let through %+v", l)
			}
		}
	})
}

func TestMeans(t *testing.T) {
	root := &volume{disk: 0, part: 2, tag: tag{uuid: "cafe-02", label: "my root"}, superblock: superblock{uuid: "abcd", label: "r"}}
	whole := &volume{disk: 1}
	lv := &volume{lv: "my-vg/var-lib"}
	for _, c := range []struct {
		v    *volume
		spec string
		want bool
	}{
		{root, "UUID=ABCD", true}, {root, "UUID=", false}, {root, "LABEL=r", true}, {root, "LABEL=R", false},
		{root, "PARTUUID=CAFE-02", true}, {root, "PARTLABEL=my root", true}, {root, "/dev/disk/by-partlabel/my\\x20root", true},
		{root, "/dev/disk/by-uuid/abcd", true}, {root, "/dev/disk/by-id/abcd", false},
		{root, "/dev/sda2", true}, {root, "/dev/vda2", true}, {root, "/dev/nvme0n1p2", true}, {root, "/dev/sda", false}, {root, "/dev/sdb2", false},
		{whole, "/dev/sdb", true}, {whole, "/dev/nvme1n1", true}, {whole, "/dev/sdb1", false}, {whole, "UUID=", false}, {whole, "LABEL=", false},
		{lv, "/dev/mapper/my--vg-var--lib", true}, {lv, "/dev/my-vg/var-lib", true}, {lv, "/dev/sda", false}, {lv, "/dev/mapper/my-vg-var-lib", false},
	} {
		if got := c.v.means(c.spec); got != c.want {
			t.Errorf("%s means %q: %v, want %v", c.v, c.spec, got, c.want)
		}
	}
}

func TestSystemName(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"etc/os-release": "ID=x\nPRETTY_NAME=\"X \x1b[31m1\"\n", "usr/x": ""}, "X [31m1"},
		{map[string]string{"etc/fstab": "", "usr/lib/os-release": "PRETTY_NAME=Y\n"}, "Y"},
		{map[string]string{"etc/passwd": "", "bin/sh": ""}, "Linux"},
		{map[string]string{"lib/systemd/random-seed": "", "etc/x": ""}, ""},
		{map[string]string{"usr/bin/x": ""}, ""},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			at := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		tree, err := rootfs.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := systemName(tree); got != c.want {
			t.Errorf("%v: %q, want %q", c.files, got, c.want)
		}
		tree.Close()
	}
}
