package image

import (
	"os"

	"golang.org/x/sys/unix"
)

// Reflinks reports whether files in dir can share blocks, so that a full copy is
// instant and takes no space: found out by trying it on two unnamed files.
func Reflinks(dir string) bool {
	var files [2]*os.File
	for i := range files {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return false
		}
		files[i] = os.NewFile(uintptr(fd), dir)
		defer files[i].Close()
	}
	if _, err := files[0].WriteAt(make([]byte, 4096), 0); err != nil {
		return false
	}
	return unix.IoctlFileClone(int(files[1].Fd()), int(files[0].Fd())) == nil
}
