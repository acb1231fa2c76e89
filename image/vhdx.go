package image

import (
	"bytes"
	"encoding/binary"
	"os"

	"github.com/clade-vm/clade"
)

// Where a VHDX says whether it rests on another file ([MS-VHDX] 2.2.3, 2.6): in an
// item of the metadata region, which the region table leads to.
const (
	vhdxRegions    = 192 << 10
	vhdxTableSize  = 64 << 10
	vhdxMaxEntries = 2047
)

var (
	vhdxMetadata   = []byte("\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e")
	vhdxParameters = []byte("\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b")
)

// vetVHDX refuses differencing disks by name; QEMU would only say that it cannot.
func vetVHDX(f *os.File, _ int64) error {
	le := binary.LittleEndian
	regions, err := vhdxTable(f, vhdxRegions, "regi", 8, 4)
	if err != nil {
		return err
	}
	metadata := vhdxEntry(regions, 16, vhdxMetadata)
	if metadata == nil {
		return refusal(clade.Corrupt, "", "the VHDX has no metadata")
	}
	start := le.Uint64(metadata[16:])
	if start > 1<<62 {
		return refusal(clade.Corrupt, "", "the VHDX has its metadata at byte %d", start)
	}
	items, err := vhdxTable(f, int64(start), "metadata", 10, 2)
	if err != nil {
		return err
	}
	parameters := vhdxEntry(items, 32, vhdxParameters)
	if parameters == nil {
		return refusal(clade.Corrupt, "", "the VHDX has no parameters")
	}
	b, err := read(f, int64(start)+int64(le.Uint32(parameters[16:])), 8)
	if err != nil {
		return err
	}
	const hasParent = 1 << 1
	if le.Uint32(b[4:])&hasParent != 0 {
		return refusal(clade.Unsupported, differencing, "a VHDX that rests on another file")
	}
	return nil
}

// vhdxTable reads a table with the given mark, whose count of entries has so many
// bytes at a place. Its entries, of 32 bytes, are all there.
func vhdxTable(f *os.File, at int64, magic string, countAt, countBytes int) ([]byte, error) {
	table, err := read(f, at, vhdxTableSize)
	if err != nil {
		return nil, err
	}
	count := uint32(binary.LittleEndian.Uint16(table[countAt:]))
	if countBytes == 4 {
		count = binary.LittleEndian.Uint32(table[countAt:])
	}
	if !bytes.HasPrefix(table, []byte(magic)) || count > vhdxMaxEntries {
		return nil, refusal(clade.Corrupt, "", "the VHDX has no sound table at byte %d", at)
	}
	return table, nil
}

// vhdxEntry finds the entry of a table, whose entries begin after head bytes.
func vhdxEntry(table []byte, head int, id []byte) []byte {
	for e := table[head:]; len(e) >= 32; e = e[32:] {
		if bytes.Equal(e[:16], id) {
			return e[:32]
		}
	}
	return nil
}
