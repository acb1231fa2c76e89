package live

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// The kernel's limits on names.
const (
	maxLinks = 40
	maxName  = 255
	maxPath  = 4095
)

// resolve walks name as the guest's kernel does and returns where it ends: a name
// without links, and what lies there. A link in the last place is followed only if
// follow is set. What is not known is noted, and taken to be absent.
func (m *mirror) resolve(op, name string, follow bool) (string, *node, error) {
	if !valid(name) {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	w := walker{mirror: m, at: m.root, todo: strings.Split(name, "/"), follow: follow}
	for len(w.todo) > 0 {
		if err := w.step(); err != nil {
			return "", nil, &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return w.name(), w.at, nil
}

// A walker is a resolution on its way.
type walker struct {
	mirror *mirror
	done   []string // the way to at, free of links
	at     *node
	todo   []string
	follow bool
	links  int
}

func (w *walker) name() string {
	if len(w.done) == 0 {
		return "."
	}
	return strings.Join(w.done, "/")
}

// step takes one step of todo.
func (w *walker) step() error {
	if !w.at.mode.IsDir() {
		return syscall.ENOTDIR
	}
	next := w.todo[0]
	w.todo = w.todo[1:]
	switch next {
	case "", ".":
		return nil
	case "..":
		if len(w.done) > 0 {
			w.enter(w.done[:len(w.done)-1])
		}
		return nil
	}
	child, err := w.child(next)
	if err != nil {
		return err
	}
	if child.mode.Type() != fs.ModeSymlink || (len(w.todo) == 0 && !w.follow) {
		w.done, w.at = append(slices.Clip(w.done), next), child
		return nil
	}
	return w.link(path.Join(w.name(), next), child)
}

// enter goes to a place on the way.
func (w *walker) enter(done []string) {
	w.done, w.at = done, w.mirror.root
	for _, elem := range done {
		w.at = w.at.inside[elem]
	}
}

// child returns what is called so in the directory at, or notes what would tell.
func (w *walker) child(name string) (*node, error) {
	dir := w.at
	if child := dir.inside[name]; child != nil {
		if child.mode.Type() == fs.ModeIrregular && child.err == nil {
			w.mirror.miss(path.Join(w.name(), name))
		}
		return child, child.unknown()
	}
	switch {
	case len(name) > maxName:
		return nil, syscall.ENAMETOOLONG
	case dir.err != nil:
		return nil, dir.err
	case dir.listed, dir.absent[name]:
		return nil, fs.ErrNotExist
	case dir.cut:
		w.mirror.miss(path.Join(w.name(), name))
		return nil, fs.ErrNotExist
	}
	w.mirror.miss(w.name())
	w.guess(name)
	return nil, fs.ErrNotExist
}

// unknown is the error of asking about a file of which nothing but the name is known.
func (n *node) unknown() error {
	switch {
	case n.mode.Type() != fs.ModeIrregular:
		return nil
	case n.err != nil:
		return n.err
	}
	return fs.ErrNotExist // for now: the guest is being asked
}

// maxGuess is how many directories are guessed ahead.
const maxGuess = 8

// guess notes the directories that would be asked for next, if they are such: those
// on the way from at to the last step of todo.
func (w *walker) guess(name string) {
	ahead := w.name()
	for _, elem := range w.todo[:min(len(w.todo), maxGuess)] {
		if name == ".." {
			return
		}
		ahead = path.Join(ahead, name)
		w.mirror.want(ahead)
		name = elem
	}
}

// link puts the target of a link before the steps that are left.
func (w *walker) link(name string, n *node) error {
	if w.links++; w.links > maxLinks {
		return syscall.ELOOP
	}
	switch {
	case n.err != nil:
		return n.err
	case !n.known:
		w.mirror.miss(name)
		return fs.ErrNotExist
	case n.target == "":
		return fs.ErrNotExist
	}
	if n.target[0] == '/' {
		w.enter(nil)
	}
	w.todo = append(strings.Split(n.target, "/"), w.todo...)
	return nil
}
