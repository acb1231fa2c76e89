package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/clade-vm/clade"
)

// headSize covers every mark that detect looks for; the last one is btrfs's.
const headSize = 0x10000 + 4096

// A mark is what a kind of file has at a fixed place.
type mark struct {
	at    int
	magic string
	is    Format
	other string // for what cannot be imported: its name
	hint  string
}

// marks are tried in order. Disk formats come first, then what people hold for
// disk images or hand over packed.
var marks = []mark{
	{0, "QFI\xfb", QCOW2, "", ""},
	{0, "KDMV", VMDK, "", ""},
	{0, "COWD", VMDK, "", ""},
	{0, "# Disk DescriptorFile", VMDK, "", ""},
	{0x40, "\x7f\x10\xda\xbe", VDI, "", ""},
	{0, "vhdxfile", VHDX, "", ""},
	{0, "conectix", VHD, "", ""},
	{257, "ustar", "", "an OVA, a bundle or another tar archive", "clade import FILE.ova takes an OVA, clade import FILE a bundle; else unpack it and import the disk in it: tar -xf FILE"},
	{0, "\x1f\x8b", "", "compressed with gzip", "unpack it first: gunzip -k FILE"},
	{0, "\xfd7zXZ\x00", "", "compressed with xz", "unpack it first: xz -dk FILE"},
	{0, "BZh", "", "compressed with bzip2", "unpack it first: bunzip2 -k FILE"},
	{0, "\x28\xb5\x2f\xfd", "", "compressed with zstd", "unpack it first: unzstd FILE"},
	{0, "PK\x03\x04", "", "a zip archive", "unpack it first: unzip FILE"},
	{0, "7z\xbc\xaf\x27\x1c", "", "a 7z archive", "unpack it first: 7z x FILE"},
	{0, "QED\x00", "", "a QED image", "convert it first: qemu-img convert -f qed -O qcow2 OLD NEW"},
	{0, "WithoutFreeSpace", "", "a Parallels image", "convert it first: qemu-img convert -f parallels -O qcow2 OLD NEW"},
	{0, "WithouFreSpacExt", "", "a Parallels image", "convert it first: qemu-img convert -f parallels -O qcow2 OLD NEW"},
	{0x8001, "CD001", "", "the image of a CD", "install from it into a machine, and import that machine's disk"},
}

// Detect says which format the regular file path has, by what it begins with. A
// raw image has no mark of its own: it is taken for one if it holds a partition
// table or a file system.
//
// Kinds: Unsupported for archives, compressed files and other formats, with a hint
// how to unpack them; Invalid for what is no disk image at all.
func Detect(path string) (Format, error) {
	f, size, err := openRegular(path)
	if err == nil {
		defer f.Close()
		var format Format
		if format, err = detect(f, size); err == nil {
			return format, nil
		}
	}
	return "", &clade.Error{Op: "detect format of", On: path, Kind: clade.KindOf(err), Err: err}
}

// errNoDisk is what is left when nothing else fits.
var errNoDisk = &clade.Error{Kind: clade.Invalid, Err: errors.New("not a disk image"),
	Hint: "it has neither the mark of a known format nor a partition table or file system; " +
		"if it is a blank raw disk, say so: --format raw"}

func detect(r io.ReaderAt, size int64) (Format, error) {
	head := make([]byte, min(size, headSize))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", fault(err)
	}
	for _, m := range marks {
		if m.at+len(m.magic) > len(head) || string(head[m.at:m.at+len(m.magic)]) != m.magic {
			continue
		}
		if m.is == "" {
			return "", &clade.Error{Kind: clade.Unsupported, Err: fmt.Errorf("it is %s", m.other), Hint: m.hint}
		}
		return m.is, nil
	}
	// A VHD of fixed size is a raw disk with a footer; only the footer tells.
	if foot := make([]byte, 512); size >= 1024 {
		if _, err := r.ReadAt(foot, size-512); err == nil && bytes.HasPrefix(foot, []byte("conectix")) {
			return VHD, nil
		}
	}
	if size%512 != 0 || !holdsDisk(head) {
		return "", errNoDisk
	}
	return Raw, nil
}

