package rootfs

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"
)

// maxLinks is the kernel's MAXSYMLINKS: one link more is ELOOP.
const maxLinks = 40

// maxWork bounds what one name may cost, in directories opened: os.Root opens
// each one on the way for every step. Forty links of 2,000 directories each would
// otherwise be minutes of work. A path 350 directories deep is within it.
const maxWork = 1 << 16

// Resolve returns the name of the file that a process in the guest reaches by
// guestPath: absolute or not, with any "..", and links followed to the end.
func (t *Tree) Resolve(guestPath string) (string, error) {
	name, _, err := t.resolve("resolve", strings.TrimLeft(guestPath, "/"), true)
	if err != nil {
		return "", err
	}
	return name, nil
}

// resolve walks name from the guest's root and returns where it ends: a name
// without links, and what lies there. A link in the last place is followed only
// if follow is set.
//
// Where nothing but the last step is missing, the error is fs.ErrNotExist and the
// name is the one the file would have if it were made; in every other error the
// name is empty.
func (t *Tree) resolve(op, name string, follow bool) (string, fs.FileInfo, error) {
	if real, n, err := t.straight(name, follow); err != errUnsure {
		if err != nil {
			return real, nil, &fs.PathError{Op: op, Path: name, Err: err}
		}
		return real, n, nil
	}
	return t.walk(op, name, follow)
}

// walk is resolve step by step, and needs no help of the kernel.
func (t *Tree) walk(op, name string, follow bool) (string, fs.FileInfo, error) {
	w := walker{tree: t, todo: strings.Split(name, "/"), follow: follow}
	for len(w.todo) > 0 {
		if err := w.step(); err != nil {
			made := ""
			if errors.Is(err, fs.ErrNotExist) && len(w.todo) == 0 {
				made = w.missing
			}
			return made, nil, &fs.PathError{Op: op, Path: name, Err: cause(err)}
		}
	}
	if w.info == nil {
		info, err := t.root.Lstat(".")
		if err != nil {
			return "", nil, &fs.PathError{Op: op, Path: name, Err: cause(err)}
		}
		return ".", info, nil
	}
	return w.done, w.info, nil
}

// A walker is a resolution on its way: the part of the path that is done, free of
// links, and the steps that are left.
type walker struct {
	tree    *Tree
	done    string      // "" is the root
	info    fs.FileInfo // of done; nil for the root
	todo    []string
	follow  bool
	missing string // the step that does not exist
	links   int
	work    int
}

// step takes one step of todo.
func (w *walker) step() error {
	if w.info != nil && !w.info.IsDir() {
		return syscall.ENOTDIR
	}
	next := w.todo[0]
	w.todo = w.todo[1:]
	switch next {
	case "", ".":
		return nil
	case "..":
		return w.enter(path.Dir(w.done))
	}
	at := path.Join(w.done, next)
	info, err := w.lstat(at)
	if err != nil {
		w.missing = at
		return err
	}
	if info.Mode()&fs.ModeSymlink == 0 || (len(w.todo) == 0 && !w.follow) {
		w.done, w.info = at, info
		return nil
	}
	return w.link(at)
}

// enter makes dir, an ancestor of what is done, the place to go on from.
func (w *walker) enter(dir string) error {
	if dir == "." || dir == "/" || dir == "" {
		w.done, w.info = "", nil
		return nil
	}
	info, err := w.lstat(dir)
	w.done, w.info = dir, info
	return err
}

// link puts the target of the link at the name at before the steps that are left.
func (w *walker) link(at string) error {
	if w.links++; w.links > maxLinks {
		return syscall.ELOOP
	}
	target, err := w.tree.root.Readlink(at)
	if err != nil {
		return err
	}
	if target == "" {
		return fs.ErrNotExist
	}
	if target[0] == '/' {
		w.done, w.info = "", nil
	}
	w.todo = append(strings.Split(target, "/"), w.todo...)
	return nil
}

func (w *walker) lstat(name string) (fs.FileInfo, error) {
	if w.work += 1 + strings.Count(name, "/"); w.work > maxWork {
		return nil, ErrLimit
	}
	return w.tree.root.Lstat(name)
}

// cause takes the inner error out of an *fs.PathError, whose name and operation
// are those of one step and not of the caller.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// valid reports whether name is one that a Tree takes: see Tree.
func valid(name string) bool {
	if name == "." {
		return true
	}
	for elem := range strings.SplitSeq(name, "/") {
		if elem == "" || elem == "." || elem == ".." {
			return false
		}
	}
	return !strings.Contains(name, "\x00")
}
