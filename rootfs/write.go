package rootfs

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// WriteFile replaces the file that name leads to by one with this content, or
// makes one with the permissions perm. A file that was there keeps its owner,
// mode and extended attributes (SELinux label, ACL); other names of the same
// inode keep the old content. A new file, as all that a Tree makes, gets the
// SELinux label of its directory. It happens in full or not at all, but for a power
// cut before the file system is written out, which is for who mounted it.
func (t *Tree) WriteFile(name string, data []byte, perm fs.FileMode) (err error) {
	real, old, err := t.target("write", name)
	if err != nil {
		return err
	}
	fail := func(err error) error { return &fs.PathError{Op: "write", Path: name, Err: cause(err)} }
	aside := path.Join(path.Dir(real), ".clade-"+rand.Text())
	f, err := t.root.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fail(err)
	}
	defer func() {
		f.Close()
		if err != nil {
			_ = t.root.Remove(aside)
		}
	}()
	if err := t.dress(f, aside, real, old, perm); err != nil {
		return fail(err)
	}
	if _, err := f.Write(data); err != nil {
		return fail(err)
	}
	if err := t.root.Rename(aside, real); err != nil {
		return fail(err)
	}
	return nil
}

// target returns where a file written under name lies, and what lies there now:
// nil if nothing, ErrSpecial if it is no regular file.
func (t *Tree) target(op, name string) (string, fs.FileInfo, error) {
	if !valid(name) || name == "." {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	real, old, err := t.resolve(op, name, true)
	if errors.Is(err, fs.ErrNotExist) && real != "" {
		return real, nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	if !old.Mode().IsRegular() {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: ErrSpecial}
	}
	return real, old, nil
}

// dress gives the new file f, which is at the name aside, the owner, mode and
// extended attributes of the old one at the name real, or perm if there is none.
func (t *Tree) dress(f *os.File, aside, real string, old fs.FileInfo, perm fs.FileMode) error {
	if old == nil {
		return errors.Join(f.Chmod(perm), t.inherit(aside))
	}
	was, err := t.open("write", real, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer was.Close()
	now, err := f.Stat()
	if err != nil {
		return err
	}
	want, is := old.Sys().(*syscall.Stat_t), now.Sys().(*syscall.Stat_t)
	if want.Uid != is.Uid || want.Gid != is.Gid {
		if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
			return err
		}
	}
	if err := f.Chmod(old.Mode()); err != nil {
		return err
	}
	return copyXattrs(f, was)
}

// Truncate makes the regular file that name leads to empty and leaves all else of
// it as it is: inode, owner, mode, attributes. It costs the same for any size.
func (t *Tree) Truncate(name string) error {
	if _, old, err := t.target("truncate", name); err != nil {
		return err
	} else if old == nil {
		return &fs.PathError{Op: "truncate", Path: name, Err: fs.ErrNotExist}
	}
	f, err := t.open("truncate", name, os.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return &fs.PathError{Op: "truncate", Path: name, Err: cause(err)}
	}
	return nil
}

// place returns the name of the entry itself, its directory's links followed, for
// what acts on entries and not on what they lead to.
func (t *Tree) place(op, name string) (string, error) {
	if !valid(name) || name == "." {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	real, _, err := t.resolve(op, name, false)
	if errors.Is(err, fs.ErrNotExist) && real != "" {
		return real, nil
	}
	return real, err
}

// Remove removes one entry, whatever it is: a link and not its target, and a
// directory only if it is empty.
func (t *Tree) Remove(name string) error {
	real, err := t.place("remove", name)
	if err != nil {
		return err
	}
	return t.did("remove", name, t.root.Remove(real))
}

// RemoveAll removes an entry and, if it is a directory, all below it. It removes
// links and never follows one, and may be called on what is not there.
func (t *Tree) RemoveAll(name string) error {
	real, err := t.place("remove", name)
	if Absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.did("remove", name, t.root.RemoveAll(real))
}

// Clear removes all that is in the directory that name leads to, and leaves the
// directory itself with its owner, mode and attributes. Its memory does not grow
// with the directory. What is no directory is ENOTDIR, and the root, which a link
// may lead to, is fs.ErrInvalid.
func (t *Tree) Clear(name string) error {
	real, err := t.Resolve(name)
	if err != nil {
		return err
	}
	if real == "." {
		return &fs.PathError{Op: "clear", Path: name, Err: fs.ErrInvalid}
	}
	// A guest may have a pipe there, which would hold up whoever opens it.
	dir, err := t.root.OpenFile(real, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return t.did("clear", name, err)
	}
	defer dir.Close()
	for left := true; left; {
		left = false
		err := eachEntry(t, real, func(e fs.DirEntry) error {
			left = true // or a file system that loses its place hides more
			return t.removeIn(dir, real, e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// removeIn removes an entry of the open directory of the name real, and all below
// it.
func (t *Tree) removeIn(dir *os.File, real string, e fs.DirEntry) error {
	name := path.Join(real, e.Name())
	if e.IsDir() {
		return t.did("remove", name, t.root.RemoveAll(name))
	}
	return t.did("remove", name, unix.Unlinkat(int(dir.Fd()), e.Name(), 0))
}

// MkdirAll makes a directory, and those above it, with the permissions perm. One
// that is there is left as it is; a link to a directory counts as one.
func (t *Tree) MkdirAll(name string, perm fs.FileMode) error {
	if !valid(name) {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrInvalid}
	}
	real, fi, err := t.resolve("mkdir", name, true)
	if err == nil && !fi.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if real == "" {
		if err := t.MkdirAll(path.Dir(name), perm); err != nil {
			return err
		}
		if real, _, err = t.resolve("mkdir", name, true); real == "" {
			return err
		}
	}
	if err := t.root.Mkdir(real, 0o700); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: cause(err)}
	}
	return t.did("mkdir", name, errors.Join(t.root.Chmod(real, perm), t.inherit(real)))
}

// Symlink makes a link of that name to target, which may be any guest path. A
// name that is taken is fs.ErrExist.
func (t *Tree) Symlink(target, name string) error {
	real, err := t.place("symlink", name)
	if err != nil {
		return err
	}
	err = t.root.Symlink(target, real)
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	if err == nil {
		err = t.inherit(real)
	}
	return t.did("symlink", name, err)
}

// did returns err as an *fs.PathError about name, and nil as nil.
func (t *Tree) did(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: cause(err)}
}
