package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// vet refuses what cannot be taken over from a stranger: an image that names
// another file, is encrypted, or is visibly cut short. qemu-img comes after it.
func vet(f *os.File, size int64, format Format) error {
	switch format {
	case QCOW2:
		i, err := qcow2.Inspect(f, size)
		if err != nil {
			return err
		}
		return i.Safe()
	case VMDK:
		return vetVMDK(f, size)
	case VDI:
		return vetVDI(f, size)
	case VHD:
		return vetVHD(f, size)
	case Raw:
		return vetRaw(f, size)
	case VHDX:
		return vetVHDX(f, size)
	}
	return refusal(clade.Unsupported, "", "a disk in format %.40q", format)
}

// refusal is an error about what a file is.
func refusal(kind clade.Kind, hint, format string, args ...any) error {
	return &clade.Error{Kind: kind, Err: fmt.Errorf(format, args...), Hint: hint}
}

// read reads a fixed piece of a file; one that ends before is cut short.
func read(r io.ReaderAt, at, length int64) ([]byte, error) {
	b := make([]byte, length)
	if n, err := r.ReadAt(b, at); n < len(b) {
		if errors.Is(err, io.EOF) {
			return nil, refusal(clade.Corrupt, "", "the file is cut short: it ends before byte %d", at+length)
		}
		return nil, fault(err)
	}
	return b, nil
}

const differencing = "merge it into its parent where it comes from, and export the result"

func vetVDI(f *os.File, size int64) error {
	b, err := read(f, 0, 0x188)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	const dynamic, fixed = 1, 2
	if t := le.Uint32(b[0x4c:]); t != dynamic && t != fixed {
		return refusal(clade.Unsupported, differencing, "a VDI of type %d, which rests on another file", t)
	}
	// QEMU's own check does not look at the size, and what is missing reads as zeros.
	data, block, blocks := uint64(le.Uint32(b[0x158:])), uint64(le.Uint32(b[0x178:])), uint64(le.Uint32(b[0x184:]))
	if block == 0 || blocks > uint64(size)/block || data+blocks*block > uint64(size) {
		return refusal(clade.Corrupt, "fetch or copy it again", "the file is cut short: it has %d bytes for %d blocks of %d", size, blocks, block)
	}
	return nil
}

func vetVHD(f *os.File, size int64) error {
	b, err := read(f, max(size-512, 0), 512)
	if err != nil {
		return err
	}
	const fixed, dynamic = 2, 3
	if string(b[:8]) != "conectix" {
		return refusal(clade.Corrupt, "", "the VHD has no footer: the file is cut short")
	}
	if t := binary.BigEndian.Uint32(b[60:]); t != fixed && t != dynamic {
		return refusal(clade.Unsupported, differencing, "a VHD of type %d, which rests on another file", t)
	}
	return nil
}

func vetRaw(f *os.File, size int64) error {
	if size == 0 || size%512 != 0 {
		return refusal(clade.Invalid, "", "a raw disk of %d bytes is not a positive multiple of 512", size)
	}
	b, err := read(f, 0, min(size, headSize))
	if err != nil {
		return err
	}
	if need, what := least(b); need > uint64(size) {
		return refusal(clade.Corrupt, "fetch or copy it again", "the file is cut short: it has %d bytes, and %s needs %d", size, what, need)
	}
	return nil
}
