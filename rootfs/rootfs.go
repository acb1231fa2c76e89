// Package rootfs is the tree of a guest's files, mounted in a directory, as the
// guest itself would see it.
//
// A [Tree] resolves names the way the kernel does after chroot: an absolute link
// starts again at the guest's root, ".." at the root stays there, and 40 links
// are the end. To read, it lets the kernel do so (openat2 with RESOLVE_IN_ROOT).
// To write, and where the kernel cannot, it has a resolver of its own that stands
// on os.Root, which by itself refuses the absolute links that are right inside a
// guest; so what the resolver gets wrong can still not leave the directory. A Tree
// never opens a device node, a named pipe or a socket, and every reading function
// of this package has a limit.
//
// The reading functions work on any fs.FS, so that what reads a stopped guest's
// disk through a Tree also reads a running guest through its agent. Where the two
// differ, the interfaces of io/fs (StatFS, ReadDirFS, ReadLinkFS) are the seam.
//
// The package mounts nothing, and does not guard against a guest that runs while
// its tree is changed.
package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/clade-vm/clade"
)

// What a Tree and the functions of this package refuse, beside what the file
// system itself does. They arrive in an *fs.PathError.
var (
	// ErrLimit: the file, the directory or the search is larger than the limit.
	ErrLimit = errors.New("larger than the limit")
	// ErrSpecial: a device node, a named pipe or a socket, or a directory where a
	// file is meant. None of these is opened.
	ErrSpecial = errors.New("not a regular file")
)

// A Tree is the guest's files. Names are those of io/fs, without a slash in
// front ("etc/hostname", "." for the root), except that they may hold any byte:
// a guest's file names need not be UTF-8.
//
// Every method but Lstat, ReadLink, Remove and RemoveAll follows a link in the
// last place too. Errors are *fs.PathError. A Tree is safe for concurrent use.
type Tree struct {
	root  *os.Root
	dir   *os.File // the root directory, for the kernel's resolver
	raw   syscall.RawConn
	alone atomic.Bool // the kernel has no such resolver
}

var (
	_ fs.StatFS     = (*Tree)(nil)
	_ fs.ReadDirFS  = (*Tree)(nil)
	_ fs.ReadLinkFS = (*Tree)(nil)
)

// Open returns the tree of the guest whose root directory is mounted at dir. The
// caller closes it. Errors are of kind NotFound, Denied or Invalid.
func Open(dir string) (*Tree, error) {
	t, err := openTree(dir)
	if err == nil {
		return t, nil
	}
	kind := clade.Invalid
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = clade.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = clade.Denied
	}
	return nil, &clade.Error{Op: "open", On: fmt.Sprintf("root tree %q", dir), Kind: kind, Err: err}
}

func openTree(dir string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &Tree{root: root}
	if t.dir, err = root.Open("."); err == nil {
		t.raw, err = t.dir.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close lets the directory go. It may be called twice.
func (t *Tree) Close() error {
	err := t.dir.Close()
	if errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrInvalid) {
		err = nil
	}
	return errors.Join(err, t.root.Close())
}

// Absent reports whether err says that no file can be reached by a name: it does
// not exist, a file or a loop of links stands where a directory is meant, or the
// name is longer than names can be.
func Absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENAMETOOLONG)
}
