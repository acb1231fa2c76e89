// Package generalize erases the marks of a guest and proves that they are gone.
//
// Work goes in three steps over one [Report]: [Plan] reads what is there, [Erase]
// removes it, [Verify] reads everything again and fails closed, naming what is
// left. The report of a verified run is the attestation of a template.
//
// The package works on a mounted tree and does not mount, sync or unmount it;
// after an error the tree is to be thrown away. A caller who wants to prove what
// is on the disk and not what is in memory mounts it again before Verify.
package generalize

import (
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/rootfs"
)

// A Report says what is done, or will be done, about the marks of one guest. It
// holds no secret: of secrets the findings have fingerprints only.
type Report struct {
	Tool     string             `json:"tool"` // the version of clade
	Time     time.Time          `json:"time"` // of the last step, in UTC
	Marks    []Step             `json:"marks"`
	Writes   []string           `json:"writes,omitempty"` // what is added so that the guest restores its marks
	Verified bool               `json:"verified"`         // all was read again, and nothing is left
	Layers   []string           `json:"layers,omitempty"` // the digests of the sealed layers that hold the result, by slot
	Left     []identity.Finding `json:"left,omitempty"`   // what Verify found
}

// A Step is the part of one mark in a Report.
type Step struct {
	Mark     string             `json:"mark"`
	Kind     identity.Kind      `json:"kind"`
	Will     string             `json:"will"`               // what erasing does: "remove", "empty"
	Findings []identity.Finding `json:"findings,omitempty"` // before erasing
	Files    int                `json:"files"`              // how many files the findings stand for
	Size     int64              `json:"size"`               // their bytes
	Erased   bool               `json:"erased"`
}

// Plan reads what marks a guest has, and changes nothing. The steps are in the
// order in which Erase takes them, and those without findings are in it too: they
// are what Verify proves. An error is of kind Unproven: marks cannot be read.
func Plan(fsys fs.FS, marks []identity.Mark) (*Report, error) {
	r := &Report{Tool: "clade " + clade.Version, Time: time.Now().UTC()}
	all, err := identity.ReadAll(fsys, marks)
	if err != nil {
		return nil, err
	}
	found := map[string][]identity.Finding{}
	for _, f := range all {
		found[f.Mark] = append(found[f.Mark], f)
	}
	for _, m := range ordered(marks) {
		r.Marks = append(r.Marks, newStep(m, found[m.Name]))
	}
	if unit := identity.Firstboot(fsys, marks); unit != "" && !identity.FirstbootInstalled(fsys, unit) {
		r.Writes = []string{identity.FirstbootUnit}
	}
	return r, nil
}

func newStep(m identity.Mark, found []identity.Finding) Step {
	s := Step{Mark: m.Name, Kind: m.Kind, Will: m.Will(), Findings: found}
	for _, f := range found {
		s.Files += max(f.Count, 1)
		s.Size += f.Size
	}
	return s
}

// ordered returns marks in the order of the list, which ends with those that are
// Last.
func ordered(marks []identity.Mark) []identity.Mark {
	place := map[string]int{}
	for i, m := range identity.All() {
		place[m.Name] = i
	}
	out := slices.Clone(marks)
	slices.SortFunc(out, func(a, b identity.Mark) int { return place[a.Name] - place[b.Name] })
	return out
}

// Erase does what the plan says, the marks that are Last after all else is
// written, and notes in the plan what is done. A mark that the plan did not find is
// not looked for again, unless what is erased may have brought it to light. The
// marks are those of the steps by name; one that clade does not know is Invalid.
// After an error, of kind Unproven or Denied, the tree is generalized in part.
func Erase(t *rootfs.Tree, plan *Report) error {
	marks, err := plan.marks()
	if err != nil {
		return err
	}
	plan.Verified, plan.Left, plan.Time = false, nil, time.Now().UTC()
	last := slices.IndexFunc(marks, func(m identity.Mark) bool { return m.Last })
	if last < 0 {
		last = len(marks)
	}
	for i := range plan.Marks {
		plan.Marks[i].Erased = false
	}
	e := identity.NewEraser(t)
	if err := plan.erase(e, marks[:last], 0); err != nil {
		return err
	}
	if err := plan.eraseHidden(t, e, marks[:last]); err != nil {
		return err
	}
	if err := installFirstboot(t, marks); err != nil {
		return err
	}
	return plan.erase(e, marks[last:], last)
}

