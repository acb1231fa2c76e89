// Package hold is the lock that a machine's process holds for exactly as long as
// it lives: state derived from a fact the kernel keeps, never from a record.
//
// The lock is an open file description lock (fcntl F_OFD_SETLK) on a file. Who
// starts the process takes it and passes the open file on; the kernel drops it
// when the last process that has the file open is gone, however it ended. The
// file holds the process id, which is believed only while the lock is held and
// only of a process that has the file open. While the process is being started the
// file holds who starts it, as a negative number: if that one dies before it has
// written the id, whoever has the file open then is the process.
package hold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// A Lock is held by this process, and by the process it was passed on to.
type Lock struct {
	file *os.File
}

// Take takes the lock at path, making the file (0600) where there is none, and
// empties the file. Kind Busy: somebody holds it; NotFound: no such directory.
func Take(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &clade.Error{Op: "lock", On: path, Kind: clade.KindOf(err), Err: err}
	}
	rule := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &rule)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		return &Lock{file: f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, &clade.Error{Op: "lock", On: path, Kind: clade.Busy, Err: errors.New("it is held")}
	}
	return nil, &clade.Error{Op: "lock", On: path, Kind: clade.KindOf(err), Err: err}
}

// Release lets this process's share of the lock go. It may be called twice.
func (l *Lock) Release() { l.file.Close() }

// Held tells whether anybody holds the lock at path. It never takes the lock, so
// that asking disturbs nobody. A file that is not there is not held.
func Held(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &clade.Error{Op: "read", On: path, Kind: clade.KindOf(err), Err: err}
	}
	defer f.Close()
	rule := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &rule); err != nil {
		return false, &clade.Error{Op: "read", On: path, Kind: clade.Internal, Err: err}
	}
	return rule.Type != unix.F_UNLCK, nil
}

// Holder returns the id of the process that was started with the lock at path,
// or 0 where none has it. since is when it started, or the last one did; zero if
// none ever did.
func Holder(path string) (pid int, since time.Time) {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return 0, time.Time{}
	}
	if info, err := os.Stat(path); err == nil {
		since = info.ModTime()
	}
	if pid, err = holder(string(text), path); err != nil || pid == 0 {
		return 0, since
	}
	if held, err := Held(path); err != nil || !held {
		return 0, since
	}
	return pid, since
}

// holder returns the process that a lock's text says has the lock, if it has the file
// open, or 0. An error is that the file cannot be looked at.
func holder(text, path string) (int, error) {
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	switch {
	case err != nil || pid >= -1 && pid <= 1:
		return 0, nil
	case pid > 1:
		if open, err := hasOpen(pid, path); err != nil || !open {
			return 0, err
		}
		return pid, nil
	}
	if open, err := hasOpen(-pid, path); err != nil || open {
		return 0, err // it is being started still
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		if other, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			open, err := hasOpen(other, path)
			if err != nil {
				return 0, err
			}
			if open {
				return other, nil
			}
		}
	}
	return 0, nil
}

// hasOpen tells whether the process has the file open: a recycled process id has not.
func hasOpen(pid int, path string) (bool, error) {
	want, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, nil // gone, or somebody else's
	}
	for _, e := range entries {
		got, err := os.Stat(dir + "/" + e.Name())
		if err == nil && os.SameFile(want, got) {
			return true, nil
		}
	}
	return false, nil
}
