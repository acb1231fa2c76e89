package identitytest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade/identity/identitytest"
)

// Any plants can stand in one tree: none wants something else than another of one
// name, neither before nor after, and none stands below another's file.
func TestPlantsGetAlong(t *testing.T) {
	before, after := map[string]string{}, map[string]string{}
	merge := func(into, from map[string]string, mark string) {
		for name, what := range from {
			if strings.HasPrefix(what, "=") || strings.HasPrefix(into[name], "=") {
				continue
			}
			if is, ok := into[name]; ok && is != what {
				t.Errorf("%s: %s is %q, and %q of another plant", mark, name, what, is)
			}
			into[name] = what
		}
	}
	for mark, p := range identitytest.Plants() {
		merge(before, p.Files, mark)
		merge(after, p.After, mark)
		if len(p.After) == 0 {
			t.Errorf("%s does not say what must be there afterwards", mark)
		}
	}
	for name := range before {
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			if what, ok := before[dir]; ok && what != "/" {
				t.Errorf("%s lies below %s, which is %q", name, dir, what)
			}
		}
	}
}

func TestEachPlantIsSeen(t *testing.T) {
	for mark, p := range identitytest.Plants() {
		dir := t.TempDir()
		for range 2 { // again, among what is there
			if err := identitytest.Grow(dir, p); err != nil {
				t.Fatalf("%s: %v", mark, err)
			}
		}
		if left, err := identitytest.Left(dir); len(left) == 0 || err != nil {
			t.Errorf("%s: nothing is seen of it, %v", mark, err)
		}
		if err := identitytest.Check(dir, p); err == nil {
			t.Errorf("%s: passes for erased before it is", mark)
		}
	}
}

func TestGrowAmongFiles(t *testing.T) {
	dir, host := t.TempDir(), t.TempDir()
	files := map[string]string{
		"usr/bin/tool": "=x", "etc/new": "=made", "etc/conf": "planted", "lib/deep/er": "below", "out/x": "inside", "var/d/": "/", "var/pipe": "|",
		"var/up": "->../etc",
	}
	if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"usr/bin/tool": "the guest's", "usr/bin/conf": "old"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"lib": "usr/bin", "etc": "/usr/bin", "out": host} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := identitytest.Grow(dir, identitytest.Plant{Files: files}); err == nil {
		t.Error("grew below a link that leads nowhere in the guest")
	}
	delete(files, "out/x")
	for range 2 {
		if err := identitytest.Grow(dir, identitytest.Plant{Files: files}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"usr/bin/tool": "the guest's", "usr/bin/new": "made", "usr/bin/conf": "planted", "usr/bin/deep/er": "below", "var/d": "d---------",
		"var/pipe": "p---------", "var/up": "->../etc", "none/at/all": identitytest.None,
	} {
		if got, err := identitytest.Look(dir, name); got != want || err != nil {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
	if entries, err := os.ReadDir(host); len(entries) != 0 || err != nil {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

func TestLeft(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"a": "x\x00PLANTED", "b": "52-54-00-AB-CD-EF", "c": identitytest.MachineID + "\n", "d": "kept", "e/f": "52:54:00:AB:cd:ef", "pipe": "|", "up": "->a",
	}
	if err := identitytest.Grow(dir, identitytest.Plant{Files: files}); err != nil {
		t.Fatal(err)
	}
	left, err := identitytest.Left(dir)
	if want := []string{"a", "b", "c", "e/f"}; !slices.Equal(left, want) || err != nil {
		t.Errorf("left %q, %v, want %q", left, err, want)
	}
	err = identitytest.Check(dir, identitytest.Plant{After: map[string]string{"a": "none", "d": "kept", "up": "->b"}})
	if err == nil || strings.Count(err.Error(), "want") != 2 {
		t.Errorf("Check: %v, want two that are wrong", err)
	}
}
