package rootfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
)

func TestOpen(t *testing.T) {
	dir := plant(t, forest{"file": "x"})
	if _, err := rootfs.Open(filepath.Join(dir, "none")); !errors.Is(err, clade.NotFound) {
		t.Errorf("Open of a missing directory: %v, want not found", err)
	}
	if _, err := rootfs.Open(filepath.Join(dir, "file")); !errors.Is(err, clade.Invalid) {
		t.Errorf("Open of a file: %v, want invalid", err)
	}
	tree := open(t, dir)
	if err := errors.Join(tree.Close(), tree.Close()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestIsAnFS(t *testing.T) {
	dir := plant(t, forest{"etc/hostname": "web", "etc/abs": "->/etc/hostname", "lib": "->/usr/lib", "usr/lib/x": "y", "empty": "/"})
	for _, tree := range []*rootfs.Tree{open(t, dir), rootfs.Alone(open(t, dir))} {
		if err := fstest.TestFS(tree, "etc/hostname", "etc/abs", "usr/lib/x", "empty"); err != nil {
			t.Error(err)
		}
	}
}

func TestNames(t *testing.T) {
	tree := open(t, plant(t, forest{"a/\xff\n": "bytes"}))
	for _, name := range []string{"", "/", "/a", "a/", "a//b", "a/..", "../a", "./a", "a\x00"} {
		if _, err := tree.Open(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open(%q): %v, want invalid", name, err)
		}
		if err := tree.RemoveAll(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("RemoveAll(%q): %v, want invalid", name, err)
		}
	}
	if data, err := rootfs.ReadFile(tree, "a/\xff\n", 10); string(data) != "bytes" {
		t.Errorf("a name that is not UTF-8: %q, %v", data, err)
	}
}

// in runs fn and fails if it takes longer than a hostile guest may hold us up.
func in(t *testing.T, limit time.Duration, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s: still not done after %v", what, limit)
	}
}

func TestSpecialFilesAreNotOpened(t *testing.T) {
	dir := plant(t, forest{"pipe": "|", "link": "->/pipe", "dir/x": "x"})
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sock)
	t.Chdir(dir)
	if err := unix.Bind(sock, &unix.SockaddrUnix{Name: "sock"}); err != nil {
		t.Fatal(err)
	}
	tree := open(t, dir)
	for _, name := range []string{"pipe", "link", "sock"} {
		in(t, 10*time.Second, name, func() {
			_, err := tree.Open(name)
			if !errors.Is(err, rootfs.ErrSpecial) {
				t.Errorf("Open(%s): %v, want ErrSpecial", name, err)
			}
			if err := tree.Truncate(name); !errors.Is(err, rootfs.ErrSpecial) {
				t.Errorf("Truncate(%s): %v, want ErrSpecial", name, err)
			}
			if err := tree.WriteFile(name, []byte("x"), 0o644); !errors.Is(err, rootfs.ErrSpecial) {
				t.Errorf("WriteFile(%s): %v, want ErrSpecial", name, err)
			}
			if _, err := rootfs.ReadDir(tree, name, 10); !errors.Is(err, syscall.ENOTDIR) {
				t.Errorf("ReadDir(%s): %v, want ENOTDIR", name, err)
			}
		})
	}
	if _, err := rootfs.ReadFile(tree, "dir", 10); !errors.Is(err, rootfs.ErrSpecial) {
		t.Errorf("ReadFile of a directory: %v, want ErrSpecial", err)
	}
}

func TestReadFileLimit(t *testing.T) {
	dir := plant(t, forest{"five": "12345"})
	if err := os.Truncate(plantFile(t, dir, "sparse"), 4<<30); err != nil {
		t.Fatal(err)
	}
	tree := open(t, dir)
	if data, err := rootfs.ReadFile(tree, "five", 5); string(data) != "12345" || err != nil {
		t.Errorf("a file as long as the limit: %q, %v", data, err)
	}
	if data, err := rootfs.ReadFile(tree, "five", 4); string(data) != "1234" || !errors.Is(err, rootfs.ErrLimit) {
		t.Errorf("a file beyond the limit: %q, %v, want 1234 and ErrLimit", data, err)
	}
	in(t, 10*time.Second, "4 GiB", func() {
		if data, err := rootfs.ReadFile(tree, "sparse", 100); len(data) != 100 || !errors.Is(err, rootfs.ErrLimit) {
			t.Errorf("4 GiB: %d bytes, %v", len(data), err)
		}
	})
}

