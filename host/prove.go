package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/bundle"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
)

// believe makes the generalization of a template that has arrived this home's own
// knowledge. A bundle proves that it is whole, not that what its maker says of it is
// true: so the marks are read on its disks, in the appliance, and the attestation
// becomes what was found. With trust the maker's word is taken, and recorded as that.
//
// A template whose maker said nothing stays unproven. Kind Unproven where the disks
// have a mark that the attestation says is erased.
func (a *arrival) believe(ctx context.Context, t *clade.Template, from string, trust bool, p clade.Progress) error {
	if !t.Generalized {
		return nil
	}
	if trust {
		t.Believed = from
		return nil
	}
	var said generalize.Report
	if err := json.Unmarshal(t.Attestation, &said); err != nil {
		return unbelieved(t, errors.New("its attestation cannot be read"))
	}
	found, err := a.readMarks(ctx, t, p)
	if err != nil {
		return unbelieved(t, err)
	}
	for _, step := range found.Marks {
		if len(step.Findings) > 0 && said.Erased(step.Mark) {
			return unbelieved(t, fmt.Errorf("its attestation says that %s is erased, and it is there: %s", step.Mark, step.Findings[0].Path))
		}
	}
	t.Attestation, err = json.Marshal(found)
	a.h.did("import: proven")
	return err
}

func unbelieved(t *clade.Template, err error) error {
	return &clade.Error{Op: "prove", On: "template " + t.Ref().String(), Kind: clade.KindOf(unproven(err)), Err: err,
		Hint: "where you trust who made it, take their word for it: --trust"}
}

// unproven gives an error that has no kind that of a proof that failed.
func unproven(err error) error {
	if clade.KindOf(err) == clade.Internal {
		return clade.Unproven
	}
	return err
}

// readMarks reads the marks on a template's disks as they arrived, in one boot that
// writes nothing, and reports those that are on by default.
func (a *arrival) readMarks(ctx context.Context, t *clade.Template, p clade.Progress) (*generalize.Report, error) {
	marks, err := generalize.Select(nil, nil)
	if err != nil {
		return nil, err
	}
	var disks []appliance.Disk
	var digests []string
	dir := filepath.Join(a.op.dir, layersDir)
	for _, d := range t.Disks {
		if d.Label != "" {
			continue // a data disk: it was not generalized either
		}
		chain := a.m.Chain(d.Layer)
		if err := a.borrow(ctx, chain); err != nil {
			return nil, err
		}
		disks = append(disks, appliance.Disk{Path: filepath.Join(dir, d.Layer, layerFile), Format: appliance.Qcow2, ReadOnly: true, Backed: true})
		digests = append(digests, chain[0].Digest)
	}
	p.Tell(clade.Event{Step: "prove", Note: "read the marks of template " + t.Ref().String()})
	results, err := a.h.Appliance.Read(ctx, [][]appliance.Disk{disks}, identity.Whole, p)
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return nil, err
	}
	report := generalize.Planned(marks, results[0].Findings)
	for i, step := range report.Marks {
		report.Marks[i].Erased = len(step.Findings) == 0
	}
	report.Verified, report.Layers = true, digests
	return report, nil
}

// borrow lets those that arrived find the layers they rest on that the home has.
func (a *arrival) borrow(ctx context.Context, chain []bundle.Layer) error {
	for _, l := range chain {
		if a.there[l.ID] == nil {
			continue
		}
		if err := a.h.chainIntact(ctx, l.ID); err != nil {
			return err
		}
		return a.h.borrow(ctx, filepath.Join(a.op.dir, layersDir), l.ID)
	}
	return nil
}
