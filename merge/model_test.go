package merge

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// A node is what the model says of one name: a file, a link or a directory.
type node struct {
	mode os.FileMode
	text string           // content, or a link's target
	dir  map[string]*node // nil for what is no directory
}

func (n *node) String() string {
	if n == nil {
		return "-"
	}
	if n.dir == nil {
		return fmt.Sprintf("%v %q", n.mode, n.text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v {", n.mode)
	for _, name := range slices.Sorted(maps.Keys(n.dir)) {
		fmt.Fprintf(&b, "%q: %v, ", name, n.dir[name])
	}
	return b.String() + "}"
}

func (n *node) copy() *node {
	if n == nil {
		return nil
	}
	c := *n
	if n.dir != nil {
		c.dir = map[string]*node{}
		for name, below := range n.dir {
			c.dir[name] = below.copy()
		}
	}
	return &c
}

// names are what files are called in the model, some as a hostile guest would.
var names = []string{"a", "b", "c c", "..d", "\x1b[2J", "new\nline", "\xff\xfe", "-rf"}

func grown(r *rand.Rand, depth int) *node {
	switch k := r.IntN(10); {
	case k < 4 && depth > 0:
		n := &node{mode: os.ModeDir | 0o755, dir: map[string]*node{}}
		if r.IntN(4) == 0 {
			n.mode = os.ModeDir | 0o2750
		}
		for range r.IntN(5) {
			n.dir[names[r.IntN(len(names))]] = grown(r, depth-1)
		}
		return n
	case k == 4:
		return &node{mode: os.ModeSymlink, text: []string{"/", "../../../etc", "a", "/dev/null"}[r.IntN(4)]}
	case k == 5:
		return &node{mode: os.ModeNamedPipe | 0o600}
	}
	return &node{mode: []os.FileMode{0o644, 0o4755, 0o600}[r.IntN(3)], text: []string{"", "one", "two", "three"}[r.IntN(4)]}
}

// changed returns a tree with some of its names made anew or taken away.
func changed(r *rand.Rand, n *node, depth int) *node {
	n = n.copy()
	for _, name := range names {
		switch k := r.IntN(12); {
		case k == 0:
			delete(n.dir, name)
		case k == 1:
			n.dir[name] = grown(r, depth)
		case k < 5 && n.dir[name] != nil && n.dir[name].dir != nil:
			n.dir[name] = changed(r, n.dir[name], depth-1)
		case k == 5 && n.dir[name] != nil && n.dir[name].dir != nil:
			n.dir[name].mode ^= 0o011
		}
	}
	return n
}

// merged is what a merge must come to.
func merged(b, c, t *node, take clade.Side, conflicts *int) *node {
	if c != nil && t != nil && c.dir != nil && t.dir != nil {
		m := &node{mode: t.mode, dir: map[string]*node{}}
		old := &node{}
		if b != nil && b.dir != nil {
			old = b
		}
		if c.mode != t.mode && c.mode != old.mode {
			if old.mode != t.mode {
				*conflicts++
			}
			if old.mode == t.mode || take == clade.CloneSide {
				m.mode = c.mode
			}
		}
		for _, name := range names {
			if below := merged(old.dir[name], c.dir[name], t.dir[name], take, conflicts); below != nil {
				m.dir[name] = below
			}
		}
		return m
	}
	bs, cs, ts := b.String(), c.String(), t.String()
	switch {
	case bs == cs || cs == ts:
		return t
	case bs == ts:
		return c
	}
	*conflicts++
	if take == clade.CloneSide {
		return c
	}
	return t
}

func write(t *testing.T, at string, n *node) {
	t.Helper()
	var err error
	switch {
	case n.dir != nil:
		if err = os.Mkdir(at, 0o700); os.IsExist(err) {
			err = nil
		}
		for name, below := range n.dir {
			write(t, filepath.Join(at, name), below)
		}
	case n.mode&os.ModeSymlink != 0:
		err = os.Symlink(n.text, at)
	case n.mode&os.ModeNamedPipe != 0:
		err = mkfifo(at)
	default:
		err = os.WriteFile(at, []byte(n.text), 0o600)
	}
	if err == nil && n.mode&os.ModeSymlink == 0 {
		err = os.Chmod(at, (n.mode&0o777)|special(n.mode))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// special turns the plain bits of the model into those of the os package.
func special(mode os.FileMode) (s os.FileMode) {
	if mode&0o4000 != 0 {
		s |= os.ModeSetuid
	}
	if mode&0o2000 != 0 {
		s |= os.ModeSetgid
	}
	return s
}

func read(t *testing.T, at string) *node {
	t.Helper()
	fi, err := os.Lstat(at)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{mode: fi.Mode() & (os.ModeType | 0o777)}
	if fi.Mode()&os.ModeSetuid != 0 {
		n.mode |= 0o4000
	}
	if fi.Mode()&os.ModeSetgid != 0 {
		n.mode |= 0o2000
	}
	switch {
	case fi.IsDir():
		n.dir = map[string]*node{}
		entries, err := os.ReadDir(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			n.dir[e.Name()] = read(t, filepath.Join(at, e.Name()))
		}
	case fi.Mode()&os.ModeSymlink != 0:
		n.mode = os.ModeSymlink
		n.text, err = os.Readlink(at)
	case fi.Mode().IsRegular():
		var data []byte
		data, err = os.ReadFile(at)
		n.text = string(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestModel merges random trees, and compares what comes of it with a model that
// knows of no files.
func TestModel(t *testing.T) {
	runs := uint64(80)
	if testing.Short() {
		runs = 20
	}
	for seed := range runs {
		r := rand.New(rand.NewPCG(seed, 7))
		b := &node{mode: os.ModeDir | 0o755, dir: map[string]*node{}}
		for _, name := range names {
			if r.IntN(3) > 0 {
				b.dir[name] = grown(r, 3)
			}
		}
		c, n := changed(r, b, 3), changed(r, b, 3)
		take := []clade.Side{clade.CloneSide, clade.TemplateSide}[seed%2]
		conflicts := 0
		want := merged(b, c, n, take, &conflicts)
		trees := plant(t, b, c, n)
		p, err := Compare(trees[0], trees[1], trees[2], Options{Take: take})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if p.Report.Conflict != conflicts {
			t.Errorf("seed %d: %d conflicts, want %d: %+v", seed, p.Report.Conflict, conflicts, p.Report.Conflicts)
		}
		if got := read(t, trees[2].Dir); got.String() != n.String() {
			t.Fatalf("seed %d: comparing wrote %v", seed, got)
		}
		if err := p.Apply(trees[1], trees[2], nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got := read(t, trees[2].Dir); got.String() != want.String() {
			t.Fatalf("seed %d: from %v\nclone %v\nnew  %v\ncame %v\nwant %v", seed, b, c, n, got, want)
		}
		if err := p.Verify(trees[1], trees[2], nil); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if got := read(t, trees[1].Dir); got.String() != c.String() {
			t.Errorf("seed %d: the clone is %v, was %v", seed, got, c)
		}
	}
}

// plant writes trees to directories.
func plant(t *testing.T, nodes ...*node) (trees []Tree) {
	t.Helper()
	for _, n := range nodes {
		dir := t.TempDir()
		write(t, dir, n)
		trees = append(trees, Tree{Dir: dir})
	}
	return trees
}
