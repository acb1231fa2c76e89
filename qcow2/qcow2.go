// Package qcow2 writes empty qcow2 overlays and reads the headers of foreign
// qcow2 images.
//
// It writes the few blocks that an empty overlay needs itself, since a qemu-img
// process for every clone costs more than all the rest of the clone together. It
// reads headers as hostile input: bounded, and nothing that a header names is
// ever opened. It starts no process, and it knows nothing of what a guest wrote:
// conversion, checking and flattening are left to package image.
package qcow2

import "github.com/clade-vm/clade"

// The limits of what clade writes and accepts.
const (
	MaxVirtual = 64 * clade.TiB // the largest disk a guest may see
	MaxName    = 1023           // the longest name of a backing file, in bytes (the format's limit)
)

// The format's own numbers; docs/interop/qcow2.txt in QEMU's tree explains them.
const (
	magic         = 0x514649fb // "QFI\xfb"
	version       = 3
	header2Size   = 72  // a version 2 header
	header3Size   = 104 // the least version 3 header
	headerSize    = 112 // the version 3 header with the compression type, as QEMU writes it
	refcountOrder = 4   // reference counts of 1<<4 bits
	entrySize     = 8   // one entry of the L1 and of the refcount table

	minClusterBits = 9
	maxClusterBits = 21
	maxL1Entries   = 4 << 20 // QEMU opens no larger table

	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extDataFile      = 0x44415441

	incompatDirty    = 1 << 0
	incompatCorrupt  = 1 << 1
	incompatDataFile = 1 << 2
	incompatZstd     = 1 << 3
	incompatExtended = 1 << 4
	incompatKnown    = incompatDirty | incompatCorrupt | incompatDataFile | incompatZstd | incompatExtended
)

// l1Entries returns how many L1 entries a disk of the given size needs. One
// entry points at one cluster of L2 entries of 8 bytes, or 16 when extended.
func l1Entries(virtual clade.Bytes, clusterBits uint32, extended bool) int64 {
	perEntry := 2*clusterBits - 3
	if extended {
		perEntry--
	}
	n := int64(virtual) >> perEntry
	if int64(virtual)&(1<<perEntry-1) != 0 {
		n++
	}
	return n
}