// holdsDisk says whether head begins a disk: with a boot record or partition
// table, or with a file system or volume that needs none.
func holdsDisk(head []byte) bool {
	for _, m := range []mark{
		{at: 510, magic: "\x55\xaa"},          // MBR, FAT, NTFS
		{at: 512, magic: "EFI PART"},          // GPT
		{at: 4096, magic: "EFI PART"},         // GPT on 4-KiB sectors
		{at: 1024 + 56, magic: "\x53\xef"},    // ext2, ext3, ext4
		{at: 0, magic: "XFSB"},                // XFS
		{at: 0x10000 + 64, magic: "_BHRfS_M"}, // btrfs
		{at: 1024, magic: "\x10\x20\xf5\xf2"}, // F2FS
		{at: 512, magic: "LABELONE"},          // LVM
		{at: 0, magic: "LUKS\xba\xbe"},        // LUKS
		{at: 4096 - 10, magic: "SWAPSPACE2"},  // swap
		{at: 0, magic: "hsqs"},                // squashfs
		{at: 4096, magic: "\xfc\x4e\x2b\xa9"}, // md RAID
		{at: 1024, magic: "\xe2\xe1\xf5\xe0"}, // EROFS
	} {
		if m.at+len(m.magic) <= len(head) && string(head[m.at:m.at+len(m.magic)]) == m.magic {
			return true
		}
	}
	return false
}

// least returns how many bytes a raw disk must have for what is on it, as far as
// its head tells, and what says so: that is how a cut download shows.
func least(head []byte) (bytes uint64, what string) {
	le, be := binary.LittleEndian, binary.BigEndian
	at := func(n, length int) []byte {
		if n+length > len(head) {
			return make([]byte, length)
		}
		return head[n : n+length]
	}
	claim := func(n uint64, who string) {
		if n > bytes {
			bytes, what = n, who
		}
	}
	for _, sector := range []uint64{512, 4096} {
		if gpt := at(int(sector), 92); string(gpt[:8]) == "EFI PART" && le.Uint64(gpt[32:]) < 1<<52 {
			claim((le.Uint64(gpt[32:])+1)*sector, "its GPT")
		}
	}
	if super := at(1024, 64); string(super[56:58]) == "\x53\xef" && le.Uint32(super[24:]) <= 6 {
		claim(uint64(le.Uint32(super[4:]))*(1024<<le.Uint32(super[24:])), "its ext file system")
	}
	if super := at(0, 16); string(super[:4]) == "XFSB" && be.Uint32(super[4:]) <= 64<<10 {
		claim(be.Uint64(super[8:])&(1<<48-1)*uint64(be.Uint32(super[4:])), "its XFS file system")
	}
	if super := at(0x10000, 128); string(super[64:72]) == "_BHRfS_M" {
		claim(le.Uint64(super[112:]), "its btrfs file system")
	}
	if end := partitionsEnd(at(0, 512)); end > 0 {
		claim(end, "its partition table")
	}
	return bytes, what
}

// partitionsEnd returns where the last partition of a boot record ends, or 0 for
// the boot sector of a file system, which has code in the place of partitions.
func partitionsEnd(record []byte) (end uint64) {
	if string(record[510:]) != "\x55\xaa" || string(record[3:7]) == "NTFS" ||
		string(record[54:57]) == "FAT" || string(record[82:85]) == "FAT" {
		return 0
	}
	for p := record[446:510]; len(p) > 0; p = p[16:] {
		if p[0]&0x7f != 0 {
			return 0
		}
		const protective = 0xee // covers a GPT, which knows better
		if kind := p[4]; kind != 0 && kind != protective {
			start, count := binary.LittleEndian.Uint32(p[8:]), binary.LittleEndian.Uint32(p[12:])
			end = max(end, (uint64(start)+uint64(count))*512)
		}
	}
	return end
}
