package identity

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"syscall"
	"time"

	"github.com/clade-vm/clade/rootfs"
)

// The bounds of a cache. What is beyond them is read from the guest each time.
const (
	maxCachedDir = 2048    // entries of one directory
	maxCached    = 1 << 17 // entries of all directories
)

// A cache is a guest's files for the time of one reading: it reads each directory
// once, and answers from what it read where names are not there. Most marks ask
// for files that most guests do not have; each such question is then a look into
// a map.
//
// It tells nothing else than the file system would: of links, and of directories
// that are huge or cannot be read, it asks the file system itself.
type cache struct {
	fs.FS
	dirs    map[string]*listing
	entries int // in all of dirs

	homes homeList
}

// A listing is one directory as it was read: its entries, or the reason that there
// are none.
type listing struct {
	names map[string]fs.DirEntry // nil: ask the file system
	list  []fs.DirEntry          // the same, sorted
	subs  map[string]*listing    // of those directories in it that were asked for
	err   error                  // no such directory
}

func newCache(fsys fs.FS) *cache {
	if c, ok := fsys.(*cache); ok {
		return c
	}
	return &cache{FS: fsys, dirs: map[string]*listing{}}
}

// dir returns the listing of the directory of that name, links to it followed.
func (c *cache) dir(name string) *listing {
	if l, ok := c.dirs[name]; ok {
		return l
	}
	l := c.read(name)
	c.dirs[name] = l
	return l
}

func (c *cache) read(name string) *listing {
	if e, err := c.entry(name); err != nil {
		return &listing{err: err}
	} else if e != nil && !e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
		return &listing{err: syscall.ENOTDIR}
	}
	if c.entries >= maxCached {
		return &listing{}
	}
	list, err := rootfs.ReadDir(c.FS, name, maxCachedDir)
	if rootfs.Absent(err) {
		return &listing{err: err}
	}
	if err != nil {
		return &listing{}
	}
	c.entries += len(list)
	l := &listing{names: make(map[string]fs.DirEntry, len(list)), list: list}
	for _, e := range list {
		l.names[e.Name()] = e
	}
	return l
}

// entry returns the entry of that name. It is nil where the file system must be
// asked, and an error for which rootfs.Absent is true where there is none.
func (c *cache) entry(name string) (fs.DirEntry, error) {
	if name == "." {
		return nil, nil
	}
	l := c.dir(path.Dir(name))
	if l.err != nil || l.names == nil {
		return nil, l.err
	}
	e, ok := l.names[path.Base(name)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return e, nil
}

// Lstat describes the file of that name, which may be a link.
func (c *cache) Lstat(name string) (fs.FileInfo, error) {
	e, err := c.entry(name)
	if err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	if e == nil {
		return fs.Lstat(c.FS, name)
	}
	return e.Info()
}

// Stat describes the file that name leads to.
func (c *cache) Stat(name string) (fs.FileInfo, error) {
	e, err := c.entry(name)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if e == nil || e.Type()&fs.ModeSymlink != 0 {
		return fs.Stat(c.FS, name)
	}
	return e.Info()
}

// ReadLink returns the target of the link of that name.
func (c *cache) ReadLink(name string) (string, error) {
	if _, err := c.entry(name); err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return fs.ReadLink(c.FS, name)
}

// Open opens a file of the guest, or the listing of a directory.
func (c *cache) Open(name string) (fs.File, error) {
	e, err := c.entry(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if e != nil && e.IsDir() {
		if l := c.dir(name); l.names != nil {
			return &openListing{name: path.Base(name), rest: l.list}, nil
		}
	}
	return c.FS.Open(name)
}

// ReadUpTo is that of rootfs.LimitedFS: what the file system itself reads best.
func (c *cache) ReadUpTo(name string, limit int64) ([]byte, error) {
	e, err := c.entry(name)
	if err == nil && e != nil && e.IsDir() {
		err = rootfs.ErrSpecial
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return rootfs.ReadFile(c.FS, name, limit)
}

// homeDirs returns the homes that are there: most users in /etc/passwd have none.
func (c *cache) homeDirs() ([]string, error) {
	return c.homes.of(func() (there []string, err error) {
		all, err := homes(c)
		for _, home := range all {
			if l := c.dir(home); l.err == nil {
				there = append(there, home)
			}
		}
		return there, err
	})
}

// An openListing is an open directory of a cache.
type openListing struct {
	name string
	rest []fs.DirEntry
}

func (o *openListing) Stat() (fs.FileInfo, error) { return listingInfo(o.name), nil }
func (o *openListing) Close() error               { return nil }
func (o *openListing) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.name, Err: errors.ErrUnsupported}
}

// ReadDir is that of fs.ReadDirFile.
func (o *openListing) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(o.rest)
	} else if len(o.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(o.rest))
	out := o.rest[:n:n]
	o.rest = o.rest[n:]
	return out, nil
}

// A listingInfo says of a listing that it is a directory, which is all that its
// readers ask.
type listingInfo string

func (i listingInfo) Name() string     { return string(i) }
func (listingInfo) Size() int64        { return 0 }
func (listingInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (listingInfo) ModTime() time.Time { return time.Time{} }
func (listingInfo) IsDir() bool        { return true }
func (listingInfo) Sys() any           { return nil }
