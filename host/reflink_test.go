//go:build integration

package host_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/recipe"
)

// onXFS mounts a new file system whose files can share blocks.
func onXFS(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system; .ci/run runs this as root")
	}
	dir := t.TempDir()
	disk, at := filepath.Join(dir, "disk"), filepath.Join(dir, "xfs")
	tool := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 512<<20), os.Mkdir(at, 0o700)); err != nil {
		t.Fatal(err)
	}
	tool("mkfs.xfs", "-q", "-m", "reflink=1", disk)
	tool("mount", "-o", "loop", disk, at)
	t.Cleanup(func() { tool("umount", at) })
	return at
}

// free is what the file system has, once it has done what it puts off.
func free(t *testing.T, dir string) clade.Bytes {
	t.Helper()
	if out, err := exec.Command("sh", "-c", `sync -f "$1" && xfs_io -c "fsync" "$1" && xfs_freeze -f "$1" && xfs_freeze -u "$1"`, "sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n, err := image.Space(dir)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReflinkedHome: what files share is counted once, and what removals free is
// what the file system then has.
func TestReflinkedHome(t *testing.T) {
	at := onXFS(t)
	dir := filepath.Join(at, "home")
	c := config(dir)
	const written = 24 << 20
	build := c.BuildDisk
	c.BuildDisk = func(ctx context.Context, r *recipe.Recipe, dst string, p clade.Progress) error {
		err := build(ctx, r, dst, p)
		f, open := os.OpenFile(dst, os.O_WRONLY|os.O_APPEND, 0)
		if err = errors.Join(err, open); err != nil {
			return err
		}
		data := make([]byte, written)
		_, _ = rand.Read(data)
		_, err = f.Write(data)
		return errors.Join(err, f.Sync(), f.Close())
	}
	h, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, act := range []string{"build m", "full m f1", "full m f2", "template m", "linked t l"} {
		must(t, h, act)
	}
	free(t, at) // until then the file system knows not where files lie
	u := usage(t, h)
	if want := du(t, dir); u.Allocated != want {
		t.Errorf("Allocated = %d, du says %d", u.Allocated, want)
	}
	// f1, f2 and m's layer have it; so has the cache, which is no machine's and here
	// lies in the home.
	if u.Reflinked < 3*written || u.Reflinked > 3*written+(1<<20) {
		t.Errorf("Reflinked = %v, want three times %v", u.Reflinked, clade.Bytes(written))
	}
	for _, m := range u.Machines {
		if m.Exclusive > 1<<20 || m.Freed > 1<<20 || (m.Name == "f1") != (m.Allocated > written) && m.Name != "f2" {
			t.Errorf("%s: %+v, want little of its own", m.Name, m)
		}
	}
	order := []string{"rm f1", "rm l", "untemplate t:1", "rm m", "rm f2"}
	plan, err := h.PlanRemoval(ctx, goingOf([]string{"rm f1", "rm l", "rm m", "rm f2", "untemplate t:1"}))
	if err != nil || sum(plan) > 2<<20 {
		t.Errorf("all together free %v (%v) while the cache has the same blocks, want little", sum(plan), err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	var told clade.Bytes
	for _, act := range order {
		before := free(t, at)
		r := remove(t, h, act)
		told += r.Freed
		const slack = 1 << 20 // of the file system's own, and of the database's log
		if freed := free(t, at) - before; freed < r.Freed-slack || freed > r.Freed+slack {
			t.Errorf("%s: told %v, freed %v", act, r.Freed, freed)
		}
	}
	if told < written {
		t.Errorf("in the end %v were freed, want %v and more", told, clade.Bytes(written))
	}
}
