package appliance

import (
	"context"
	"errors"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance/guest"
)

// A Trio is the disks of one machine in three states, by slot.
type Trio struct {
	Old     []Disk     // what a clone was made on
	Mine    []Disk     // the clone
	Next    []Disk     // the new version of its template; where Apply is set, overlays of it
	Related bool       // Next goes back to a state of the same disks as Old
	Take    clade.Side // whose files are taken that both changed
	Apply   bool
}

// mergeMemory is what the VM has to compare trees of millions of files.
const mergeMemory = 768 * clade.MiB

// Merge compares what a clone and the new version of its template changed and, with
// Apply and where no conflict is left undecided, writes what the clone changed to
// the disks of Next, reads it again and reports that it was applied. Old and Mine
// are not written, not by a byte. After an error Next is to be thrown away.
//
// Kinds: Unsupported (the trees cannot be matched, or are beyond the bounds),
// Corrupt, NotFound (no operating system), NoSpace, Unproven, InUse (hibernated).
func (a *Appliance) Merge(ctx context.Context, t Trio, p clade.Progress) (report *clade.Merge, applied bool, err error) {
	p.Tell(clade.Event{Step: "merge", Note: "boot the appliance"})
	var disks []Disk
	for _, d := range append(append([]Disk(nil), t.Old...), t.Mine...) {
		d.ReadOnly = true
		disks = append(disks, d)
	}
	for _, d := range t.Next {
		d.ReadOnly = !t.Apply
		disks = append(disks, d)
	}
	vm := *a
	if vm.Memory == 0 {
		vm.Memory = mergeMemory
	}
	n, m := len(t.Old), len(t.Old)+len(t.Mine)
	var merged guest.Merged
	err = vm.run(ctx, disks, 1, p, func(s *session) error {
		reply, err := s.call(ctx, guest.Request{Verb: guest.Merge, Disks: serials(m, len(t.Next)),
			Trio: &guest.Trio{Old: serials(0, n), Mine: serials(n, len(t.Mine)), Related: t.Related, Take: t.Take, Apply: t.Apply}}, p)
		if err != nil {
			return err
		}
		err = decode(reply, &merged)
		merged.Report.Notes = reply.Notes
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if t.Apply && !merged.Applied && !merged.Report.Open() {
		return nil, false, &clade.Error{Op: "merge", On: "the disks", Kind: clade.Unproven, Err: errors.New("the appliance proved nothing")}
	}
	p.Tell(clade.Event{Step: "merge", End: true})
	tidy(&merged.Report)
	return &merged.Report, merged.Applied, nil
}

// maxListed bounds each list of a report that comes out of the VM.
const maxListed = 1000

// tidy bounds a report from the VM, and takes control characters out of it.
func tidy(r *clade.Merge) {
	r.System = clean(r.System)
	for _, list := range []*[]string{&r.Clone.Added, &r.Clone.Changed, &r.Clone.Removed, &r.Template.Added, &r.Template.Changed, &r.Template.Removed} {
		*list = bounded(*list)
		for i, name := range *list {
			(*list)[i] = clean(name)
		}
	}
	r.Conflicts, r.Settled = bounded(r.Conflicts), bounded(r.Settled)
	for i, c := range r.Conflicts {
		r.Conflicts[i] = clade.Conflict{Path: clean(c.Path), Clone: clean(c.Clone), Template: clean(c.Template), Why: clean(c.Why)}
	}
	for i, s := range r.Settled {
		r.Settled[i] = clade.Settled{Path: clean(s.Path), Side: clade.Side(clean(string(s.Side))), Why: clean(s.Why)}
	}
}

// bounded returns a list that is no longer than the bound, and is one in JSON.
func bounded[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list[:min(len(list), maxListed)]
}
