package guest

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf16"
)

// A tag is how fstab may name a partition by its table.
type tag struct{ uuid, label string }

// tags reads the names of a disk's partitions, by number, out of its GPT or MBR.
// The kernel finds the partitions itself; this is about their names only, so that
// a table that makes no sense has none.
func tags(r io.ReaderAt, sector int64) map[int]tag {
	if gpt := gptTags(r, sector); gpt != nil {
		return gpt
	}
	return mbrTags(r)
}

// gptTags reads a GUID partition table, or returns nil.
func gptTags(r io.ReaderAt, sector int64) map[int]tag {
	head := make([]byte, 92)
	if _, err := r.ReadAt(head, sector); err != nil || string(head[:8]) != "EFI PART" {
		return nil
	}
	begin := binary.LittleEndian.Uint64(head[72:])
	count, size := binary.LittleEndian.Uint32(head[80:]), binary.LittleEndian.Uint32(head[84:])
	if begin > 1<<40 || count > 1024 || size < 128 || size > 4096 {
		return nil
	}
	table := make([]byte, int(count)*int(size))
	n, err := r.ReadAt(table, int64(begin)*sector)
	if err != nil && err != io.EOF {
		return nil
	}
	names := map[int]tag{}
	for i := range int(count) {
		at := i * int(size)
		if at+128 > n {
			break
		}
		entry := table[at : at+128]
		if [16]byte(entry) != [16]byte{} { // of a type: in use
			names[i+1] = tag{uuid: mixed(entry[16:32]), label: wide(entry[56:128])}
		}
	}
	return names
}

// mbrTags names the partitions of a DOS partition table by its signature.
func mbrTags(r io.ReaderAt) map[int]tag {
	head := make([]byte, 512)
	if _, err := r.ReadAt(head, 0); err != nil || string(head[510:]) != "\x55\xaa" {
		return nil
	}
	signature := binary.LittleEndian.Uint32(head[440:])
	names := map[int]tag{}
	for i := 1; i < 64 && signature != 0; i++ {
		names[i] = tag{uuid: fmt.Sprintf("%08x-%02x", signature, i)}
	}
	return names
}

// mixed writes a GUID, whose first three parts have their lowest byte first.
func mixed(b []byte) string {
	swapped := []byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}
	return dashed(append(swapped, b[8:16]...))
}

// wide reads a padded field of UTF-16.
func wide(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return printable(string(utf16.Decode(units)), 256)
}
