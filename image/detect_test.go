package image

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// marked returns size bytes with text at the given place.
func marked(size, at int, text string) []byte {
	b := make([]byte, size)
	copy(b[at:], text)
	return b
}

func TestDetect(t *testing.T) {
	for name, c := range map[string]struct {
		content []byte
		want    Format
		kind    clade.Kind
	}{
		"qcow2":       {[]byte("QFI\xfb\x00\x00\x00\x03"), QCOW2, ""},
		"vmdk":        {[]byte("KDMV"), VMDK, ""},
		"vmdk text":   {[]byte("# Disk DescriptorFile\nversion=1\n"), VMDK, ""},
		"vdi":         {marked(512, 0x40, "\x7f\x10\xda\xbe"), VDI, ""},
		"vhdx":        {[]byte("vhdxfile"), VHDX, ""},
		"dynamic vhd": {[]byte("conectix"), VHD, ""},
		"fixed vhd":   {marked(4096, 4096-512, "conectix"), VHD, ""},
		"mbr":         {marked(512, 510, "\x55\xaa"), Raw, ""},
		"gpt":         {marked(1024, 512, "EFI PART"), Raw, ""},
		"ext4":        {marked(2048, 1024+56, "\x53\xef"), Raw, ""},
		"btrfs":       {marked(1<<20, 0x10040, "_BHRfS_M"), Raw, ""},
		"lvm":         {marked(4096, 512, "LABELONE"), Raw, ""},
		// A raw disk whose first sector a guest has made look like a qcow2 header.
		"disguised":     {append([]byte("QFI\xfb"), marked(508, 506, "\x55\xaa")...), QCOW2, ""},
		"odd size":      {marked(513, 510, "\x55\xaa"), "", clade.Invalid},
		"blank":         {make([]byte, 1<<20), "", clade.Invalid},
		"empty":         {nil, "", clade.Invalid},
		"text":          {[]byte("hello"), "", clade.Invalid},
		"ova":           {marked(1024, 257, "ustar"), "", clade.Unsupported},
		"gzip":          {[]byte("\x1f\x8b\x08"), "", clade.Unsupported},
		"xz":            {[]byte("\xfd7zXZ\x00"), "", clade.Unsupported},
		"zip":           {[]byte("PK\x03\x04"), "", clade.Unsupported},
		"zstd":          {[]byte("\x28\xb5\x2f\xfd"), "", clade.Unsupported},
		"hybrid cd":     {append(marked(0x8001, 510, "\x55\xaa"), "CD001"...), "", clade.Unsupported},
		"part of magic": {[]byte("QF"), "", clade.Invalid},
	} {
		got, err := Detect(place(t, c.content))
		if got != c.want || clade.KindOf(err) != c.kind {
			t.Errorf("%s: Detect = %q, %v, want %q and kind %q", name, got, err, c.want, c.kind)
		}
		if c.kind != "" && clade.HintOf(err) == "" {
			t.Errorf("%s: Detect error %v has no hint", name, err)
		}
	}
	for path, kind := range map[string]clade.Kind{"/dev/zero": clade.Invalid, t.TempDir(): clade.Invalid,
		filepath.Join(t.TempDir(), "none"): clade.NotFound} {
		if got, err := Detect(path); !errors.Is(err, kind) {
			t.Errorf("Detect(%s) = %q, %v, want kind %q", path, got, err, kind)
		}
	}
}

func TestVetRawFindsCuts(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	mbr := marked(4096, 510, "\x55\xaa")
	mbr[450] = 0x83
	le.PutUint32(mbr[454:], 4)
	le.PutUint32(mbr[458:], 4)
	gpt := marked(4096, 512, "EFI PART")
	le.PutUint64(gpt[512+32:], 7)
	ext := marked(4096, 1024+56, "\x53\xef")
	le.PutUint32(ext[1024+4:], 4)
	xfs := marked(4096, 0, "XFSB")
	be.PutUint32(xfs[4:], 512)
	be.PutUint64(xfs[8:], 8)
	fat := marked(512, 510, "\x55\xaa")
	copy(fat[54:], "FAT16   ")
	copy(fat[446:], strings.Repeat("\x00\xff", 32))
	for name, whole := range map[string][]byte{"mbr": mbr, "gpt": gpt, "ext": ext, "xfs": xfs, "fat": fat} {
		if err := vetFile(t, whole, Raw); err != nil {
			t.Errorf("%s: vet of the whole = %v", name, err)
		}
		if name == "fat" {
			continue
		}
		if err := vetFile(t, whole[:len(whole)-512], Raw); !errors.Is(err, clade.Corrupt) {
			t.Errorf("%s: vet without the last sector = %v, want Corrupt", name, err)
		}
	}
}

