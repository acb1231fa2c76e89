package guest

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// The superblock of btrfs, in so far as its identity needs it.
const (
	btrfsSuper     = 0x10000 // where it lies
	btrfsSuperSize = 4096
	btrfsFSID      = 0x20  // its identity, 16 bytes
	btrfsFlags     = 0xbc  // incompat_flags
	btrfsSum       = 0xc4  // which checksum it has
	btrfsMetadata  = 0x23b // metadata_uuid, 16 bytes
	hasMetadata    = 1 << 10
)

// disguise lets the machine's btrfs file systems be mounted beside others with the
// same identity, which the kernel would take for one. They get another one, in
// shadows only: the one that stands in all blocks goes on as the identity of its
// metadata, for which the format has a place.
func (m *machine) disguise() error {
	seen := map[string]bool{}
	for _, v := range m.volumes {
		if v.format != btrfs || seen[v.uuid] {
			continue
		}
		seen[v.uuid] = true
		if err := m.server.mods.load("btrfs"); err != nil {
			return err
		}
		if err := m.replay(v); err != nil {
			return err
		}
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails: crypto/rand
		parts := m.parts(v)
		tellBtrfs(parts, btrfsForget) // under the identity that they had
		for _, part := range parts {
			if err := part.rename(id); err != nil {
				return fmt.Errorf("%s: %w", part, err)
			}
		}
		tellBtrfs(parts, btrfsScan)
	}
	return nil
}

// rename gives a btrfs volume, which is a shadow, another identity.
func (v *volume) rename(id [16]byte) error {
	if !v.shadow {
		return errors.New("it is no shadow")
	}
	f, err := os.OpenFile(v.device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, btrfsSuperSize)
	if _, err := f.ReadAt(b, btrfsSuper); err != nil {
		return err
	}
	if err := renamed(b, id); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, btrfsSuper); err != nil {
		return err
	}
	return f.Sync()
}

// renamed changes the identity in a superblock.
func renamed(b []byte, id [16]byte) error {
	if kind := binary.LittleEndian.Uint16(b[btrfsSum:]); kind != 0 {
		return fmt.Errorf("its blocks have checksums of kind %d, which is not supported", kind)
	}
	flags := binary.LittleEndian.Uint64(b[btrfsFlags:])
	if flags&hasMetadata == 0 {
		copy(b[btrfsMetadata:btrfsMetadata+16], b[btrfsFSID:])
		binary.LittleEndian.PutUint64(b[btrfsFlags:], flags|hasMetadata)
	}
	copy(b[btrfsFSID:], id[:])
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[0x20:], crc32.MakeTable(crc32.Castagnoli)))
	return nil
}