func plantFile(t *testing.T, dir, name string) string {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.WriteFile(at, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return at
}

func TestManyEntries(t *testing.T) {
	dir := plant(t, forest{"d": "/", "d2": "->/d"})
	const n = 3000
	for i := range n {
		plantFile(t, dir, fmt.Sprintf("d/f%04d", i))
	}
	tree := open(t, dir)
	got, err := rootfs.ReadDir(tree, "d2", 10)
	if len(got) != 10 || !errors.Is(err, rootfs.ErrLimit) {
		t.Errorf("ReadDir: %d entries, %v, want 10 and ErrLimit", len(got), err)
	}
	if got, err := rootfs.ReadDir(tree, "d2", n); len(got) != n || err != nil || got[0].Name() != "f0000" {
		t.Errorf("ReadDir with room: %d entries, %v", len(got), err)
	}
	if got, err := rootfs.Glob(tree, "d/*", 10); len(got) != 10 || !errors.Is(err, rootfs.ErrLimit) {
		t.Errorf("Glob: %d matches, %v, want 10 and ErrLimit", len(got), err)
	}
	seen := 0
	err = rootfs.Walk(tree, ".", 10, func(string, fs.DirEntry) error { seen++; return nil })
	if seen != 10 || !errors.Is(err, rootfs.ErrLimit) {
		t.Errorf("Walk: %d entries, %v, want 10 and ErrLimit", seen, err)
	}
	if err := tree.Clear("d2"); err != nil {
		t.Fatal(err)
	}
	if got, err := tree.ReadDir("d"); len(got) != 0 || err != nil {
		t.Errorf("after Clear: %d entries, %v", len(got), err)
	}
}

func TestGlob(t *testing.T) {
	tree := open(t, plant(t, forest{
		"home/ann/.bash_history": "1", "home/bob": "->/srv/bob", "srv/bob/.bash_history": "2", "home/eve": "->/home/eve",
		"home/file": "x", "home/pipe": "|", "home/out": "->../../../..", ".bash_history": "3", "var/log": "->/var/log",
	}))
	for pattern, want := range map[string]string{
		"home/*/.bash_history": "home/ann/.bash_history home/bob/.bash_history home/out/.bash_history",
		"home/*":               "home/ann home/bob home/eve home/file home/out home/pipe",
		"home/none/*":          "",
		"home/file/*":          "",
		"home/pipe/*":          "",
		"var/log/*":            "",
		"*/*/.bash_h[i]story":  "home/ann/.bash_history home/bob/.bash_history home/out/.bash_history srv/bob/.bash_history",
	} {
		got, err := rootfs.Glob(tree, pattern, 100)
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("Glob(%s) = %q, %v, want %q", pattern, got, err, want)
		}
	}
	if _, err := rootfs.Glob(tree, "home/[", 100); err == nil {
		t.Error("Glob of a bad pattern: no error")
	}
}

func TestWalk(t *testing.T) {
	tree := open(t, plant(t, forest{"a/b/c": "1", "a/skip/d": "2", "a/out": "->/", "a/loop": "->/a"}))
	var got []string
	err := rootfs.Walk(tree, "a", 100, func(name string, e fs.DirEntry) error {
		got = append(got, name)
		if e.Name() == "skip" {
			return fs.SkipDir
		}
		return nil
	})
	slices.Sort(got)
	if want := "a/b a/b/c a/loop a/out a/skip"; strings.Join(got, " ") != want || err != nil {
		t.Errorf("Walk = %q, %v, want %q", got, err, want)
	}
	deep := open(t, plant(t, forest{strings.Repeat("d/", 200): "/"}))
	err = rootfs.Walk(deep, ".", 1000, func(string, fs.DirEntry) error { return nil })
	if !errors.Is(err, rootfs.ErrLimit) {
		t.Errorf("Walk 200 directories down: %v, want ErrLimit", err)
	}
}

// A link 1,000 directories long is half a million directories to open for a
// resolver that begins anew at every step, and a path may have forty of them.
func TestResolveCostIsBounded(t *testing.T) {
	dir := plant(t, forest{strings.Repeat("d/", 1000): "/"})
	if err := os.Symlink(strings.Repeat("d/", 1000), filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	tree := rootfs.Alone(open(t, dir))
	in(t, 10*time.Second, "a long link", func() {
		if _, err := tree.Stat("l"); !errors.Is(err, rootfs.ErrLimit) || rootfs.Absent(err) {
			t.Errorf("Stat: %v, want ErrLimit, which is not Absent", err)
		}
	})
}
