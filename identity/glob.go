package identity

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/clade-vm/clade/rootfs"
)

// A globbing finds in a cache what rootfs.Glob finds in the file system itself. It
// goes down the listings, so that a pattern whose first directory is not there,
// which is most of them, ends with one look into a map.
type globbing struct {
	c      *cache
	limit  int
	found  []string
	strays bool // the listings do not tell: the file system must be asked
}

// glob returns the names that pattern matches below the directory of the name dir:
// see rootfs.Glob.
func glob(fsys fs.FS, dir, pattern string, limit int) ([]string, error) {
	if c, ok := fsys.(*cache); ok {
		g := globbing{c: c, limit: limit}
		if g.in(c.dir(dir), dir, pattern); !g.strays {
			slices.Sort(g.found)
			return g.found, nil
		}
	}
	if dir != "." {
		pattern = literal(dir) + "/" + pattern
	}
	return rootfs.Glob(fsys, pattern, limit)
}

// in finds the matches of pattern in the listing of the directory dir.
func (g *globbing) in(l *listing, dir, pattern string) {
	if l.err != nil || g.strays {
		return
	}
	if l.names == nil {
		g.strays = true
		return
	}
	part, rest, more := strings.Cut(pattern, "/")
	wild := strings.IndexAny(part, `*?[\`)
	if wild < 0 {
		if e, ok := l.names[part]; ok {
			g.entry(l, dir, e, rest, more)
		}
		return
	}
	first, _ := slices.BinarySearchFunc(l.list, part[:wild], func(e fs.DirEntry, name string) int { return strings.Compare(e.Name(), name) })
	for _, e := range l.list[first:] {
		if !strings.HasPrefix(e.Name(), part[:wild]) {
			return
		}
		if ok, err := path.Match(part, e.Name()); err != nil {
			g.strays = true // it says what is wrong with the pattern
			return
		} else if ok {
			g.entry(l, dir, e, rest, more)
		}
	}
}

// entry takes an entry of the listing of dir, or goes on below it.
func (g *globbing) entry(l *listing, dir string, e fs.DirEntry, rest string, more bool) {
	switch {
	case !more && len(g.found) == g.limit:
		g.strays = true // it says that there are more
	case !more:
		g.found = append(g.found, below(dir, e.Name()))
	case e.IsDir():
		g.in(g.c.sub(l, dir, e.Name()), below(dir, e.Name()), rest)
	case e.Type()&fs.ModeSymlink != 0:
		name := below(dir, e.Name())
		g.in(g.c.dir(name), name, rest)
	}
}

// sub returns the listing of a directory that stands in the listing l of dir.
func (c *cache) sub(l *listing, dir, name string) *listing {
	if known, ok := l.subs[name]; ok {
		return known
	}
	if l.subs == nil {
		l.subs = map[string]*listing{}
	}
	l.subs[name] = c.dir(below(dir, name))
	return l.subs[name]
}

// below is the name of what stands in dir, which is clean.
func below(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
