package identity_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/audit"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
	"github.com/clade-vm/clade/rootfs"
)

// garden is a tree in which everything is planted.
func garden(t testing.TB) (string, *rootfs.Tree) {
	t.Helper()
	dir := t.TempDir()
	grow(t, dir, identitytest.Together().Files)
	return dir, openTree(t, dir)
}

// A path in which a letter is wrong finds nothing, and nobody misses it.
func TestEveryPathIsPlanted(t *testing.T) {
	_, tree := garden(t)
	for _, m := range identity.All() {
		for _, pattern := range m.Paths {
			patterns := []string{pattern}
			if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
				patterns = []string{"root/" + rest, "home/*/" + rest}
			}
			n := 0
			for _, p := range patterns {
				names, err := rootfs.Glob(tree, p, 10)
				if err != nil {
					t.Fatal(err)
				}
				n += len(names)
			}
			if n == 0 && pattern != "etc/sysconfig/network" { // a file of RHEL, a directory of SUSE: TestRedHatNetwork
				t.Errorf("mark %s: nothing is planted at %s", m.Name, pattern)
			}
		}
	}
}

func TestRedHatNetwork(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{"etc/sysconfig/network": "NETWORKING=yes\nHOSTNAME=web1.example.com\n"})
	m := find(t, "ifcfg-hostname")
	if found, err := m.Read(openTree(t, dir)); len(found) != 1 || found[0].Value != "web1.example.com" || err != nil {
		t.Errorf("found %+v, %v", found, err)
	}
	if err := m.Erase(openTree(t, dir)); err != nil || read(t, dir, "etc/sysconfig/network") != "NETWORKING=yes\n" {
		t.Errorf("%v: %q", err, read(t, dir, "etc/sysconfig/network"))
	}
}

// A source is a manual page, an RFC or a page that can be opened.
var sourceForm = regexp.MustCompile(`^(man [1-8] [A-Za-z0-9_.+-]+( \([^()]+\))?|RFC [0-9]+( section [0-9.]+)?|https://[^\s;]+( \([^()]+\))?)$`)

func TestEverySourceCanBeRead(t *testing.T) {
	for _, m := range identity.All() {
		for source := range strings.SplitSeq(m.Source, "; ") {
			if !sourceForm.MatchString(source) {
				t.Errorf("mark %s has the source %q", m.Name, source)
			}
		}
	}
}

func TestFamilies(t *testing.T) {
	seen := map[string]bool{}
	var all []string
	for _, f := range identity.Families() {
		if seen[f.Name] || f.About == "" || len(f.Marks) == 0 {
			t.Errorf("family %q: named twice, or without a word about it, or empty", f.Name)
		}
		seen[f.Name] = true
		for _, m := range f.Marks {
			if m.Family != f.Name {
				t.Errorf("mark %s of family %s says it is of %s", m.Name, f.Name, m.Family)
			}
			all = append(all, m.Name)
		}
	}
	var want []string
	for _, m := range identity.All() {
		want = append(want, m.Name)
	}
	if !slices.Equal(all, want) {
		t.Errorf("the families have %d marks, All %d, or in another order", len(all), len(want))
	}
}

// Twins that have everything share every mark that must not be shared.
func TestTwinsShareAll(t *testing.T) {
	_, tree := garden(t)
	found, err := identity.ReadAll(tree, identity.All())
	if err != nil {
		t.Fatal(err)
	}
	shared := map[string]bool{}
	for _, s := range audit.Compare(map[string][]identity.Finding{"a": found, "b": found}) {
		shared[s.Mark] = true
	}
	for _, m := range identity.All() {
		if m.Kind != identity.Residue && !shared[m.Name] {
			t.Errorf("twins with %s are not told", m.Name)
		}
		if m.Kind == identity.Residue && shared[m.Name] {
			t.Errorf("residue %s is compared", m.Name)
		}
	}
}

// ReadAll says what Read says, mark by mark, and in the same order.
func TestReadAllIsRead(t *testing.T) {
	_, tree := garden(t)
	trees := map[string]fs.FS{"all plants": tree, "nothing": openTree(t, t.TempDir())}
	for name, what := range map[string]string{"links into nothing": "->nowhere", "loops": "->/loop", "pipes": "|", "directories": "/", "the root": "->/"} {
		dir := t.TempDir()
		files := map[string]string{"loop": "->loop", "etc/passwd": "u:x:1:1::/h/u:\n"}
		for _, at := range []string{"etc/ssh", "etc/hostname", "etc/machine-id", "var/log", "var/lib/cloud", "root", "home", "tmp", "etc/netplan", "h"} {
			files[at] = what
		}
		grow(t, dir, files)
		trees[name] = openTree(t, dir)
	}
	for name, fsys := range trees {
		var want []identity.Finding
		for _, m := range identity.All() {
			found, err := m.Read(fsys)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, found...)
		}
		got, err := identity.ReadAll(fsys, identity.All())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n%d findings, want %d", name, err, len(got), len(want))
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("%+v, want %+v", got[i], want[i])
				}
			}
		}
	}
}

// Directories that are larger than what is kept are read in full all the same.
func TestReadAllOfHugeDirectories(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{"etc/ssh/x": "x", "etc/ssh/ssh_host_ed25519_key": "key", "etc/hostname": "web1\n"})
	for i := range 5000 {
		for _, name := range []string{"etc/%d", "etc/ssh/%d"} {
			if err := os.Link(filepath.Join(dir, "etc/ssh/x"), filepath.Join(dir, fmt.Sprintf(name, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	found, err := identity.ReadAll(openTree(t, dir), []identity.Mark{find(t, "hostname"), find(t, "ssh-host-keys"), find(t, "salt-minion-id")})
	if len(found) != 2 || err != nil || found[0].Value != "web1" || found[1].Path != "etc/ssh/ssh_host_ed25519_key" {
		t.Errorf("found %+v, %v", found, err)
	}
}

// What cannot be read is told for each mark, and the others are read.
func TestReadAllGoesOn(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{"etc/hostname": "web1\n", "etc/passwd": strings.Repeat("u:x:1:1::/h/u:/bin/sh\n", 100_000)})
	found, err := identity.ReadAll(openTree(t, dir), []identity.Mark{find(t, "histories"), find(t, "hostname"), find(t, "trash")})
	if len(found) != 1 || found[0].Value != "web1" {
		t.Errorf("found %+v", found)
	}
	if !errors.Is(err, clade.Unproven) || strings.Count(err.Error(), "read mark") != 2 {
		t.Errorf("%v, want two marks unproven", err)
	}
}
