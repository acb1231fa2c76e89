package debian

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/google/uuid"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/recipe"
)

const (
	sector   = 512
	align    = 1 << 20 // partitions begin at multiples of this many bytes
	biosSize = 1 << 20
	espSize  = 63 << 20 // not 64: go-diskfs's FAT32 would lack two entries then
)

// A part is one partition, in bytes. A size of 0 means that there is none.
type part struct {
	start, size int64
	id          uuid.UUID
}

// A layout is where the partitions of a disk lie. The root partition is number 1
// and the last on the disk, so that it can grow; the others have the numbers that
// Debian's own cloud images give them.
type layout struct {
	disk            int64 // size in bytes
	bios, esp, root part
}

// plan lays out the disk of a recipe.
func plan(r *recipe.Recipe) layout {
	l := layout{disk: int64(r.Size) / align * align}
	next := int64(align)
	if r.Boots(recipe.BIOS) {
		l.bios = part{next, biosSize, uuid.New()}
		next += biosSize
	}
	if r.Boots(recipe.UEFI) {
		l.esp = part{next, espSize, uuid.New()}
		next += espSize
	}
	l.root = part{next, l.disk - align - next, uuid.New()}
	return l
}

// write puts the partition table on the disk: both copies, and the protective
// entry of the boot sector, whose first 446 bytes stay as they are.
func (l layout) write(disk *os.File) error {
	table := &gpt.Table{LogicalSectorSize: sector, PhysicalSectorSize: sector, GUID: uuid.NewString(), ProtectiveMBR: true}
	add := func(index int, kind gpt.Type, name string, p part) {
		if p.size == 0 {
			return
		}
		table.Partitions = append(table.Partitions, &gpt.Partition{Index: index, Type: kind, Name: name, GUID: p.id.String(),
			Start: uint64(p.start / sector), End: uint64((p.start+p.size)/sector) - 1, Size: uint64(p.size)})
	}
	add(1, gpt.LinuxRootX86_64, "root", l.root)
	add(14, gpt.BIOSBoot, "bios", l.bios)
	add(15, gpt.EFISystemPartition, "esp", l.esp)
	return table.Write(unsynced{disk}, l.disk)
}

// unsynced hides a file's Sync: the disk is a draft, and is flushed once at its end.
type unsynced struct{ f *os.File }

var _ backend.Storage = unsynced{}

func (u unsynced) Stat() (fs.FileInfo, error)               { return u.f.Stat() }
func (u unsynced) Read(b []byte) (int, error)               { return u.f.Read(b) }
func (u unsynced) ReadAt(b []byte, off int64) (int, error)  { return u.f.ReadAt(b, off) }
func (u unsynced) WriteAt(b []byte, off int64) (int, error) { return u.f.WriteAt(b, off) }
func (u unsynced) Seek(off int64, from int) (int64, error)  { return u.f.Seek(off, from) }
func (u unsynced) Close() error                             { return nil }
func (u unsynced) Sys() (*os.File, error)                   { return u.f, nil }
func (u unsynced) Writable() (backend.WritableFile, error)  { return u, nil }
func (u unsynced) Path() string                             { return u.f.Name() }

// room refuses a build that would fill a file system.
func room(work, temp string) error {
	for _, need := range []struct {
		dir  string
		size clade.Bytes
	}{{work, 1536 * clade.MiB}, {temp, 1 * clade.GiB}} {
		var st syscall.Statfs_t
		if err := syscall.Statfs(need.dir, &st); err != nil {
			return &clade.Error{Op: "build", On: "in " + need.dir, Kind: clade.NotFound, Err: err}
		}
		if free := clade.Bytes(st.Bavail) * clade.Bytes(st.Bsize); free < need.size {
			return &clade.Error{Op: "build", On: "in " + need.dir, Kind: clade.NoSpace,
				Err:  &short{free, need.size},
				Hint: "free some space, or set TMPDIR to a directory with more of it"}
		}
	}
	return nil
}

// short says how much space there is and how much is needed.
type short struct{ free, need clade.Bytes }

func (s *short) Error() string { return s.free.String() + " free, " + s.need.String() + " needed" }
