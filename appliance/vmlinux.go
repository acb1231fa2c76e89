package appliance

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

const (
	maxImage = 256 << 20 // bytes of a kernel, unpacked
	// entryNote is the type of the note that says where a kernel without a boot
	// loader is entered (XEN_ELFNOTE_PHYS32_ENTRY, the PVH boot protocol).
	entryNote = 18
)

// unpackKernel returns the kernel that a bzImage carries compressed. QEMU enters
// it directly, so that the VM need not unpack it: that is the slowest second of a
// boot without KVM. It is an error where the image is packed in an unknown way or
// has no such entry; the bzImage boots all the same.
func unpackKernel(image string) ([]byte, error) {
	text, err := os.ReadFile(image)
	if err != nil {
		return nil, err
	}
	if len(text) < 0x250 || string(text[0x202:0x206]) != "HdrS" {
		return nil, errors.New("not a bzImage")
	}
	setup := (uint64(text[0x1f1]) + 1) * 512
	begin := setup + uint64(binary.LittleEndian.Uint32(text[0x248:]))
	end := begin + uint64(binary.LittleEndian.Uint32(text[0x24c:]))
	if begin >= end || end > uint64(len(text)) {
		return nil, errors.New("its payload is out of bounds")
	}
	r, err := unpacker(text[begin:end])
	if err != nil {
		return nil, err
	}
	// The payload ends with its unpacked length, which is no part of the stream:
	// what the reader says of the bytes after the kernel does not matter.
	kernel, err := io.ReadAll(io.LimitReader(r, maxImage))
	if !directEntry(kernel) {
		return nil, errors.Join(errors.New("no direct entry"), err)
	}
	return kernel, nil
}

func unpacker(payload []byte) (io.Reader, error) {
	r := bytes.NewReader(payload)
	switch {
	case bytes.HasPrefix(payload, []byte("\x02\x21\x4c\x18")):
		return lz4.NewReader(r), nil
	case bytes.HasPrefix(payload, []byte("\x28\xb5\x2f\xfd")):
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxImage))
	case bytes.HasPrefix(payload, []byte("\x1f\x8b")):
		return gzip.NewReader(r)
	case bytes.HasPrefix(payload, []byte("\xfd7zXZ")):
		return xz.NewReader(r)
	}
	return nil, fmt.Errorf("unknown packing % x", payload[:min(4, len(payload))])
}

// directEntry reports whether kernel is a whole ELF file with the entry note.
func directEntry(kernel []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(kernel))
	if err != nil {
		return false
	}
	entry := false
	for _, part := range f.Progs {
		if part.Type == elf.PT_LOAD && part.Off+part.Filesz > uint64(len(kernel)) {
			return false // cut off
		}
		if part.Type == elf.PT_NOTE && part.Filesz < 1<<16 {
			notes, err := io.ReadAll(part.Open())
			entry = entry || err == nil && hasNote(notes, entryNote)
		}
	}
	return entry
}

// hasNote finds a note of a type in an ELF note segment.
func hasNote(notes []byte, kind uint32) bool {
	for len(notes) >= 12 {
		name := uint64(binary.LittleEndian.Uint32(notes))
		desc := uint64(binary.LittleEndian.Uint32(notes[4:]))
		if binary.LittleEndian.Uint32(notes[8:]) == kind {
			return true
		}
		size := 12 + (name+3)&^3 + (desc+3)&^3
		if size > uint64(len(notes)) {
			return false
		}
		notes = notes[size:]
	}
	return false
}
