package guest

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl makes a request with a block of memory that the kernel reads and writes.
func ioctl(f *os.File, request uint, args []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(unsafe.Pointer(&args[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
