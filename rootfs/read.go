package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// A LimitedFS has a way of its own to do what ReadFile does.
type LimitedFS interface {
	fs.FS
	ReadUpTo(name string, limit int64) ([]byte, error)
}

// A direct file system asks the kernel itself: a Tree or a Still. errUnsure is for what
// it cannot ask.
type direct interface {
	content(name string, limit int64) ([]byte, error)
	each(name string, fn func(fs.DirEntry) error) error
	did(op, name string, err error) error
}

// ReadFile returns the content of a regular file of at most limit bytes. A larger
// one is ErrLimit, together with its first limit bytes.
func ReadFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	if t, ok := fsys.(direct); ok && valid(name) {
		if data, err := t.content(name, limit); err != errUnsure {
			return data, t.did("read", name, err)
		}
	}
	if c, ok := fsys.(LimitedFS); ok {
		return c.ReadUpTo(name, limit)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: ErrSpecial}
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	if int64(len(data)) > limit {
		return data[:limit], &fs.PathError{Op: "read", Path: name, Err: ErrLimit}
	}
	return data, nil
}

// ReadDir returns the entries of a directory by name. More than limit of them are
// ErrLimit, together with limit of them.
func ReadDir(fsys fs.FS, name string, limit int) ([]fs.DirEntry, error) {
	var entries []fs.DirEntry
	err := eachEntry(fsys, name, func(e fs.DirEntry) error {
		if len(entries) == limit {
			return &fs.PathError{Op: "readdir", Path: name, Err: ErrLimit}
		}
		entries = append(entries, e)
		return nil
	})
	sortEntries(entries)
	return entries, err
}

// batch is how many entries of a directory are held at a time.
const batch = 1024

// eachEntry calls fn for every entry of a directory, in the directory's order,
// and stops at its first error. What is no directory is ENOTDIR.
func eachEntry(fsys fs.FS, name string, fn func(fs.DirEntry) error) error {
	if t, ok := fsys.(direct); ok && valid(name) {
		if err := t.each(name, fn); err != errUnsure {
			return err
		}
	}
	f, err := fsys.Open(name)
	if errors.Is(err, ErrSpecial) {
		return &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	dir, ok := f.(fs.ReadDirFile)
	if !ok || !fi.IsDir() {
		return &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTDIR}
	}
	for {
		entries, err := dir.ReadDir(batch)
		for _, e := range entries {
			if err := fn(e); err != nil {
				return err
			}
		}
		if err == io.EOF || (err == nil && len(entries) == 0) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// maxDepth is how deep Walk goes below its start.
const maxDepth = 128

// Walk calls fn for everything below the directory root, parents first, in the
// directories' own order; it follows no links below root and holds no more than
// a small part of a directory in memory. fn may remove what it is shown.
//
// After limit entries, or 128 directories down, it is ErrLimit. It ends at the
// first error, fn's too; fs.SkipDir from fn for a directory passes it by.
func Walk(fsys fs.FS, root string, limit int, fn func(name string, e fs.DirEntry) error) error {
	seen := 0
	var down func(dir string, depth int) error
	down = func(dir string, depth int) error {
		if depth > maxDepth {
			return &fs.PathError{Op: "walk", Path: root, Err: ErrLimit}
		}
		return eachEntry(fsys, dir, func(e fs.DirEntry) error {
			if seen++; seen > limit {
				return &fs.PathError{Op: "walk", Path: root, Err: ErrLimit}
			}
			name := path.Join(dir, e.Name())
			err := fn(name, e)
			if err == fs.SkipDir && e.IsDir() {
				return nil
			}
			if err != nil || !e.IsDir() {
				return err
			}
			return down(name, depth+1)
		})
	}
	return down(root, 0)
}

// maxScan is how many entries one Glob looks at, over all its directories.
const maxScan = 1 << 20

// Glob returns the names that match pattern, sorted: each part between slashes is
// a pattern of path.Match, and "*" also matches names that begin with a dot.
// Links to directories are followed on the way, a link in the last place is named
// as it is.
//
// More than limit matches are ErrLimit, together with limit of them. Unlike
// fs.Glob it returns the errors of reading: a directory that cannot be read may
// hold a match.
func Glob(fsys fs.FS, pattern string, limit int) ([]string, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, &fs.PathError{Op: "glob", Path: pattern, Err: err}
	}
	g := glob{fsys: fsys, pattern: pattern, limit: limit}
	err := g.in(".", strings.Split(pattern, "/"))
	slices.Sort(g.found)
	return g.found, err
}

type glob struct {
	fsys    fs.FS
	pattern string
	limit   int
	scanned int
	found   []string
}

// in finds the matches of parts below dir.
func (g *glob) in(dir string, parts []string) error {
	part, rest := parts[0], parts[1:]
	wild := strings.IndexAny(part, `*?[\`)
	if wild < 0 {
		return g.at(path.Join(dir, part), rest)
	}
	err := eachEntry(g.fsys, dir, func(e fs.DirEntry) error {
		if g.scanned++; g.scanned > maxScan {
			return &fs.PathError{Op: "glob", Path: g.pattern, Err: ErrLimit}
		}
		if !strings.HasPrefix(e.Name(), part[:wild]) { // most names of a large directory
			return nil
		}
		if ok, _ := path.Match(part, e.Name()); !ok {
			return nil
		}
		if len(rest) > 0 && !e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		if len(rest) == 0 {
			return g.take(path.Join(dir, e.Name()))
		}
		return g.in(path.Join(dir, e.Name()), rest)
	})
	if Absent(err) {
		return nil
	}
	return err
}

// at goes on below name, or takes it where nothing is left of the pattern and it
// is there.
func (g *glob) at(name string, rest []string) error {
	if len(rest) > 0 {
		return g.in(name, rest)
	}
	_, err := fs.Lstat(g.fsys, name)
	if Absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return g.take(name)
}

func (g *glob) take(name string) error {
	if len(g.found) == g.limit {
		return &fs.PathError{Op: "glob", Path: g.pattern, Err: ErrLimit}
	}
	g.found = append(g.found, name)
	return nil
}
