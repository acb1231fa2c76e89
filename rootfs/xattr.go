package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// copyXattrs gives the file to the extended attributes of from. An attribute that
// it has already, as new files get from their directory, is not set again; one
// that cannot be set is an error, since a file without its label is a broken one.
func copyXattrs(to, from *os.File) error {
	size, err := unix.Flistxattr(int(from.Fd()), nil)
	if errors.Is(err, unix.ENOTSUP) || (err == nil && size == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(int(from.Fd()), list); err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:size]), "\x00"), "\x00") {
		want, err := xattr(from, name)
		if err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
		if is, err := xattr(to, name); err == nil && bytes.Equal(is, want) {
			continue
		}
		if err := unix.Fsetxattr(int(to.Fd()), name, want, 0); err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
	}
	return nil
}

func xattr(f *os.File, name string) ([]byte, error) {
	value := make([]byte, 64<<10) // the kernel's XATTR_SIZE_MAX
	n, err := unix.Fgetxattr(int(f.Fd()), name, value)
	if err != nil {
		return nil, err
	}
	return value[:n], nil
}
