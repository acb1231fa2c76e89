package rootfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade/rootfs"
)

// A forest is what a guest can be made of: names and what lies there. A value
// that begins with "->" is a link, "/" a directory, "|" a named pipe, all else
// the content of a file.
type forest map[string]string

// plant makes f in a new directory and returns it. The order does not matter.
func plant(t testing.TB, f forest) string {
	t.Helper()
	dir := t.TempDir()
	for name, what := range f {
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch {
		case err != nil:
		case what == "/":
			err = os.MkdirAll(at, 0o755)
		case what == "|":
			err = syscall.Mkfifo(at, 0o644)
		case strings.HasPrefix(what, "->"):
			err = os.Symlink(what[2:], at)
		default:
			err = os.WriteFile(at, []byte(what), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t testing.TB, dir string) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// where is how both sides say where a path ends: the inode, or the error.
func where(st *unix.Stat_t, err error) string {
	if err != nil {
		return errName(err)
	}
	return fmt.Sprintf("inode %d:%d", st.Dev, st.Ino)
}

func errName(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	case errors.Is(err, fs.ErrNotExist):
		return "ENOENT"
	}
	return err.Error()
}

// byKernel resolves path below dir with openat2(RESOLVE_IN_ROOT), which is the
// kernel's path walk with dir for a root, and needs no privilege.
func byKernel(t testing.TB, dir, path string, follow bool) string {
	t.Helper()
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat2(root, path, &how)
	if err != nil {
		return where(nil, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return where(&st, unix.Fstat(fd, &st))
}

// byTree resolves path through the tree: by Resolve and Lstat of the result where
// links are followed, by Lstat alone where they are not.
func byTree(tree *rootfs.Tree, path string, follow bool) string {
	name := path
	if follow {
		var err error
		if name, err = tree.Resolve(path); err != nil {
			return where(nil, err)
		}
	}
	fi, err := tree.Lstat(name)
	if err != nil {
		return where(nil, err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	return where(&unix.Stat_t{Dev: st.Dev, Ino: st.Ino}, nil)
}

// tricky is every way of a link that has misled a resolver before.
var tricky = forest{
	"etc/hostname":      "web",
	"etc/abs":           "->/etc/hostname",
	"etc/rel":           "->hostname",
	"etc/up":            "->../etc/hostname",
	"etc/far":           "->../../../../../../etc/hostname",
	"etc/host":          "->/../../../../etc/passwd",
	"etc/slash":         "->hostname/",
	"etc/dot":           "->hostname/.",
	"etc/through":       "->hostname/../hostname",
	"etc/dirslash":      "->/usr/lib//",
	"etc/dangling":      "->/not/there",
	"etc/near":          "->nothing",
	"etc/self":          "->self",
	"etc/ping":          "->pong",
	"etc/pong":          "->/etc/ping",
	"etc/root":          "->/",
	"etc/dots":          "->..",
	"etc/chain":         "->/etc/abs",
	"lib":               "->usr/lib",
	"usr/lib/os":        "->/etc/../lib/release",
	"usr/lib/release":   "12",
	"usr/lib/back":      "->../../lib/back2/../release",
	"usr/lib/back2":     "->/usr",
	"var/run":           "->/run",
	"run/pipe":          "|",
	"loop/a":            "->/loop/b/x",
	"loop/b":            "->a",
	"deep/a/b/c/d/e":    "->../../../../../../../../../../../deep/a/b/f",
	"deep/a/b/f":        "f",
	"new\nline/\x1b[2J": "->/etc/hostname",
}

var paths = []string{
	"etc/hostname", "etc/abs", "etc/rel", "etc/up", "etc/far", "etc/host", "etc/slash", "etc/dot", "etc/through",
	"etc/dirslash", "etc/dirslash/release", "etc/dangling", "etc/near", "etc/self", "etc/self/x", "etc/ping",
	"etc/root", "etc/root/etc/abs", "etc/dots", "etc/dots/etc/dots/etc/hostname", "etc/chain", "lib", "lib/os",
	"lib/back", "lib/back2/lib/os", "var/run", "var/run/pipe", "loop/a", "loop/b", "deep/a/b/c/d/e", "new\nline/\x1b[2J",
	"etc/hostname/x", "etc/abs/x", "not/there", "etc/nothing", ".", strings.Repeat("n", 300),
}

// guestPaths are those that are no names: only Resolve takes them.
var guestPaths = []string{
	"/etc/abs", "/", "..", "/../../etc/abs", "etc/..", "etc/../etc/abs", "etc/abs/..", "etc/abs/.", "etc/hostname/",
	"etc/root/..", "lib/..", "lib/../lib/os", "lib/back2/..", "etc/dots/..", "/etc//abs", "etc/dangling/..", "etc/self/..",
}

func TestResolveAsTheKernel(t *testing.T) {
	f := forest{}
	for name, what := range tricky {
		f[name] = what
	}
	for i := range 45 { // n0 is 45 links from the end, n5 forty
		f[fmt.Sprintf("n%d", i)] = fmt.Sprintf("->/n%d", i+1)
	}
	f["n45"] = "end"
	all := append([]string{"n0", "n4", "n5", "n6", "n44", "n45"}, paths...)
	dir := plant(t, f)
	tree := rootfs.Alone(open(t, dir))
	for _, follow := range []bool{true, false} {
		for _, p := range all {
			if got, want := byTree(tree, p, follow), byKernel(t, dir, p, follow); got != want {
				t.Errorf("%q (links followed: %v) = %s, the kernel says %s", p, follow, got, want)
			}
		}
	}
	for _, p := range guestPaths {
		if got, want := byTree(tree, p, true), byKernel(t, dir, p, true); got != want {
			t.Errorf("Resolve(%q) = %s, the kernel says %s", p, got, want)
		}
	}
}

// told is all that a tree tells of a name, by every way of asking.
func told(tree *rootfs.Tree, name string) string {
	var b strings.Builder
	for _, stat := range []func(string) (fs.FileInfo, error){tree.Stat, tree.Lstat} {
		fi, err := stat(name)
		if err != nil {
			fmt.Fprintf(&b, "%s; ", errName(err))
			continue
		}
		fmt.Fprintf(&b, "%s %v %d %v %d; ", fi.Name(), fi.Mode(), fi.Size(), fi.ModTime(), fi.Sys().(*syscall.Stat_t).Ino)
	}
	target, err := tree.ReadLink(name)
	fmt.Fprintf(&b, "%q %s; ", target, said(err))
	data, err := rootfs.ReadFile(tree, name, 100)
	fmt.Fprintf(&b, "%q %s; ", data, said(err))
	entries, err := tree.ReadDir(name)
	for _, e := range entries {
		fi, err := e.Info()
		fmt.Fprintf(&b, "%v %v %s ", e, fi.Mode(), said(err))
	}
	fmt.Fprint(&b, said(err))
	return b.String()
}

func said(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the operation may be another
	}
	if err == nil {
		return "ok"
	}
	return errName(err)
}

// TestBothResolvers asks the kernel's resolver and ours the same.
func TestBothResolvers(t *testing.T) {
	dir := plant(t, tricky)
	tree, alone := open(t, dir), rootfs.Alone(open(t, dir))
	if err := os.Chmod(filepath.Join(dir, "usr/lib/release"), 0o604|fs.ModeSetgid|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if got, want := told(tree, p), told(alone, p); got != want {
			t.Errorf("%q by the kernel\n%s\nby ours\n%s", p, got, want)
		}
	}
}

// randomForest is a forest of files, directories and links that lead anywhere,
// and some paths into it; the same for the same seed.
func randomForest(seed uint64) (forest, []string) {
	r := rand.New(rand.NewPCG(seed, 1))
	names := []string{"a", "b", "c", "d"}
	pick := func() string { return names[r.IntN(len(names))] }
	route := func(parts []string) string {
		var out []string
		for range 1 + r.IntN(5) {
			out = append(out, parts[r.IntN(len(parts))])
		}
		return strings.Join(out, "/")
	}
	steps := append([]string{"..", ".", ""}, names...)
	f := forest{}
	for _, dir := range []string{"", "a/", "b/", "a/b/", "a/b/c/"} {
		for range 3 {
			name := dir + pick()
			if _, taken := f[name]; taken || name == "a" || name == "b" || name == "a/b" || name == "a/b/c" {
				continue
			}
			switch r.IntN(5) {
			case 0:
				f[name] = "file"
			case 1:
				f[name] = "->/" + route(steps)
			default:
				f[name] = "->" + pick() + "/" + route(steps)
			}
		}
	}
	f["a/b/c/d"] = "file"
	var paths []string
	for range 40 {
		paths = append(paths, route(names), "/"+route(steps))
	}
	return f, paths
}

func TestResolveRandomForestsAsTheKernel(t *testing.T) {
	reached := 0
	for seed := range uint64(60) {
		f, paths := randomForest(seed)
		dir := plant(t, f)
		tree := rootfs.Alone(open(t, dir))
		for _, p := range paths {
			got, want := byTree(tree, p, true), byKernel(t, dir, p, true)
			if got != want {
				t.Errorf("seed %d: Resolve(%q) = %s, the kernel says %s, in %v", seed, p, got, want, f)
			}
			if strings.HasPrefix(got, "inode") {
				reached++
			}
		}
	}
	if reached < 500 {
		t.Errorf("only %d paths of the forests lead anywhere: the forests are too poor to test with", reached)
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("/a/file", "../l1", "d/l2")
	f.Add("..//../a/.", "/l1/./", "l2/../a/file/")
	f.Add("l2", "l1", "l1")
	f.Add("/", "l1/l1/l1/d", "d/l2/../../..")
	f.Fuzz(func(t *testing.T, one, two, p string) {
		if one == "" || two == "" || len(one) > 4000 || len(two) > 4000 || len(p) > 4000 || strings.Contains(one+two+p, "\x00") {
			t.Skip()
		}
		if p = strings.TrimLeft(p, "/"); p == "" { // open("") is ENOENT, and "" no path
			t.Skip()
		}
		dir := plant(t, forest{"a/file": "x", "d": "/", "l1": "->" + one, "d/l2": "->" + two})
		tree := rootfs.Alone(open(t, dir))
		got, want := byTree(tree, p, true), byKernel(t, dir, p, true)
		if got != want && got != "larger than the limit" {
			t.Errorf("l1 -> %q, d/l2 -> %q: Resolve(%q) = %s, the kernel says %s", one, two, p, got, want)
		}
	})
}
