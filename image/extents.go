package image

import (
	"errors"
	"math"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// An Extent is a stretch of a file that lies in one piece on the disk, and which
// other files, or other parts of this one, have too (reflink).
type Extent struct {
	Start, End uint64 // bytes of the disk
}

// SharedExtents returns the extents of a file that the file system says are
// shared. It does not tell with whom. A file system that shares nothing, or does
// not tell where files lie, has none.
func SharedExtents(path string) ([]Extent, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOATIME, 0)
	if errors.Is(err, syscall.EPERM) { // somebody else's file: its access time is touched
		f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, &clade.Error{Op: "map", On: path, Kind: clade.KindOf(err), Err: err}
	}
	defer f.Close()
	var list []Extent
	var m fiemap
	for last := false; !last; {
		m = fiemap{start: m.start, length: math.MaxUint64 - m.start, count: uint32(len(m.extents))}
		if err := m.ask(f); err != nil {
			if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOTTY) || errors.Is(err, syscall.EINVAL) {
				return nil, nil
			}
			return nil, &clade.Error{Op: "map", On: path, Kind: clade.KindOf(err), Err: err}
		}
		if m.mapped == 0 {
			break
		}
		for _, e := range m.extents[:m.mapped] {
			if e.flags&extentShared != 0 && e.flags&extentUnknown == 0 {
				list = append(list, Extent{e.physical, e.physical + e.length})
			}
			last = last || e.flags&extentLast != 0
			m.start = e.logical + e.length
		}
	}
	return list, nil
}

// What <linux/fiemap.h> says.
const (
	iocFiemap     = 0xc020660b
	extentLast    = 0x1
	extentUnknown = 0x2
	extentShared  = 0x2000
)

type fiemap struct {
	start, length        uint64
	flags, mapped, count uint32
	_                    uint32
	extents              [128]fiemapExtent
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

func (m *fiemap) ask(f *os.File) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), iocFiemap, uintptr(unsafe.Pointer(m)))
	runtime.KeepAlive(f)
	if errno != 0 {
		return errno
	}
	return nil
}
