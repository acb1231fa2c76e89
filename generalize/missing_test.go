package generalize_test

import (
	"slices"
	"testing"

	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
)

func TestPlannedIsWhatPlanSays(t *testing.T) {
	_, tree := grow(t, debian)
	marks := defaults(t)
	want, err := generalize.Plan(tree, marks)
	if err != nil {
		t.Fatal(err)
	}
	var findings []identity.Finding
	for _, m := range identity.All() { // also those that are not erased
		found, err := m.Read(tree)
		if err != nil {
			t.Fatal(err)
		}
		findings = append(findings, found...)
	}
	got := generalize.Planned(marks, findings)
	if len(got.Marks) != len(want.Marks) {
		t.Fatalf("%d steps, want %d", len(got.Marks), len(want.Marks))
	}
	for i, s := range got.Marks {
		w := want.Marks[i]
		if s.Mark != w.Mark || s.Files != w.Files || s.Size != w.Size || s.Will != w.Will || s.Erased {
			t.Errorf("%+v, want %+v", s, w)
		}
	}
}

func TestMissing(t *testing.T) {
	_, tree := grow(t, debian)
	marks, err := generalize.Select(nil, []string{"histories", "hosts"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := generalize.Plan(tree, marks)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Missing(); len(got) != len(marks)+2 {
		t.Errorf("%d marks are missing before anything is erased, want all %d", len(got), len(marks)+2)
	}
	if err := generalize.Erase(tree, r); err != nil {
		t.Fatal(err)
	}
	if got := r.Missing(); len(got) != len(marks)+2 {
		t.Errorf("%d marks are missing before anything is proven, want all %d", len(got), len(marks)+2)
	}
	if err := generalize.Verify(tree, r); err != nil {
		t.Fatal(err)
	}
	if got := r.Missing(); !slices.Equal(got, []string{"hosts", "histories"}) {
		t.Errorf("missing %q, want those that were left out", got)
	}
}
