package image

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// Seal makes a file immutable: 0444, on the disk, and, where kernel and file system
// can (fs-verity), such that nobody opens it for writing any more and what is read of
// it is checked each time. One that somebody still writes to goes without that: Verity
// tells. It may be called again. It changes the time of the file's last change.
func Seal(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return &clade.Error{Op: "seal", On: path, Kind: clade.KindOf(err), Err: err}
	}
	defer f.Close()
	if err := errors.Join(enableVerity(f), f.Chmod(0o444), f.Sync()); err != nil {
		return &clade.Error{Op: "seal", On: path, Kind: clade.KindOf(err), Err: err}
	}
	return nil
}

// Verity returns what the kernel measured of a file when it was sealed, "sha256:..." of
// the root of its hash tree; "" for one that it does not check.
func Verity(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var m struct {
		unix.FsverityDigest
		digest [sha256Size]byte
	}
	m.Size = sha256Size
	switch err := verityRequest(f, unix.FS_IOC_MEASURE_VERITY, unsafe.Pointer(&m)); {
	case errors.Is(err, syscall.ENODATA) || noVerity(err):
		return "", nil
	case err != nil:
		return "", &os.PathError{Op: "measure", Path: path, Err: err}
	case m.Algorithm != unix.FS_VERITY_HASH_ALG_SHA256 || m.Size != sha256Size:
		return "", &os.PathError{Op: "measure", Path: path, Err: fmt.Errorf("its algorithm is %d, %d bytes", m.Algorithm, m.Size)}
	}
	return "sha256:" + hex.EncodeToString(m.digest[:]), nil
}

// Verities reports whether files in dir can be sealed in the kernel: found out by
// trying it on one.
func Verities(dir string) bool {
	dir, err := os.MkdirTemp(dir, "seal-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tried")
	if os.WriteFile(path, []byte("clade"), 0o600) != nil || Seal(path) != nil {
		return false
	}
	measured, err := Verity(path)
	return err == nil && measured != ""
}

const (
	sha256Size  = 32
	verityBlock = 4096 // the page, without which older kernels do nothing
)

// enableVerity has the kernel check a file from now on. It wants the right to write
// to the file, which may have been taken already, though f is open for reading only.
func enableVerity(f *os.File) error {
	arg := unix.FsverityEnableArg{Version: 1, Hash_algorithm: unix.FS_VERITY_HASH_ALG_SHA256, Block_size: verityBlock}
	err := verityRequest(f, unix.FS_IOC_ENABLE_VERITY, unsafe.Pointer(&arg))
	if errors.Is(err, syscall.EACCES) {
		if err := f.Chmod(0o600); err != nil {
			return err
		}
		err = verityRequest(f, unix.FS_IOC_ENABLE_VERITY, unsafe.Pointer(&arg))
	}
	if errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.ETXTBSY) || noVerity(err) {
		return nil
	}
	return err
}

// noVerity says whether an error means that kernel, file system or sandbox has none.
func noVerity(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{syscall.ENOTTY, syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ENOSYS, syscall.EPERM},
		func(none syscall.Errno) bool { return errors.Is(err, none) })
}

func verityRequest(f *os.File, number uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), number, uintptr(arg))
	runtime.KeepAlive(f)
	if errno != 0 {
		return errno
	}
	return nil
}
