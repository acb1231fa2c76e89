package cloudinit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/diskfs/go-diskfs/filesystem/fat12"

	"github.com/clade-vm/clade"
)

// The volume is a FAT12 file system of one size, which every kernel and every
// firmware reads, with the label that cloud-init looks for.
const (
	volumeSize  = 512 << 10
	volumeLabel = "CIDATA"
	block       = 4096 // what is all zero is left a hole in the file
)

// Write makes the volume at path, with mode 0600 as user-data may hold secrets.
// It is written aside and renamed: path has the old volume or the new one, whole.
// Kinds: Invalid, NoSpace, Denied, NotFound (the directory).
func (s *Seed) Write(path string) error {
	if err := s.validate(); err != nil {
		return err
	}
	volume, err := s.volume()
	if err == nil {
		err = replace(path, volume)
	}
	if err == nil {
		return nil
	}
	kind := clade.Internal
	switch {
	case errors.Is(err, os.ErrPermission):
		kind = clade.Denied
	case errors.Is(err, os.ErrNotExist):
		kind = clade.NotFound
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = clade.NoSpace
	}
	return &clade.Error{Op: "write", On: "cloud-init seed " + path, Kind: kind, Err: err}
}

// volume returns the bytes of the volume.
func (s *Seed) volume() ([]byte, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	m := &memory{data: make([]byte, volumeSize)}
	v, err := fat12.Create(m, volumeSize, 0, 512, volumeLabel, true)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		w, err := v.OpenFile(f.name, os.O_CREATE|os.O_RDWR)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := v.Close(); err != nil {
		return nil, err
	}
	tidy(m.data)
	return m.data, nil
}

// tidy frees the cluster that go-diskfs reserves for a root directory, which FAT12
// has elsewhere, and sets all times to the first of January 1980, so that the
// volume depends on the seed only.
func tidy(v []byte) {
	le := binary.LittleEndian
	reserved, fats := int(le.Uint16(v[14:])), int(v[16])
	entries, fatSectors := int(le.Uint16(v[17:])), int(le.Uint16(v[22:]))
	for i := range fats {
		fat := v[(reserved+i*fatSectors)*512:]
		fat[3], fat[4] = 0, fat[4]&0xf0 // the 12 bits of cluster 2
	}
	root := v[(reserved+fats*fatSectors)*512:]
	const firstDay = 1<<5 | 1
	for e := range entries {
		entry := root[e*32 : e*32+32]
		if entry[0] == 0 {
			return
		}
		if entry[11] == 0x0f { // a piece of a long name: no times
			continue
		}
		clear(entry[13:20])
		le.PutUint16(entry[16:], firstDay)
		le.PutUint16(entry[18:], firstDay)
		le.PutUint16(entry[22:], 0)
		le.PutUint16(entry[24:], firstDay)
	}
}

// replace writes data to a new file and renames it to path.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".seed-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	defer f.Close()
	if err := f.Truncate(int64(len(data))); err != nil {
		return err
	}
	zero := make([]byte, block)
	for off := 0; off < len(data); off += block {
		piece := data[off:min(off+block, len(data))]
		if bytes.Equal(piece, zero[:len(piece)]) {
			continue
		}
		if _, err := f.WriteAt(piece, int64(off)); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
