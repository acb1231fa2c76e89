package merge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"golang.org/x/sys/unix"
)

func mkfifo(at string) error { return unix.Mkfifo(at, 0o600) }

// files writes a tree of files, by their paths; a path with a slash at its end is a
// directory, content "-> x" a link to x.
func files(t *testing.T, all map[string]string) Tree {
	t.Helper()
	dir := t.TempDir()
	for name, content := range all {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = os.Symlink(target, at)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(at, 0o755)
		} else {
			err = os.WriteFile(at, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return Tree{Dir: dir}
}

func compare(t *testing.T, b, c, n Tree, o Options) *Plan {
	t.Helper()
	p, err := Compare(b, c, n, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func carry(t *testing.T, p *Plan, c, n Tree) {
	t.Helper()
	if err := errors.Join(p.Apply(c, n, nil), p.Verify(c, n, nil)); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, tree Tree, name, want string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tree.Dir, name))
	if want == "" && !errors.Is(err, os.ErrNotExist) || want != "" && string(data) != want {
		t.Errorf("%s holds %q (%v), want %q", name, data, err, want)
	}
}

// TestRules: what is decided without asking, and what is said of what is not.
func TestRules(t *testing.T) {
	b := files(t, map[string]string{"etc/machine-id": "", "etc/ssh/key": "same", "var/log/syslog": "", "var/cache/apt/pkgcache.bin": "1",
		"var/cache/debconf/config.dat": "1", "var/lib/dpkg/status": "1", "etc/passwd": "1", "etc/motd": "1", "tmp/x": "1", "etc/trace": "1"})
	c := files(t, map[string]string{"etc/machine-id": "c", "etc/ssh/key": "same", "var/log/syslog": "c", "var/cache/apt/pkgcache.bin": "c",
		"var/cache/debconf/config.dat": "c", "var/lib/dpkg/status": "c", "etc/passwd": "c", "etc/motd": "c", "tmp/x": "c", "etc/trace": "c"})
	n := files(t, map[string]string{"etc/machine-id": "n", "etc/ssh/key": "other", "var/log/syslog": "n", "var/cache/apt/pkgcache.bin": "n",
		"var/cache/debconf/config.dat": "n", "var/lib/dpkg/status": "n", "etc/passwd": "n", "etc/motd": "n", "tmp/x": "n", "etc/trace": "n"})
	o := Options{Own: []string{"etc/machine-id", "etc/ssh/key"}, Traces: []string{"etc/trace"}}
	p := compare(t, b, c, n, o)
	var conflicts, settled []string
	for _, c := range p.Report.Conflicts {
		why, _, _ := strings.Cut(c.Why, ":")
		conflicts = append(conflicts, c.Path+" "+why)
	}
	for _, s := range p.Report.Settled {
		settled = append(settled, s.Path+" "+string(s.Side))
	}
	if want := []string{"/etc/motd ", "/etc/passwd both changed accounts, and they cannot be merged", "/var/cache/debconf/config.dat a database of its own",
		"/var/lib/dpkg/status both installed, upgraded or removed packages"}; !slices.Equal(conflicts, want) {
		t.Errorf("conflicts %q, want %q", conflicts, want)
	}
	if want := []string{"/etc/machine-id clone", "/etc/ssh/key clone", "/etc/trace clone", "/var/cache/apt/pkgcache.bin template",
		"/var/log/syslog clone"}; !slices.Equal(settled, want) {
		t.Errorf("settled %q, want %q", settled, want)
	}
	if !p.Report.Open() {
		t.Error("conflicts that nobody decided are not open")
	}
	o.Take = clade.TemplateSide
	p = compare(t, b, c, n, o)
	if p.Report.Open() {
		t.Error("decided conflicts are open")
	}
	carry(t, p, c, n)
	for name, want := range map[string]string{"etc/machine-id": "c", "etc/ssh/key": "same", "var/log/syslog": "c", "etc/trace": "c",
		"var/cache/apt/pkgcache.bin": "n", "etc/motd": "n", "etc/passwd": "n", "tmp/x": "n"} {
		holds(t, n, name, want)
	}
}

// TestWholeDirectories: a directory that one side removed and the other changed is
// one conflict, and comes back whole.
func TestWholeDirectories(t *testing.T) {
	tree := func() map[string]string { return map[string]string{"srv/a": "1", "srv/d/b": "1", "opt/c": "1"} }
	b := files(t, tree())
	changed := tree()
	changed["srv/d/b"] = "2"
	changed["new/x/y"] = "3"
	c := files(t, changed)
	n := files(t, map[string]string{"opt/c": "1"})
	p := compare(t, b, c, n, Options{})
	if len(p.Report.Conflicts) != 1 || p.Report.Conflicts[0] != (clade.Conflict{Path: "/srv", Clone: "changed", Template: "removed"}) {
		t.Errorf("conflicts %+v", p.Report.Conflicts)
	}
	if got := p.Report.Clone; got.Adds != 3 || !slices.Equal(got.Added, []string{"/new/"}) {
		t.Errorf("the clone's changes: %+v, want a new directory of three", got)
	}
	if got := p.Report.Template; got.Removes != 4 {
		t.Errorf("the template's changes: %+v, want four removed", got)
	}
	p = compare(t, b, c, n, Options{Take: clade.CloneSide})
	carry(t, p, c, n)
	holds(t, n, "srv/d/b", "2")
	holds(t, n, "srv/a", "1")
	holds(t, n, "new/x/y", "3")
}

// TestNames: names of one file stay names of one file, old and new ones.
func TestNames(t *testing.T) {
	b := files(t, map[string]string{"kept": "long", "both": "1"})
	n := files(t, map[string]string{"kept": "long", "both": "1"})
	c := files(t, map[string]string{"kept": "long", "both": "2"})
	for name, of := range map[string]string{"other": "kept", "d-2": "both"} {
		if err := os.Link(filepath.Join(c.Dir, of), filepath.Join(c.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	carry(t, compare(t, b, c, n, Options{}), c, n)
	for name, of := range map[string]string{"other": "kept", "d-2": "both"} {
		x, err := os.Stat(filepath.Join(n.Dir, name))
		y, yerr := os.Stat(filepath.Join(n.Dir, of))
		if err != nil || yerr != nil || !os.SameFile(x, y) {
			t.Errorf("%s and %s are two files (%v, %v)", name, of, err, yerr)
		}
	}
}

// TestSparse: holes stay holes, and attributes and times are carried.
func TestSparse(t *testing.T) {
	b, c, n := files(t, nil), files(t, map[string]string{"big": ""}), files(t, nil)
	at := filepath.Join(c.Dir, "big")
	f, err := os.OpenFile(at, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, werr := f.WriteAt([]byte("in the middle"), 5<<30)
	if err := errors.Join(werr, f.Truncate(10<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	attr := unix.Setxattr(at, "user.clade", []byte("x\x00y"), 0)
	carry(t, compare(t, b, c, n, Options{Limit: 1 << 20}), c, n)
	var was, is unix.Stat_t
	if err := errors.Join(unix.Stat(at, &was), unix.Stat(filepath.Join(n.Dir, "big"), &is)); err != nil {
		t.Fatal(err)
	}
	if is.Size != was.Size || is.Blocks > 1024 || is.Mtim != was.Mtim {
		t.Errorf("%d bytes in %d blocks of %v; was %d in %d of %v", is.Size, is.Blocks, is.Mtim, was.Size, was.Blocks, was.Mtim)
	}
	if attr == nil { // not every file system has them
		value := make([]byte, 10)
		if k, err := unix.Getxattr(filepath.Join(n.Dir, "big"), "user.clade", value); err != nil || string(value[:k]) != "x\x00y" {
			t.Errorf("its attribute is %q, %v", value[:max(k, 0)], err)
		}
	}
}

// TestBounds: trees that are made to hold up whoever reads them are refused.
func TestBounds(t *testing.T) {
	empty := files(t, nil)
	deep := files(t, map[string]string{strings.Repeat("d/", maxDepth+2) + "x": "1"})
	if _, err := Compare(empty, deep, files(t, nil), Options{}); !errors.Is(err, clade.Unsupported) {
		t.Errorf("a tree %d deep: %v", maxDepth+2, err)
	}
	if _, err := Compare(empty, deep, deep, Options{}); !errors.Is(err, clade.Unsupported) {
		t.Errorf("two trees %d deep: %v", maxDepth+2, err)
	}
	long := strings.Repeat("x", 1<<20)
	one, other := files(t, map[string]string{"a": long}), files(t, map[string]string{"a": long})
	if _, err := Compare(one, other, other, Options{Limit: 1 << 19}); !errors.Is(err, clade.Unsupported) {
		t.Errorf("more content than the limit: %v", err)
	}
	for name, want := range map[string]string{"etc/motd": "/etc/motd", "a\nb": `"/a\nb"`, "\x1b[2J": `"/\x1b[2J"`, "\xff": `"/\xff"`} {
		if got := shown(name); got != want {
			t.Errorf("%q is shown as %s, want %s", name, got, want)
		}
	}
	if got := shown(strings.Repeat("y", 5000)); len(got) > maxShown+3 {
		t.Errorf("a long path is shown in %d bytes", len(got))
	}
}

// TestAstray: links that lead out of the trees, and pipes, are carried as they are.
func TestAstray(t *testing.T) {
	outside := t.TempDir()
	target := filepath.Join(outside, "victim")
	if err := os.WriteFile(target, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := files(t, map[string]string{"etc/": "", "etc/x": "1"})
	c := files(t, map[string]string{"etc/": "", "etc/x": "-> " + target, "out": "-> " + outside, "up": "-> ../../../../etc"})
	n := files(t, map[string]string{"etc": "-> " + outside})
	p := compare(t, b, c, n, Options{Take: clade.CloneSide})
	carry(t, p, c, n)
	holds(t, Tree{Dir: outside}, "victim", "whole")
	if got, err := os.Readlink(filepath.Join(n.Dir, "etc/x")); err != nil || got != target {
		t.Errorf("the link leads to %q, %v", got, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
	if _, err := os.Stat(fmt.Sprintf("%s/up", n.Dir)); err != nil {
		t.Error(err)
	}
}
