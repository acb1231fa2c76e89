package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"golang.org/x/sys/unix"
)

// writeNew makes a file that is there whole or not at all: it has no name until
// fill is done and it is on the disk. It returns the length. Kind Exists.
//
// Where the file system has no files without a name (FAT, some network ones) it is
// hidden beside its place until then, and a kill leaves that behind.
func writeNew(path string, fill func(*os.File) error) (n clade.Bytes, err error) {
	if err := mustBeNew(path); err != nil {
		return 0, err
	}
	f, hidden, err := nameless(path)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = f.Close()
		if hidden != "" && err != nil {
			err = errors.Join(err, ignoreAbsent(os.Remove(hidden)))
		}
	}()
	if err := fill(f); err != nil {
		return 0, err
	}
	fi, err := f.Stat()
	if err := errors.Join(err, f.Sync()); err != nil {
		return 0, err
	}
	if err := giveName(f, hidden, path); err != nil {
		return 0, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return 0, errors.Join(err, os.Remove(path))
	}
	return clade.Bytes(fi.Size()), nil
}

func mustBeNew(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return &clade.Error{Kind: clade.Exists, Err: errors.New("there is a file of this name"), Hint: "choose another name"}
	}
	return nil
}

// nameless makes a file for path that has no name, or else a hidden one.
func nameless(path string) (f *os.File, hidden string, err error) {
	dir := filepath.Dir(path)
	f, err = os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return f, "", err
	}
	if f, err = os.CreateTemp(dir, "."+filepath.Base(path)+".*.part"); err != nil {
		return nil, "", err
	}
	return f, f.Name(), nil
}

// giveName puts f at path, never over a file that came meanwhile.
func giveName(f *os.File, hidden, path string) error {
	if hidden != "" {
		err := unix.Renameat2(unix.AT_FDCWD, hidden, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EINVAL) { // a file system that cannot promise that
			if err = mustBeNew(path); err == nil {
				err = os.Rename(hidden, path)
			}
		}
		return err
	}
	name := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	return unix.Linkat(unix.AT_FDCWD, name, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}
