package identity_test

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
)

// The list and the plants cover each other: a mark cannot go off the list, or come
// onto it, without a test that fails.
func TestEveryMarkHasAPlant(t *testing.T) {
	plants := identitytest.Plants()
	names := map[string]bool{}
	for _, m := range identity.All() {
		if names[m.Name] {
			t.Errorf("two marks are called %s", m.Name)
		}
		names[m.Name] = true
		if _, ok := plants[m.Name]; !ok {
			t.Errorf("mark %s has no plant", m.Name)
		}
	}
	for name := range plants {
		if !names[name] {
			t.Errorf("plant %s has no mark in All()", name)
		}
	}
}

func TestMarksAreComplete(t *testing.T) {
	form := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, m := range identity.All() {
		if !form.MatchString(m.Name) || !form.MatchString(m.Family) {
			t.Errorf("mark %q of family %q: not plain names", m.Name, m.Family)
		}
		if m.Why == "" || m.Source == "" || m.Where == "" || m.Regenerates == "" || len(m.Paths) == 0 || m.Will() == "" {
			t.Errorf("mark %s leaves something unsaid: %+v", m.Name, m)
		}
		if !slices.Contains([]identity.Kind{identity.Conflict, identity.Secret, identity.Residue}, m.Kind) {
			t.Errorf("mark %s has kind %q", m.Name, m.Kind)
		}
		for _, p := range m.Paths {
			if _, err := path.Match(p, ""); err != nil || strings.HasPrefix(p, "/") || path.Clean(p) != p {
				t.Errorf("mark %s has path %q: %v", m.Name, p, err)
			}
		}
		if got, ok := identity.Find(m.Name); !ok || got.Why != m.Why {
			t.Errorf("Find(%s) = %v, %v", m.Name, got.Name, ok)
		}
	}
	if _, ok := identity.Find("no-such-mark"); ok {
		t.Error("Find found what is not there")
	}
	all := identity.All()
	for i, m := range all[1:] {
		if all[i].Last && !m.Last {
			t.Errorf("%s comes after %s, which is to be erased last", m.Name, all[i].Name)
		}
	}
	if last := all[len(all)-1]; last.Name != "machine-id" || !last.Last {
		t.Errorf("the last mark is %s, want machine-id", last.Name)
	}
}

func TestEachMarkAlone(t *testing.T) {
	for _, m := range identity.All() {
		t.Run(m.Name, func(t *testing.T) {
			dir := t.TempDir()
			tree := openTree(t, dir)
			if found, err := m.Read(tree); len(found) != 0 || err != nil {
				t.Errorf("in an empty tree: %+v, %v", found, err)
			}
			if err := m.Erase(tree); err != nil {
				t.Errorf("erased from an empty tree: %v", err)
			}
			if got := read(t, dir, "etc"); got != "none" {
				t.Errorf("erasing made something in an empty tree: %s", got)
			}
			p := identitytest.Plants()[m.Name]
			grow(t, dir, p.Files)
			found, err := m.Read(tree)
			if len(found) == 0 || err != nil {
				t.Fatalf("the plant is not found: %+v, %v", found, err)
			}
			checkFindings(t, m, found)
			for range 2 { // the second time there is nothing left to do
				if err := m.Erase(tree); err != nil {
					t.Fatalf("erase: %v", err)
				}
			}
			if found, err := m.Read(tree); len(found) != 0 || err != nil {
				t.Errorf("after erasing: %+v, %v", found, err)
			}
			if err := identitytest.Check(dir, p); err != nil {
				t.Errorf("after erasing: %v", err)
			}
			if left := left(t, dir); len(left) != 0 {
				t.Errorf("after erasing, the plant is still in %q", left)
			}
		})
	}
}

// checkFindings: no finding prints a secret or what is in a residue.
func checkFindings(t *testing.T, m identity.Mark, found []identity.Finding) {
	t.Helper()
	text, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	if m.Kind != identity.Conflict && strings.Contains(string(text), identitytest.Planted) {
		t.Errorf("the findings of a %s show its content: %s", m.Kind, text)
	}
	compared := false
	for _, f := range found {
		compared = compared || f.Value != ""
		if f.Mark != m.Name || f.Path == "" {
			t.Errorf("finding %+v of mark %s", f, m.Name)
		}
	}
	if compared != (m.Kind != identity.Residue) {
		t.Errorf("a %s, but values to compare: %v, in %s", m.Kind, compared, text)
	}
}

// All plants in one tree, all marks erased in the order of the list, and a reader
// that knows nothing of marks.
func TestAllMarksTogether(t *testing.T) {
	dir := t.TempDir()
	all := identitytest.Together()
	grow(t, dir, all.Files)
	if n := len(left(t, dir)); n < 40 {
		t.Fatalf("only %d files are planted", n)
	}
	tree := openTree(t, dir)
	for _, m := range identity.All() {
		found, err := m.Read(tree)
		if err != nil {
			t.Error(err)
		}
		if len(found) == 0 && m.Name != "cloud-init-network" { // the installer's files, which come first, switch it off
			t.Errorf("mark %s finds nothing", m.Name)
		}
	}
	for _, m := range identity.All() {
		if err := m.Erase(tree); err != nil {
			t.Error(err)
		}
	}
	for _, m := range identity.All() {
		if found, err := m.Read(tree); len(found) != 0 || err != nil {
			t.Errorf("mark %s after erasing all: %+v, %v", m.Name, found, err)
		}
	}
	if left := left(t, dir); len(left) != 0 {
		t.Errorf("still planted: %q", left)
	}
	if err := identitytest.Check(dir, all); err != nil {
		t.Error(err)
	}
}

func TestMarkIsData(t *testing.T) {
	m, _ := identity.Find("machine-id")
	text, err := json.Marshal(m)
	if err != nil || !strings.Contains(string(text), `"kind":"conflict"`) || !strings.Contains(string(text), `"paths":["etc/machine-id"`) {
		t.Errorf("%s, %v", text, err)
	}
}
