package appliance

import (
	"debug/elf"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uringEntries is how many requests QEMU's ring has room for.
const uringEntries = 128

// uring reports whether this QEMU can read files by io_uring (io_uring(7)), which has
// a file in the page cache read without a thread being woken: with many disks a tenth of
// the work. The kernel may be too old or forbid it (kernel.io_uring_disabled, a filter of
// system calls), and QEMU may be built without.
func uring(qemu string) bool {
	f, err := elf.Open(qemu)
	if err != nil {
		return false
	}
	defer f.Close()
	libraries, err := f.ImportedLibraries()
	if err != nil || !slices.ContainsFunc(libraries, func(l string) bool { return strings.HasPrefix(l, "liburing.so") }) {
		return false
	}
	var params [120]byte // struct io_uring_params
	fd, _, failed := unix.Syscall(unix.SYS_IO_URING_SETUP, uringEntries, uintptr(unsafe.Pointer(&params)), 0)
	if failed != 0 {
		return false
	}
	unix.Close(int(fd))
	return true
}