func vetFile(t *testing.T, content []byte, format Format) error {
	t.Helper()
	f, err := os.Open(place(t, content))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return vet(f, int64(len(content)), format)
}

// sparseVMDK returns the head of a VMDK with the given descriptor at sector 1.
func sparseVMDK(capacity uint64, text string) []byte {
	b := marked(64<<10, 0, "KDMV")
	binary.LittleEndian.PutUint64(b[12:], capacity)
	binary.LittleEndian.PutUint64(b[28:], 1)
	binary.LittleEndian.PutUint64(b[36:], 20)
	copy(b[512:], text)
	return b
}

func TestVetVMDK(t *testing.T) {
	const good = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\n" +
		"RW 2048 SPARSE \"disk.vmdk\"\nddb.adapterType = \"ide\"\n"
	change := strings.NewReplacer
	noText := sparseVMDK(2048, good)
	clear(noText[28:44])
	farText := sparseVMDK(2048, good)
	binary.LittleEndian.PutUint64(farText[28:], 1<<55)
	parentElsewhere := sparseVMDK(2048, "parentFileNameHint=\"/etc/passwd\"\n")
	binary.LittleEndian.PutUint64(parentElsewhere[28:], 40)
	copy(parentElsewhere[40*512:], good)
	for name, c := range map[string]struct {
		content []byte
		kind    clade.Kind
		says    string
	}{
		"good":              {sparseVMDK(2048, good), "", ""},
		"stream":            {sparseVMDK(2048, change("monolithicSparse", "streamOptimized").Replace(good)), "", ""},
		"flat":              {sparseVMDK(2048, change("monolithicSparse", "monolithicFlat").Replace(good)), clade.Unsupported, "monolithicFlat"},
		"no disk":           {sparseVMDK(0, good), clade.Unsupported, "other files"},
		"no descriptor":     {noText, clade.Unsupported, "several files"},
		"far descriptor":    {farText, clade.Corrupt, "beyond"},
		"parent":            {sparseVMDK(2048, good+"parentFileNameHint=\"/etc/shadow\"\n"), clade.Unsupported, "rests on"},
		"hidden parent":     {parentElsewhere, clade.Unsupported, "rests on"},
		"parent CID":        {sparseVMDK(2048, change("ffffffff", "12345678").Replace(good)), clade.Unsupported, "12345678"},
		"absolute extent":   {sparseVMDK(2048, change("disk.vmdk", "/etc/shadow").Replace(good)), clade.Unsupported, "/etc/shadow"},
		"extent above":      {sparseVMDK(2048, change("disk.vmdk", "../x").Replace(good)), clade.Unsupported, "../x"},
		"flat extent":       {sparseVMDK(2048, change("SPARSE", "FLAT").Replace(good)), clade.Unsupported, "disk.vmdk"},
		"two extents":       {sparseVMDK(2048, good+"RW 1 SPARSE \"b\"\n"), clade.Unsupported, "2 extents"},
		"encrypted":         {sparseVMDK(2048, good+"encryption.keySafe = \"vmware:key\"\n"), clade.Unsupported, "encrypted"},
		"descriptor file":   {[]byte(good + strings.Repeat("\n", 512) + "RW 1 FLAT \"/dev/sda\" 0\n"), clade.Unsupported, "disk.vmdk"},
		"cowd":              {marked(512, 0, "COWD"), clade.Unsupported, "COWD"},
		"cut in its header": {[]byte("KDMV"), clade.Corrupt, "cut short"},
	} {
		err := vetFile(t, c.content, VMDK)
		if clade.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: vet = %v, want kind %q and %q", name, err, c.kind, c.says)
		}
	}
}

func TestVetRefusesDifferencing(t *testing.T) {
	vhd := marked(1024, 512, "conectix")
	vhd[512+63] = 4
	vdi := marked(512, 0x4c, "\x04") // a type that only VirtualBox has
	for format, content := range map[Format][]byte{VHD: vhd, VDI: vdi} {
		if err := vetFile(t, content, format); !errors.Is(err, clade.Unsupported) {
			t.Errorf("%s: vet = %v, want Unsupported", format, err)
		}
	}
}
