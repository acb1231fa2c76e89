package debian

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/clade-vm/clade/recipe"
)

// maxBootFile bounds one file of the boot loader, in bytes.
const maxBootFile = 8 << 20

// writeBoot writes all of the disk that is not the root file system: the
// partition table and the boot loaders.
func (b *build) writeBoot() error {
	files, err := readBootFiles(b.path("boot.tar"))
	if err != nil {
		return err
	}
	disk, err := os.OpenFile(b.raw, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer disk.Close()
	if b.Recipe.Boots(recipe.BIOS) {
		if err := writeBIOS(disk, b.layout.bios, files["boot.img"], files["core.img"]); err != nil {
			return err
		}
	}
	if b.Recipe.Boots(recipe.UEFI) {
		if err := b.writeESP(disk, files); err != nil {
			return err
		}
	}
	if err := b.layout.write(disk); err != nil {
		return err
	}
	return disk.Close()
}

// readBootFiles reads the files that configure.sh laid out, by their base names.
func readBootFiles(name string) (map[string][]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files := make(map[string][]byte)
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Size > maxBootFile {
			return nil, fmt.Errorf("%.80q has %d bytes", h.Name, h.Size)
		}
		if files[path.Base(h.Name)], err = io.ReadAll(tr); err != nil {
			return nil, err
		}
	}
}

// The places in GRUB's images that its installer fills in (grub-core/boot/i386/pc
// boot.S and diskboot.S).
const (
	kernelSectorAt = 0x5c  // in boot.img: the sector of core.img, 8 bytes
	driveCheckAt   = 0x66  // in boot.img: a jump that is taken out for hard disks
	tableAt        = 0x1b8 // in boot.img: disk signature and partitions begin
	blocklistAt    = 0x1f4 // in core.img: start 8 bytes, sectors 2, segment 2
	coreSegment    = 0x820 // where core.img's second sector is loaded
)

// writeBIOS writes GRUB's boot sector and, into its partition, what that loads.
func writeBIOS(disk io.WriterAt, p part, boot, core []byte) error {
	if len(boot) != sector {
		return fmt.Errorf("boot.img has %d bytes, not %d", len(boot), sector)
	}
	if len(core) < 2*sector || int64(len(core)) > p.size {
		return fmt.Errorf("core.img has %d bytes, more or less than can be", len(core))
	}
	first := uint64(p.start / sector)
	sectors := (len(core) + sector - 1) / sector
	binary.LittleEndian.PutUint64(boot[kernelSectorAt:], first)
	boot[driveCheckAt], boot[driveCheckAt+1] = 0x90, 0x90
	binary.LittleEndian.PutUint64(core[blocklistAt:], first+1)
	binary.LittleEndian.PutUint16(core[blocklistAt+8:], uint16(sectors-1))
	binary.LittleEndian.PutUint16(core[blocklistAt+10:], coreSegment)
	if _, err := disk.WriteAt(boot[:tableAt], 0); err != nil {
		return err
	}
	if _, err := disk.WriteAt(boot[sector-2:], sector-2); err != nil {
		return err
	}
	_, err := disk.WriteAt(core, p.start)
	return err
}
