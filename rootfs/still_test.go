package rootfs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/clade-vm/clade/rootfs"
)

// TestStillAnswersAsTheTree asks both for everything in a tree with all that can stand
// in the way, before and after its directories are kept, and after they are let go.
func TestStillAnswersAsTheTree(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"etc/ssh", "var/lib/a/b", "empty", "usr/etc"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"etc/passwd": "root:x:0", "etc/ssh/key": "k", "var/lib/a/b/long": "0123456789", "usr/etc/none": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"etc/link": "passwd", "etc/abs": "/var/lib/a", "etc/out": "../../../../etc/ssh/key", "etc/loop": "loop", "run": "/var/lib",
		"etc/nowhere": "/none/at/all", "var/lib/a/up": "..", "dev": "/dev"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "etc/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{".", "dev/null", "none", "etc/none", "etc/passwd/x", "etc/abs/b/long", "run/a/b/long", "run/a/up/a/b", "etc/loop/x", "../etc", "/etc", "etc/", "etc/../etc"}
	_ = filepath.WalkDir(dir, func(p string, _ fs.DirEntry, _ error) error {
		name, err := filepath.Rel(dir, p)
		names = append(names, name)
		return err
	})
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	open := openFiles(t)
	still := tree.Still()
	for _, when := range []string{"at first", "kept"} {
		for _, name := range names {
			if want, got := answers(tree, name), answers(still, name); got != want {
				t.Errorf("%s, of %q: %s, want %s", when, name, got, want)
			}
		}
	}
	if openFiles(t) == open {
		t.Error("nothing was kept")
	}
	entries, err := rootfs.ReadDir(still, "etc", 100)
	still.Release()
	if now := openFiles(t); now != open || err != nil {
		t.Errorf("released, %d files are open, want %d (%v)", now, open, err)
	}
	for _, e := range entries {
		is, err := e.Info()
		if want, _ := tree.Lstat("etc/" + e.Name()); err != nil || is.Mode() != want.Mode() || is.Size() != want.Size() {
			t.Errorf("released, of %s: %v, %v", e.Name(), is, err)
		}
	}
}

// answers is all that fsys says of a name.
func answers(fsys interface {
	fs.StatFS
	fs.ReadLinkFS
}, name string) string {
	say := func(fi fs.FileInfo, err error) string {
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(fi.Name(), fi.Mode(), fi.Size(), fi.ModTime(), fi.Sys().(*syscall.Stat_t).Ino)
	}
	text := say(fsys.Lstat(name)) + "; " + say(fsys.Stat(name))
	data, err := rootfs.ReadFile(fsys, name, 4)
	text += fmt.Sprintf("; %q %v", data, err)
	entries, err := rootfs.ReadDir(fsys, name, 100)
	for _, e := range entries {
		text += " " + fs.FormatDirEntry(e) + " " + say(e.Info())
	}
	return fmt.Sprintf("%s; %v", text, err)
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
