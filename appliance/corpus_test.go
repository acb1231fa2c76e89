//go:build integration

package appliance

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
	"github.com/clade-vm/clade/rootfs"
)

// A layout is a guest with every mark on disks of one kind.
type layout struct {
	name  string
	tree  string // the same files, on the host
	disks []Disk
	names bool                         // XFS: the names of what was erased stay readable in its log
	look  func(t *testing.T, l layout) // what an independent reader says after erasing
}

// guestFiles are what makes a tree of plants a system.
var guestFiles = map[string]string{
	"etc/os-release": "PRETTY_NAME=\"Test Linux 1\"\nID=test\n",
	"etc/passwd":     "=root:x:0:0:root:/root:/bin/sh\n",
	"usr/bin/true":   "",
}

// tree grows all plants in a new directory, with more files and without those that
// lack names.
func tree(t testing.TB, more map[string]string, lack ...string) string {
	t.Helper()
	p := identitytest.Together()
	for name := range p.Files {
		if slices.ContainsFunc(lack, func(part string) bool { return strings.Contains(name, part) }) {
			delete(p.Files, name)
		}
	}
	for _, files := range []map[string]string{guestFiles, more} {
		for name, text := range files {
			p.Files[name] = text
		}
	}
	dir := t.TempDir()
	if err := identitytest.Grow(dir, p); err != nil {
		t.Fatal(err)
	}
	return dir
}

// cut moves the content of a directory of a tree to a directory of its own, and
// leaves the directory as a mount point.
func cut(t testing.TB, tree, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "cut")
	if err := os.Rename(filepath.Join(tree, dir), to); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// marksIn returns the names of the marks that a tree on the host has.
func marksIn(t testing.TB, dir string) []string {
	t.Helper()
	files, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	found, err := identity.ReadAll(files, identity.All())
	if err != nil {
		t.Fatal(err)
	}
	return marksOf(found)
}

func marksOf(found []identity.Finding) (names []string) {
	for _, f := range found {
		names = append(names, f.Mark)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// optional returns the marks that are erased only where they are asked for.
func optional() (names []string) {
	for _, m := range identity.All() {
		if !m.Default {
			names = append(names, m.Name)
		}
	}
	return names
}

// TestCorpus audits and erases every mark in every layout: what an audit reads has each
// of them and writes nothing, and after erasing neither the file system's own tool nor
// a search of the raw disk finds anything planted.
func TestCorpus(t *testing.T) {
	layouts := []layout{
		wholeDisk(t, "ext4 without a table", tree(t, nil)),
		wholeDisk(t, "without cloud-init", tree(t, nil, "cloud", "installer-config")),
		wholeDisk(t, "without systemd", tree(t, nil, "systemd")),
		xfsOnQcow2(t), subvolumes(t), defaultSubvolume(t), apart(t, "mbr"), apart(t, "gpt"), onLVM(t),
	}
	all := marksIn(t, layouts[0].tree)
	for name := range identitytest.Plants() {
		if !slices.Contains(all, name) && name != "cloud-init-network" { // which other plants switch off
			t.Errorf("%s is planted and not found on the host", name)
		}
	}
	var machines [][]Disk
	var before []string
	for _, l := range layouts {
		machines = append(machines, l.disks)
		before = append(before, l.digest(t))
	}
	a, ctx := boot(t)
	results, err := a.Read(ctx, machines, identity.Outline, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			if err := results[i].Err; err != nil {
				t.Fatalf("Read: %v", err)
			}
			if got, want := marksOf(results[i].Findings), marksIn(t, l.tree); !slices.Equal(got, want) {
				t.Errorf("an audit found\n%v, want\n%v\nnotes %q", got, want, results[i].Notes)
			}
			if l.digest(t) != before[i] {
				t.Error("Read wrote to the disks")
			}
			a, ctx := boot(t)
			if _, err := a.Generalize(ctx, l.disks, Options{Enable: optional()}, nil); err != nil {
				t.Fatal(err)
			}
			l.search(t)
			l.look(t, l)
		})
	}
	orphans(t)
}

func (l layout) digest(t testing.TB) (all string) {
	t.Helper()
	for _, d := range l.disks {
		all += digest(t, d.Path)
	}
	return all
}

// search fails the test for everything planted that the bytes of the disks hold.
func (l layout) search(t *testing.T) {
	t.Helper()
	planted := []string{identitytest.Planted, identitytest.MAC}
	if !l.names {
		planted = append(planted, identitytest.MachineID)
	}
	for i, d := range l.disks {
		flat := flatten(t, d)
		for _, what := range planted {
			if at := bytes.Index(flat, []byte(what)); at >= 0 {
				t.Errorf("disk %d still has %d times %s, first at %d: %.200q", i, bytes.Count(flat, []byte(what)), what, at, flat[max(0, at-60):])
			}
		}
	}
}

// flatten returns a disk as the guest sees it.
func flatten(t testing.TB, d Disk) []byte {
	t.Helper()
	path := d.Path
	if d.Format != Raw {
		path = filepath.Join(t.TempDir(), "flat.img")
		command(t, "", "qemu-img", "convert", "-f", string(d.Format), "-O", "raw", d.Path, path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// check compares a tree that was read back with what must be left of the plants.
func check(t *testing.T, l layout, back string) {
	t.Helper()
	left, err := identitytest.Left(back)
	if err != nil || len(left) > 0 {
		t.Errorf("still planted: %q, %v", left, err)
	}
	if slices.Equal(marksIn(t, l.tree), marksIn(t, tree(t, nil))) { // the whole of them
		if err := identitytest.Check(back, identitytest.Together()); err != nil {
			t.Error(err)
		}
	}
}

// rdump reads an ext4 file system back with e2fsprogs, which check it too.
func rdump(t *testing.T, image, dir string) {
	t.Helper()
	command(t, "", "e2fsck", "-fn", image)
	debugfs(t, image, "rdump / "+dir)
}
