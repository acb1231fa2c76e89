package generalize

import (
	"slices"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

// Planned returns the plan that findings which were read elsewhere make for marks:
// what Plan would say of that guest, without what it would write.
func Planned(marks []identity.Mark, findings []identity.Finding) *Report {
	r := &Report{Tool: "clade " + clade.Version, Time: time.Now().UTC()}
	for _, m := range ordered(marks) {
		var found []identity.Finding
		for _, f := range findings {
			if f.Mark == m.Name {
				found = append(found, f)
			}
		}
		r.Marks = append(r.Marks, newStep(m, found))
	}
	return r
}

// Missing returns the names of the marks that are on by default and that r does
// not prove to be gone: those that were left by choice, and those that this clade
// knows and the one that made r did not.
func (r *Report) Missing() []string {
	var missing []string
	for _, m := range identity.All() {
		proven := r.Verified && slices.ContainsFunc(r.Marks, func(s Step) bool { return s.Mark == m.Name && s.Erased })
		if m.Default && !proven {
			missing = append(missing, m.Name)
		}
	}
	return missing
}

// Erased says whether r says that a mark was erased.
func (r *Report) Erased(mark string) bool {
	return slices.ContainsFunc(r.Marks, func(s Step) bool { return s.Mark == mark && s.Erased })
}