// erase erases those of marks that were found. Their steps begin at first.
func (r *Report) erase(e *identity.Eraser, marks []identity.Mark, first int) error {
	for i, m := range marks {
		step := &r.Marks[first+i]
		if len(step.Findings) > 0 && !step.Erased {
			if err := e.Erase(m); err != nil {
				return err
			}
		}
		step.Erased = true
	}
	return nil
}

// eraseHidden looks again for marks that were not found and that depend on more
// than their own files: what the installer left may have hidden them from the plan.
// Each round finds one at least, so that there are no more rounds than marks.
func (r *Report) eraseHidden(t *rootfs.Tree, e *identity.Eraser, marks []identity.Mark) error {
	for {
		var hidden []identity.Mark
		for i, m := range marks {
			if m.Depends() && len(r.Marks[i].Findings) == 0 {
				hidden = append(hidden, m)
			}
		}
		found, err := identity.ReadAll(t, hidden)
		if err != nil || len(found) == 0 {
			return err
		}
		for i, m := range marks {
			of := slices.DeleteFunc(slices.Clone(found), func(f identity.Finding) bool { return f.Mark != m.Name })
			if len(of) > 0 {
				r.Marks[i] = newStep(m, of)
			}
		}
		if err := r.erase(e, marks, 0); err != nil {
			return err
		}
	}
}

func installFirstboot(t *rootfs.Tree, marks []identity.Mark) error {
	unit := identity.Firstboot(t, marks)
	if unit == "" || identity.FirstbootInstalled(t, unit) {
		return nil
	}
	if err := identity.InstallFirstboot(t, unit); err != nil {
		return &clade.Error{Op: "write", On: identity.FirstbootUnit, Kind: clade.Unproven, Err: err}
	}
	return nil
}

// Verify reads every mark of r again, and whether the guest will restore what it
// lacks. It sets r.Verified, r.Left and r.Time. If anything is left, or cannot be
// read, the error is of kind Unproven and says what.
func Verify(fsys fs.FS, r *Report) error {
	r.Verified, r.Left, r.Time = false, nil, time.Now().UTC()
	marks, err := r.marks()
	if err != nil {
		return err
	}
	if r.Left, err = identity.ReadAll(fsys, marks); err != nil {
		return err
	}
	if unit := identity.Firstboot(fsys, marks); unit != "" && !identity.FirstbootInstalled(fsys, unit) {
		return &clade.Error{Op: "verify", On: identity.FirstbootUnit, Kind: clade.Unproven,
			Err: fmt.Errorf("it is not there, and nothing else would make the keys anew")}
	}
	if len(r.Left) > 0 {
		return leftError(r.Left)
	}
	r.Verified = true
	return nil
}

// leftError names the first of what is left, and how many more there are.
func leftError(left []identity.Finding) error {
	f := left[0]
	text := fmt.Sprintf("%s is still in /%s", f.Mark, f.Path)
	if f.Note != "" {
		text += " (" + f.Note + ")"
	}
	if n := len(left) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more are left", n)
	}
	return &clade.Error{Op: "verify", On: "the marks", Kind: clade.Unproven, Err: fmt.Errorf("%s", text)}
}

// marks returns the marks of r's steps, in their order.
func (r *Report) marks() ([]identity.Mark, error) {
	if len(r.Marks) == 0 {
		return nil, &clade.Error{Op: "read", On: "plan", Kind: clade.Invalid, Err: fmt.Errorf("it has no marks")}
	}
	known := map[string]identity.Mark{}
	for _, m := range identity.All() {
		known[m.Name] = m
	}
	var marks []identity.Mark
	for _, s := range r.Marks {
		m, ok := known[s.Mark]
		if !ok {
			return nil, unknown(s.Mark)
		}
		marks = append(marks, m)
	}
	return marks, nil
}
