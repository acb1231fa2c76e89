package vswitch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// maxSocketPath is the most bytes that the path of a Unix socket can have.
const maxSocketPath = 107

// lockPath is where the switch with this control socket holds its lock.
func lockPath(control string) string { return control + ".lock" }

// Running tells whether a switch with this control socket runs: whether a process
// holds its lock. It takes no lock itself, so that asking disturbs nobody.
func Running(control string) (bool, error) {
	f, err := os.OpenFile(lockPath(control), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, trouble("find", control, err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, trouble("find", control, err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// acquire takes the lock, or returns an error of kind Busy at once. The holder
// removes the file before it lets go, so a lock counts only while it is on the
// file that has the name.
func acquire(control string) (*os.File, error) {
	if len(control) > maxSocketPath {
		return nil, &clade.Error{Op: "run", On: "switch " + control, Kind: clade.Invalid,
			Err: fmt.Errorf("the path of the socket is longer than %d bytes", maxSocketPath)}
	}
	if err := os.MkdirAll(filepath.Dir(control), 0o700); err != nil {
		return nil, trouble("run", control, err)
	}
	for {
		f, err := os.OpenFile(lockPath(control), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, trouble("run", control, err)
		}
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			f.Close()
			return nil, &clade.Error{Op: "run", On: "switch " + control, Kind: clade.Busy,
				Err: errors.New("it runs already")}
		}
		if err != nil {
			f.Close()
			return nil, trouble("run", control, err)
		}
		held, err1 := f.Stat()
		named, err2 := os.Stat(lockPath(control))
		if err1 == nil && err2 == nil && os.SameFile(held, named) {
			return f, nil
		}
		f.Close()
	}
}

// release gives the lock back and leaves no file.
func release(control string, lock *os.File) {
	os.Remove(lockPath(control))
	lock.Close()
}

// trouble wraps what the operating system says.
func trouble(op, control string, err error) error {
	return &clade.Error{Op: op, On: "switch " + control, Kind: clade.KindOf(err), Err: err}
}
