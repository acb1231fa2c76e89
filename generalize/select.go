package generalize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

// Select returns the marks to erase: those that are on by default and those in
// enable, without those in disable. An unknown name, or one in both lists, is
// Invalid.
func Select(enable, disable []string) ([]identity.Mark, error) {
	for _, name := range slices.Concat(enable, disable) {
		if _, ok := identity.Find(name); !ok {
			return nil, unknown(name)
		}
	}
	for _, name := range enable {
		if slices.Contains(disable, name) {
			return nil, &clade.Error{Op: "select", On: "mark " + name, Kind: clade.Invalid,
				Err: fmt.Errorf("both enabled and disabled"), Hint: "name it in one of the two lists"}
		}
	}
	return slices.DeleteFunc(identity.All(), func(m identity.Mark) bool {
		return slices.Contains(disable, m.Name) || (!m.Default && !slices.Contains(enable, m.Name))
	}), nil
}

// unknown is the error about a name that is no mark's, with the names that are
// near it.
func unknown(name string) error {
	hint := "docs/marks.md lists all marks"
	if near := nearest(name); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "? " + hint
	}
	return &clade.Error{Op: "select", On: fmt.Sprintf("mark %.60q", name), Kind: clade.Invalid,
		Err: fmt.Errorf("there is no such mark"), Hint: hint}
}

// nearest returns up to three names of marks that name may be meant for: those
// that contain it or are in it, and those a few letters away, the nearest first.
func nearest(name string) []string {
	name = strings.ToLower(name)
	if len(name) < 2 || len(name) > 60 {
		return nil
	}
	type near struct {
		name string
		far  int
	}
	var found []near
	for _, m := range identity.All() {
		far := distance(name, m.Name)
		if strings.Contains(m.Name, name) || strings.Contains(name, m.Name) {
			far = min(far, 1)
		}
		if far <= 2 || far <= len(name)/3 {
			found = append(found, near{m.Name, far})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.far - b.far })
	var names []string
	for _, n := range found[:min(len(found), 3)] {
		names = append(names, n.name)
	}
	return names
}

// distance is how many letters must be put in, taken out or changed to make b of
// a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
