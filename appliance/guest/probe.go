package guest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// A format is what lies on a volume, by the mark at its begin.
type format string

// The formats. Those that are not mounted are known so that they can be named.
const (
	unknown  format = ""
	ext      format = "ext4" // ext2 and ext3 too: one driver reads them all
	xfs      format = "xfs"
	btrfs    format = "btrfs"
	vfat     format = "vfat"
	swap     format = "swap"
	luks     format = "LUKS"
	lvm      format = "LVM2"
	raid     format = "Linux RAID"
	ntfs     format = "NTFS"
	bitlock  format = "BitLocker"
	f2fs     format = "f2fs"
	squashfs format = "squashfs"
	iso9660  format = "ISO 9660"
)

// A superblock is what the begin of a volume tells.
type superblock struct {
	format  format
	uuid    string
	label   string
	replay  bool  // its journal holds writes that are not in their place yet; XFS does not tell
	trouble error // it says itself that it is damaged
}

// probeSize is how much of a volume's begin is looked at.
const probeSize = 68 << 10

// probe reads the superblock of a volume. What it cannot read is unknown: a
// volume may be shorter than any superblock.
func probe(r io.ReaderAt) (superblock, error) {
	head := make([]byte, probeSize)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return superblock{}, err
	}
	return recognize(head[:n]), nil
}

// recognize is probe on the begin of a volume. Locks and containers come first:
// what they hold may look like a file system.
func recognize(b []byte) superblock {
	at := func(offset int, magic string) bool {
		return len(b) >= offset+len(magic) && string(b[offset:offset+len(magic)]) == magic
	}
	for _, m := range []struct {
		offset int
		magic  string
		is     format
	}{
		{0, "LUKS\xba\xbe", luks}, {3, "-FVE-FS-", bitlock}, {3, "NTFS    ", ntfs}, {0, "hsqs", squashfs},
		{0, "\xfc\x4e\x2b\xa9", raid}, {4096, "\xfc\x4e\x2b\xa9", raid}, {1024, "\x10\x20\xf5\xf2", f2fs},
		{0, "LABELONE", lvm}, {512, "LABELONE", lvm}, {1024, "LABELONE", lvm}, {1536, "LABELONE", lvm},
		{0x8001, "CD001", iso9660},
	} {
		if at(m.offset, m.magic) {
			return superblock{format: m.is}
		}
	}
	switch {
	case at(0x438, "\x53\xef") && len(b) >= 0x800:
		return readExt(b[0x400:0x800])
	case at(0, "XFSB") && len(b) >= 512:
		return superblock{format: xfs, uuid: dashed(b[32:48]), label: text(b[108:120])}
	case at(0x10040, "_BHRfS_M") && len(b) >= 0x10000+0x22b:
		log := binary.LittleEndian.Uint64(b[0x10060:])
		return superblock{format: btrfs, uuid: dashed(b[0x10020:0x10030]), label: text(b[0x1012b:0x1022b]), replay: log != 0}
	case at(4086, "SWAPSPACE2"):
		return superblock{format: swap, uuid: dashed(b[1036:1052]), label: text(b[1052:1068])}
	case at(4086, "S1SUSPEND"), at(4086, "S2SUSPEND"), at(4086, "ULSUSPEND"), at(4086, "LINHIB0001"):
		return superblock{format: swap, trouble: errors.New("the guest is hibernated: its memory is on it, and its file systems are in use")}
	case at(510, "\x55\xaa") && at(82, "FAT32   "):
		return superblock{format: vfat, uuid: serialOf(b[67:71]), label: text(b[71:82])}
	case at(510, "\x55\xaa") && at(54, "FAT1"):
		return superblock{format: vfat, uuid: serialOf(b[39:43]), label: text(b[43:54])}
	}
	return superblock{}
}

// readExt reads the superblock of ext2, ext3 or ext4.
func readExt(b []byte) superblock {
	const (
		clean, broken = 1, 2 // s_state
		hasJournal    = 4    // s_feature_compat
		needsReplay   = 4    // s_feature_incompat
		journalDevice = 8
	)
	state := binary.LittleEndian.Uint16(b[0x3a:])
	compat, incompat := binary.LittleEndian.Uint32(b[0x5c:]), binary.LittleEndian.Uint32(b[0x60:])
	if incompat&journalDevice != 0 {
		return superblock{} // the journal of another volume, and no file system
	}
	s := superblock{format: ext, uuid: dashed(b[0x68:0x78]), label: text(b[0x78:0x88]), replay: incompat&needsReplay != 0}
	switch {
	case state&broken != 0:
		s.trouble = errors.New("it is marked as having errors")
	case state&clean == 0 && compat&hasJournal == 0:
		s.trouble = errors.New("it was not unmounted and has no journal")
	}
	return s
}

// dashed writes 16 bytes as a UUID.
func dashed(b []byte) string {
	h := hex.EncodeToString(b)
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// serialOf writes the serial number of a FAT volume as fstab has it.
func serialOf(b []byte) string { return fmt.Sprintf("%02X%02X-%02X%02X", b[3], b[2], b[1], b[0]) }

// text returns what is printable of a padded field.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return printable(strings.TrimRight(string(b), " "), len(b))
}

// printable returns at most limit bytes of s, without what is not printable.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
