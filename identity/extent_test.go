package identity_test

import (
	"slices"
	"testing"

	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
)

// An outline has every mark that a guest has, all that is compared, and of residue one
// place a mark: of each plant by itself, and of all of them together.
func TestOutline(t *testing.T) {
	plants := identitytest.Plants()
	plants["all together"] = identitytest.Together()
	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := identitytest.Grow(dir, plant); err != nil {
				t.Fatal(err)
			}
			tree := openTree(t, dir)
			whole, err := identity.ReadAll(tree, identity.All())
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, f := range whole {
				if l := outlined(f); find(t, f.Mark).Kind != identity.Residue || !slices.Contains(want, l) {
					want = append(want, l)
				}
			}
			outline, err := identity.Outline.Read(tree, identity.All())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range outline {
				got = append(got, outlined(f))
			}
			if !slices.Equal(got, want) {
				t.Errorf("outline\n%q, want\n%q", got, want)
			}
		})
	}
}

// outlined is what an outline tells of a finding.
func outlined(f identity.Finding) string {
	if m, _ := identity.Find(f.Mark); m.Kind == identity.Residue {
		return f.Mark
	}
	return f.Mark + " " + f.Path + " " + f.Value + " " + f.Note
}
