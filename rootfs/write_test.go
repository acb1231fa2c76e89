package rootfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade/rootfs"
)

// read returns what lies at name in the host's directory dir: the content of a
// file, "->target" of a link, "none", or the type.
func read(t *testing.T, dir, name string) string {
	t.Helper()
	at := filepath.Join(dir, name)
	fi, err := os.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none"
	case err != nil:
		t.Fatal(err)
	case fi.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(at)
		return "->" + target
	case !fi.Mode().IsRegular():
		return fi.Mode().Type().String()
	}
	data, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWriteFile(t *testing.T) {
	dir := plant(t, forest{
		"etc/hosts": "old", "etc/other": "->/etc/hosts", "etc/new": "->../etc/made", "etc/bad": "->/no/dir/there", "dir": "/",
	})
	tree := open(t, dir)
	hosts := filepath.Join(dir, "etc/hosts")
	if err := unix.Setxattr(hosts, "user.label", []byte("kept"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	if err := os.Link(hosts, filepath.Join(dir, "etc/twin")); err != nil {
		t.Fatal(err)
	}
	owner := os.Getuid()
	if owner == 0 { // another owner can be given, and kept, by root only
		owner = 1234
	}
	if err := errors.Join(os.Chown(hosts, owner, -1), os.Chmod(hosts, 0o640|fs.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	if err := tree.WriteFile("etc/other", []byte("new"), 0o777); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "etc/hosts"); got != "new" {
		t.Errorf("written through a link: %q", got)
	}
	if got := read(t, dir, "etc/twin"); got != "old" {
		t.Errorf("the other name of the old inode has %q, want the old content", got)
	}
	fi, err := os.Stat(hosts)
	if err != nil || fi.Mode() != 0o640|fs.ModeSetgid {
		t.Errorf("mode after WriteFile: %v, %v", fi.Mode(), err)
	}
	if got := fi.Sys().(*syscall.Stat_t).Uid; got != uint32(owner) {
		t.Errorf("owner after WriteFile: %d, want %d", got, owner)
	}
	value := make([]byte, 10)
	if n, err := unix.Getxattr(hosts, "user.label", value); string(value[:max(n, 0)]) != "kept" && !errors.Is(err, unix.ENOTSUP) {
		t.Errorf("attribute after WriteFile: %q, %v", value[:max(n, 0)], err)
	}
	if err := tree.WriteFile("etc/new", []byte("made"), 0o604); err != nil || read(t, dir, "etc/made") != "made" {
		t.Errorf("written through a dangling link: %v, %q", err, read(t, dir, "etc/made"))
	}
	if fi, err := os.Stat(filepath.Join(dir, "etc/made")); err != nil || fi.Mode() != 0o604 {
		t.Errorf("mode of a new file: %v, %v", fi.Mode(), err)
	}
	if err := tree.WriteFile("etc/bad", nil, 0o644); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("written where there is no directory: %v", err)
	}
	if err := tree.WriteFile("dir", nil, 0o644); !errors.Is(err, rootfs.ErrSpecial) {
		t.Errorf("written over a directory: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*/.clade-*"))
	if len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A guest's links lead to the host's files when the host's kernel follows them.
// None of what a Tree changes may lie there.
func TestWritesStayInside(t *testing.T) {
	host := plant(t, forest{"victim": "host", "dir/victim": "host"})
	out := "->" + strings.Repeat("../", 20) + strings.TrimPrefix(host, "/")
	dir := plant(t, forest{
		"abs": "->" + host + "/victim", "rel": out + "/victim", "absdir": "->" + host + "/dir", "reldir": out + "/dir",
		"gone/x": "->" + host + "/dir", "gone/y": out + "/victim",
	})
	tree := open(t, dir)
	for _, name := range []string{"abs", "rel", "absdir/victim", "reldir/victim"} {
		if err := tree.WriteFile(name, []byte("guest"), 0o644); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("WriteFile(%s): %v, want not exist", name, err)
		}
		if err := tree.Truncate(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Truncate(%s): %v, want not exist", name, err)
		}
		if err := tree.RemoveAll(name); err != nil {
			t.Errorf("RemoveAll(%s): %v", name, err)
		}
	}
	for _, name := range []string{"absdir", "reldir"} {
		if err := tree.Clear(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Clear(%s): %v, want not exist", name, err)
		}
	}
	if err := tree.Clear("gone"); err != nil {
		t.Error(err)
	}
	if err := tree.RemoveAll("absdir"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"victim", "dir/victim"} {
		if got := read(t, host, name); got != "host" {
			t.Errorf("the host's %s is now %q", name, got)
		}
	}
	if got := read(t, dir, "absdir") + read(t, dir, "gone/x") + read(t, dir, "gone"); got != "nonenoned---------" {
		t.Errorf("after removing, there are: %s", got)
	}
}

func TestTruncate(t *testing.T) {
	dir := plant(t, forest{"log": "text", "link": "->/log"})
	if err := os.Truncate(filepath.Join(dir, "log"), 4<<30); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(filepath.Join(dir, "log"))
	tree := open(t, dir)
	if err := tree.Truncate("link"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, "log"))
	if err != nil || after.Size() != 0 || !os.SameFile(before, after) {
		t.Errorf("after Truncate: %v, %v", after, err)
	}
	if err := tree.Truncate("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Truncate of nothing: %v", err)
	}
}

func TestRemove(t *testing.T) {
	dir := plant(t, forest{"file": "x", "link": "->file", "pipe": "|", "full/x": "x"})
	tree := open(t, dir)
	for _, name := range []string{"link", "pipe"} {
		if err := tree.Remove(name); err != nil || read(t, dir, name) != "none" {
			t.Errorf("Remove(%s): %v", name, err)
		}
	}
	if read(t, dir, "file") != "x" {
		t.Error("Remove of a link took its target")
	}
	if err := tree.Remove("full"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("Remove of a full directory: %v", err)
	}
	if err := tree.Remove("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove of nothing: %v", err)
	}
	if err := tree.Symlink("/", "root"); err != nil {
		t.Fatal(err)
	}
	if err := tree.Clear("root"); !errors.Is(err, fs.ErrInvalid) || read(t, dir, "file") != "x" {
		t.Errorf("Clear of the root: %v", err)
	}
	if err := tree.RemoveAll("none/at/all"); err != nil {
		t.Errorf("RemoveAll of nothing: %v", err)
	}
}

func TestMkdirAllAndSymlink(t *testing.T) {
	dir := plant(t, forest{"lib": "->usr/lib", "usr/lib": "/", "file": "x"})
	tree := open(t, dir)
	if err := tree.MkdirAll("lib/systemd/system/x.wants", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := tree.MkdirAll("lib/systemd", 0o700); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "usr/lib/systemd")); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("made directory: %v, %v", fi, err)
	}
	if err := tree.MkdirAll("file/x", 0o755); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("MkdirAll below a file: %v", err)
	}
	if err := tree.Symlink("/lib/x", "lib/systemd/system/x.wants/y"); err != nil {
		t.Error(err)
	}
	if got := read(t, dir, "usr/lib/systemd/system/x.wants/y"); got != "->/lib/x" {
		t.Errorf("made link: %q", got)
	}
	if err := tree.Symlink("z", "lib"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Symlink on a name that is taken: %v", err)
	}
}
