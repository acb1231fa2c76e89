package live

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"
)

// A double is a mirror as files in a directory of the host, for what erases marks
// from such. The directory is private, and all in it is the caller's own.
type double struct {
	dir    string
	root   *os.Root
	unread string                 // the name of the file that links lead to whose target is not known
	made   map[string]os.FileInfo // what was made of regular files
}

// newDouble writes m into a new directory. The caller removes it.
func newDouble(m *mirror) (_ *double, err error) {
	dir, err := os.MkdirTemp("", "clade-mend-*")
	if err != nil {
		return nil, err
	}
	d := &double{dir: dir, unread: ".clade-" + rand.Text(), made: map[string]os.FileInfo{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.remove())
		}
	}()
	if d.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	if err := d.writeFile(d.unread, []byte{0}); err != nil {
		return nil, err
	}
	return d, d.fill(".", m.root)
}

// remove removes the directory. It may be called twice.
func (d *double) remove() error {
	if d.root != nil {
		d.root.Close()
	}
	return os.RemoveAll(d.dir)
}

// fill writes what is in n to the directory of that name.
func (d *double) fill(dir string, n *node) error {
	for _, base := range n.names() {
		child, name := n.inside[base], path.Join(dir, base)
		var err error
		switch {
		case child.mode.IsDir():
			if err = d.root.Mkdir(name, 0o700); err == nil {
				err = d.fill(name, child)
			}
		case child.mode.IsRegular():
			err = d.writeFile(name, child.content())
		case child.mode.Type() == fs.ModeSymlink:
			err = d.root.Symlink(d.target(child), name)
		default: // a pipe stands for all that is never opened
			err = syscall.Mkfifo(filepath.Join(d.dir, name), 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// content is what stands for the file's content where that is not known: something.
func (n *node) content() []byte {
	if !n.known && n.size > 0 {
		return []byte{0}
	}
	return n.data
}

func (d *double) target(n *node) string {
	if !n.known || n.target == "" {
		return "/" + d.unread
	}
	return n.target
}

func (d *double) writeFile(name string, data []byte) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := d.root.Chtimes(name, long, long); err != nil {
		return err
	}
	d.made[name], err = f.Stat()
	return err
}

// long is the time of what nobody has touched since it was made. The number of an
// inode alone does not tell: a new file may get that of one that was removed.
var long = time.Unix(1, 0)
