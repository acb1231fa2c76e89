package appliance

import (
	"fmt"
	"io"
)

// An archive writes a cpio archive in the "newc" format, the one the kernel
// unpacks as its first root file system. Archives may follow one another.
type archive struct {
	w     io.Writer
	n     int64
	inode int
	err   error
}

const (
	modeDir  = 0o040755
	modeFile = 0o100644
	modeExec = 0o100755
)

// dir adds a directory; its parents must be there already.
func (a *archive) dir(name string) { a.entry(name, modeDir, 0, nil) }

// file adds a file of exactly size bytes from r.
func (a *archive) file(name string, mode uint32, size int64, r io.Reader) {
	a.entry(name, mode, size, r)
}

// close ends the archive and returns the first error of all calls.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0, nil)
	return a.err
}

func (a *archive) entry(name string, mode uint32, size int64, r io.Reader) {
	if a.err != nil {
		return
	}
	if size < 0 || size > 0xffffffff {
		a.err = fmt.Errorf("%s: %d bytes do not fit a cpio archive", name, size)
		return
	}
	a.inode++
	// magic, inode, mode, uid, gid, links, mtime, size, 4 device numbers, name length, checksum
	a.print("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	if r != nil && a.err == nil {
		n, err := io.CopyN(a.w, r, size)
		a.n += n
		a.err = err
	}
	a.pad()
}

func (a *archive) print(format string, args ...any) {
	if a.err == nil {
		n, err := fmt.Fprintf(a.w, format, args...)
		a.n += int64(n)
		a.err = err
	}
}

// pad fills up to a multiple of four bytes.
func (a *archive) pad() {
	if rest := a.n % 4; rest != 0 {
		a.print("%s", "\x00\x00\x00"[:4-rest])
	}
}
