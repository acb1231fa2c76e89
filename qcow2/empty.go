package qcow2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/clade-vm/clade"
)

// OverlayCost is what an empty overlay takes on a file system with blocks of
// 4 KiB: three blocks.
const OverlayCost = 12 * clade.KiB

// Empty reports whether the image at path holds no data of its own: its L1 table
// is all zeroes, so that every read goes to what it rests on. The image must not
// be open for writing. Kind Corrupt for what is no sound image.
func Empty(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	if _, err := Inspect(f, st.Size()); err != nil {
		return false, err
	}
	var header [48]byte
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return false, &clade.Error{Op: "read", On: "image " + path, Kind: clade.Corrupt, Err: fmt.Errorf("its header is cut short")}
	}
	entries, at := binary.BigEndian.Uint32(header[36:]), binary.BigEndian.Uint64(header[40:])
	table := make([]byte, int64(entries)*entrySize) // bounded by Inspect
	if _, err := f.ReadAt(table, int64(at)); err != nil && err != io.EOF {
		return false, err
	}
	return len(bytes.Trim(table, "\x00")) == 0, nil
}
