package live

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clade-vm/clade/rootfs"
)

// A mirror is what is known of a guest's files, as a file system. It is asked like
// any other; what it does not know it notes and, for now, takes to be absent or
// empty. So its answers count only when it has noted nothing: see settle.
//
// It resolves names as the guest does, and never hands out what is no regular file
// or directory. It is not safe for concurrent use.
type mirror struct {
	agent   Agent
	root    *node
	missing map[string]bool // what is noted
	entries int             // how many files are known by name
	bytes   int             // of the guest's answers
}

var (
	_ fs.StatFS     = (*mirror)(nil)
	_ fs.ReadDirFS  = (*mirror)(nil)
	_ fs.ReadLinkFS = (*mirror)(nil)
)

// A node is one file of the guest.
type node struct {
	mode   fs.FileMode // ModeIrregular while nothing but the name is known
	size   int64
	mtime  time.Time
	device uint64
	asked  int   // how often the guest was asked for what is not known
	err    error // why it cannot be known

	known  bool   // target or data, which are all that there is of a link or a file
	target string // of a link
	data   []byte // of a regular file, its first maxFile+1 bytes

	listed  bool // children are all there are
	cut     bool // or, of a huge directory, the first of them
	inside  map[string]*node
	ordered []string // their names, once they are sorted
	absent  map[string]bool
}

// hidden are the directories that a boot makes.
var hidden = []string{"dev", "proc", "run", "sys"}

func newMirror(g Agent) *mirror {
	return &mirror{agent: g, root: &node{mode: fs.ModeDir | 0o755}, missing: map[string]bool{}}
}

// want notes names that will probably be asked for.
func (m *mirror) want(names ...string) {
	for _, name := range names {
		if n := m.at(name); valid(name) && (n == nil || !n.complete()) && !isHidden(name) {
			m.miss(name)
		}
	}
}

// miss notes that more is asked for of the file of that name, which is one without
// links.
func (m *mirror) miss(name string) { m.missing[name] = true }

// at returns the node of that name, without following links; nil if there is none.
func (m *mirror) at(name string) *node {
	n := m.root
	if name == "." {
		return n
	}
	for elem := range strings.SplitSeq(name, "/") {
		if n = n.inside[elem]; n == nil {
			return nil
		}
	}
	return n
}

// complete reports whether all is known of n that can be.
func (n *node) complete() bool {
	switch {
	case n.err != nil:
		return true
	case n.mode.IsDir():
		return n.listed || n.cut
	case n.mode.IsRegular() || n.mode.Type() == fs.ModeSymlink:
		return n.known
	}
	return n.mode.Type() != fs.ModeIrregular
}

// names returns the names in a directory in their order.
func (n *node) names() []string {
	if len(n.ordered) != len(n.inside) {
		n.ordered = slices.Sorted(maps.Keys(n.inside))
	}
	return n.ordered
}

func isHidden(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return slices.Contains(hidden, top)
}

// Open opens a regular file or a directory.
func (m *mirror) Open(name string) (fs.File, error) {
	real, n, err := m.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() && !n.mode.IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: rootfs.ErrSpecial}
	}
	if n.err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: n.err}
	}
	if !n.complete() {
		m.miss(real)
	}
	for base, child := range n.inside {
		if child.mode.Type() == fs.ModeIrregular && child.err == nil {
			m.miss(path.Join(real, base))
		}
	}
	return newFile(path.Base(name), n), nil
}

// Stat describes the file that name leads to, links followed.
func (m *mirror) Stat(name string) (fs.FileInfo, error) { return m.stat("stat", name, true) }

// Lstat describes the file of that name, which may be a link.
func (m *mirror) Lstat(name string) (fs.FileInfo, error) { return m.stat("lstat", name, false) }

func (m *mirror) stat(op, name string, follow bool) (fs.FileInfo, error) {
	_, n, err := m.resolve(op, name, follow)
	if err != nil {
		return nil, err
	}
	return info{node: n, name: path.Base(name)}, nil
}

// ReadLink returns the target of the link of that name, as it is written.
func (m *mirror) ReadLink(name string) (string, error) {
	real, n, err := m.resolve("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: syscall.EINVAL}
	}
	switch {
	case n.err != nil:
		return "", &fs.PathError{Op: "readlink", Path: name, Err: n.err}
	case !n.known:
		m.miss(real)
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrNotExist}
	}
	return n.target, nil
}

// ReadDir returns the entries of a directory by name.
func (m *mirror) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := m.Open(name)
	if err != nil {
		return nil, err
	}
	dir, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTDIR}
	}
	return dir.ReadDir(-1)
}

// valid reports whether name is one that a rootfs.Tree takes.
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
