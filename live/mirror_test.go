package live_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/clade-vm/clade/live"
	"github.com/clade-vm/clade/rootfs"
)

// parts are what random names are made of: few, so that they meet.
var parts = []string{"a", "b", "c", "d", "x\ny", "-e"}

func randomName(r *rand.Rand, most int) string {
	var elems []string
	for range 1 + r.IntN(most) {
		elems = append(elems, parts[r.IntN(len(parts))])
	}
	return strings.Join(elems, "/")
}

func randomTarget(r *rand.Rand) string {
	var elems []string
	for range 1 + r.IntN(4) {
		elems = append(elems, append(parts, "..", ".", "", "..", "dev", "a")[r.IntN(len(parts)+6)])
	}
	return strings.Join(elems, "/")
}

// randomTree makes files of all sorts, at random, in dir.
func randomTree(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	for range 60 {
		at := filepath.Join(dir, randomName(r, 4))
		_ = os.MkdirAll(filepath.Dir(at), 0o755) // a link may be in the way
		real, err := filepath.EvalSymlinks(filepath.Dir(at))
		if err != nil || !strings.HasPrefix(real+"/", dir+"/") {
			continue
		}
		at = filepath.Join(real, filepath.Base(at))
		switch r.IntN(6) {
		case 0:
			_ = os.Mkdir(at, 0o750)
		case 1:
			_ = syscall.Mkfifo(at, 0o600)
		case 2, 3:
			if target := randomTarget(r); target != "" {
				_ = os.Symlink(target, at)
			}
		default:
			if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
				if err := os.WriteFile(at, []byte(at), 0o640); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// ask tells all that fsys says about a name.
func ask(fsys fs.FS, name string) string {
	describe := func(fi fs.FileInfo, err error) string {
		if err != nil {
			return because(err)
		}
		if !fi.Mode().IsRegular() {
			return fmt.Sprint(fi.Name(), fi.Mode(), fi.ModTime().Unix())
		}
		return fmt.Sprint(fi.Name(), fi.Mode(), fi.ModTime().Unix(), fi.Size())
	}
	out := []string{"stat " + describe(fs.Stat(fsys, name)), "lstat " + describe(fs.Lstat(fsys, name))}
	target, err := fs.ReadLink(fsys, name)
	out = append(out, fmt.Sprintf("link %q %s", target, because(err)))
	data, err := rootfs.ReadFile(fsys, name, 1<<20)
	out = append(out, fmt.Sprintf("file %q %s", data, because(err)))
	entries, err := rootfs.ReadDir(fsys, name, 100)
	for _, e := range entries {
		out = append(out, "entry "+e.Name()+" "+e.Type().String()+describe(e.Info()))
	}
	found, globErr := rootfs.Glob(fsys, path.Join(name, "*", "*"), 100)
	return strings.Join(append(out, because(err), fmt.Sprintf("glob %q %s", found, because(globErr))), "\n")
}

// because is the inner reason of an error.
func because(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not there"
	case err == nil:
		return "fine"
	}
	return err.Error()
}

// A mirror says what a rootfs.Tree says of the same files.
func TestMirrorIsAsATree(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		randomTree(t, r, dir)
		for i := range 42 { // one link more than the kernel follows, and one less
			if err := os.Symlink(fmt.Sprintf("link%d", i+1), filepath.Join(dir, fmt.Sprintf("link%d", i))); err != nil {
				t.Fatal(err)
			}
		}
		mkdir(t, filepath.Join(dir, "link42"))
		tree, err := rootfs.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		m := live.NewMirror(newShell(t, dir))
		names := []string{".", "link1", "link2", "link3", "a/../b", "/a", "", "a//b", "a\x00b", strings.Repeat("n", 256), strings.Repeat("a/", 2100) + "a"}
		for range 60 {
			names = append(names, randomName(r, 6))
		}
		got := map[string]string{}
		look := func() {
			for _, name := range names {
				got[name] = ask(m, name)
			}
		}
		if err := m.Settle(look); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if want := ask(tree, name); got[name] != want {
				t.Errorf("seed %d: the mirror says of %.80q\n%s\nand the tree\n%s", seed, name, got[name], want)
			}
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A mirror is a file system like any other.
func TestMirrorIsAFileSystem(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"etc/ssh/key", "etc/hosts", "var/empty"} {
		mkdir(t, filepath.Dir(filepath.Join(dir, name)))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := live.NewMirror(newShell(t, dir))
	var err error
	if settled := m.Settle(func() { err = fstest.TestFS(m, "etc/ssh/key", "etc/hosts", "var/empty") }); settled != nil || err != nil {
		t.Error(settled, err)
	}
}

// What a boot makes is seen empty, and is not asked for.
func TestMirrorHidesWhatABootMakes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"dev/urandom", "proc/1/environ", "run/secrets", "sys/x", "srv/x"} {
		mkdir(t, filepath.Dir(filepath.Join(dir, name)))
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := live.NewMirror(newShell(t, dir))
	var found []string
	if err := m.Settle(func() { found, _ = rootfs.Glob(m, "*/*", 100) }); err != nil || !slices.Equal(found, []string{"srv/x"}) {
		t.Errorf("*/* is %q, %v", found, err)
	}
}

// Of a file that is too large, what is held can be read in any way.
func TestMirrorReadsTheBeginning(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "large"), []byte("begin"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "large"), 2<<20); err != nil {
		t.Fatal(err)
	}
	m := live.NewMirror(newShell(t, dir))
	var begin []byte
	var err error
	look := func() {
		var f fs.File
		if f, err = m.Open("large"); err != nil {
			return
		}
		defer f.Close()
		begin = make([]byte, 5)
		if _, err = f.(io.ReaderAt).ReadAt(begin, 0); err == nil {
			_, err = io.Copy(io.Discard, f)
		}
	}
	if settled := m.Settle(look); settled != nil || string(begin) != "begin" || !errors.Is(err, rootfs.ErrLimit) {
		t.Errorf("reading gives %q, then %v, want %v; %v", begin, err, rootfs.ErrLimit, settled)
	}
}
