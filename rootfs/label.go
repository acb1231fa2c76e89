package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// selinux is the attribute in which SELinux keeps its label of a file.
const selinux = "security.selinux"

// Label returns the SELinux label of the file that name leads to, "" for one that
// has none.
func (t *Tree) Label(name string) (string, error) {
	f, err := t.open("label", name, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	label, err := labelOf(f)
	return strings.TrimRight(string(label), "\x00"), t.did("label", name, err)
}

// labelOf returns the label of an open file as it is stored, nil for none.
func labelOf(f *os.File) ([]byte, error) {
	label, err := xattr(f, selinux)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	return label, err
}

// inherit gives a new file, directory or link of the name real the label of the
// directory it is in, as SELinux does where no rule says otherwise. One that has a
// label already, or is in a directory without one, is left as it is.
func (t *Tree) inherit(real string) error {
	parent, err := t.root.Open(path.Dir(real))
	if err != nil {
		return err
	}
	defer parent.Close()
	label, err := labelOf(parent)
	if err != nil || label == nil {
		return err
	}
	at := fmt.Sprintf("/proc/self/fd/%d/%s", parent.Fd(), path.Base(real))
	if _, err := unix.Lgetxattr(at, selinux, nil); err != unix.ENODATA {
		return err
	}
	return unix.Lsetxattr(at, selinux, label, 0)
}
