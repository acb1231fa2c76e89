package debian

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

// writeESP makes the EFI system partition: the loaders where firmware looks when
// it knows nothing of this disk, and the file that leads GRUB to its menu.
func (b *build) writeESP(disk *os.File, files map[string][]byte) error {
	fs, err := fat32.Create(unsynced{disk}, b.layout.esp.size, b.layout.esp.start, sector, "ESP", false)
	if err != nil {
		return err
	}
	menu := fmt.Sprintf("search.fs_uuid %s root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n", b.root)
	for _, dir := range []string{"EFI/BOOT", "EFI/debian"} {
		if err := fs.Mkdir(dir); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"EFI/BOOT/BOOTX64.EFI", files["BOOTX64.EFI"]},
		{"EFI/BOOT/grubx64.efi", files["grubx64.efi"]},
		{"EFI/BOOT/mmx64.efi", files["mmx64.efi"]},
		{"EFI/debian/grub.cfg", []byte(menu)},
	} {
		if len(f.data) == 0 {
			return fmt.Errorf("%s is missing", path.Base(f.name))
		}
		w, err := fs.OpenFile(f.name, os.O_CREATE|os.O_RDWR)
		if err != nil {
			return err
		}
		if _, err := w.Write(f.data); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	if err := fs.Close(); err != nil {
		return err
	}
	return mendParent(disk, b.layout.esp)
}

// mendParent corrects go-diskfs: in a directory of the root, the entry ".." is to
// name cluster 0, not the root directory's own number. The directory EFI is the
// first that was made in the root.
func mendParent(disk *os.File, p part) error {
	head := make([]byte, sector)
	if _, err := disk.ReadAt(head, p.start); err != nil {
		return err
	}
	le := binary.LittleEndian
	reserved, fats, fatSectors := int64(le.Uint16(head[14:])), int64(head[16]), int64(le.Uint32(head[36:]))
	size := int64(head[13]) * sector // of a cluster
	data := p.start + (reserved+fats*fatSectors)*sector
	root := make([]byte, size)
	if _, err := disk.ReadAt(root, data+int64(le.Uint32(head[44:])-2)*size); err != nil {
		return err
	}
	for entry := range slices.Chunk(root, 32) {
		if string(entry[:11]) != "EFI        " {
			continue
		}
		cluster := int64(le.Uint16(entry[20:]))<<16 | int64(le.Uint16(entry[26:]))
		parent := data + (cluster-2)*size + 32
		for _, at := range []int64{20, 26} {
			if _, err := disk.WriteAt([]byte{0, 0}, parent+at); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("EFI is not in its root directory")
}
