package host

import (
	"context"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
)

// cost returns what one clone of b takes on the disk now.
func (h *Host) cost(ctx context.Context, b *base, kind clade.CloneKind) (clade.Bytes, error) {
	sum := clade.Bytes(len(b.added)) * qcow2.OverlayCost
	if rests(kind) {
		return sum + clade.Bytes(len(b.virtual))*qcow2.OverlayCost, nil
	}
	var files []string
	if b.machine != nil {
		files = h.headsOf(b.machine, b.of)
	}
	chains, err := h.chains(ctx, b.layers)
	for _, chain := range chains {
		files = append(files, chain...)
	}
	for _, file := range files {
		n, err := image.Allocated(file)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, err
}

// checkSpace refuses clones that the file system has no room for.
func (h *Host) checkSpace(ctx context.Context, b *base, spec clade.CloneSpec) error {
	each, err := h.cost(ctx, b, spec.Kind)
	if err != nil {
		return err
	}
	need := each * clade.Bytes(len(spec.Names))
	if spec.Kind == clade.Full && image.Reflinks(h.path(tmpDir)) {
		need = 0
	}
	free, err := image.Space(h.Dir)
	if err != nil || need <= free {
		return err
	}
	return &clade.Error{Op: "clone", On: b.source, Kind: clade.NoSpace,
		Err:  fmt.Errorf("%v needed in %s, %v free", need, h.Dir, free),
		Hint: "free some space (clade du shows who takes it), or make linked clones"}
}

// PlanClone says what Clone would make and what it costs, and refuses what
// Clone would refuse. It changes nothing.
func (h *Host) PlanClone(ctx context.Context, spec clade.CloneSpec) (*clade.Plan, error) {
	if err := h.checkClone(ctx, &spec); err != nil {
		return nil, err
	}
	b, err := h.source(ctx, spec)
	if err != nil {
		return nil, err
	}
	plan := &clade.Plan{Source: b.source, Kind: spec.Kind, Reflink: image.Reflinks(h.path(tmpDir))}
	each, err := h.cost(ctx, b, spec.Kind)
	if err != nil {
		return nil, err
	}
	if rests(spec.Kind) {
		plan.RestsOn = b.layers
	}
	if plan.Steps, err = h.steps(ctx, b, spec, each); err != nil {
		return nil, err
	}
	for _, name := range spec.Names {
		plan.Machines = append(plan.Machines, clade.PlanMachine{Name: name, Bytes: each})
		plan.Bytes += each
		for _, v := range b.virtual {
			plan.Virtual += v
		}
		for _, d := range b.added {
			plan.Virtual += d.Virtual
		}
	}
	if plan.Free, err = image.Space(h.Dir); err != nil {
		return nil, err
	}
	return plan, h.checkSpace(ctx, b, spec)
}

// steps says, for people, what will be done, and refuses a template whose layers
// have changed.
func (h *Host) steps(ctx context.Context, b *base, spec clade.CloneSpec, each clade.Bytes) (steps []string, err error) {
	if b.machine == nil {
		if err := h.chainIntact(ctx, b.layers...); err != nil {
			return nil, err
		}
	} else {
		status, err := h.Driver.Status(ctx, h.place(b.machine.ID))
		if err != nil {
			return nil, err
		}
		if rests(spec.Kind) || status.State != clade.Stopped {
			steps = append(steps, "freeze the heads of "+b.source+": it goes on unchanged")
		}
		if spec.Generalize {
			steps = append(steps, "generalize what the clones rest on, in the appliance, and prove it")
		}
	}
	if rests(spec.Kind) {
		steps = append(steps, fmt.Sprintf("write %d empty heads that rest on %s", len(spec.Names)*len(b.virtual), b.source))
	} else {
		steps = append(steps, fmt.Sprintf("copy %v for each clone", each))
	}
	for _, d := range b.added {
		steps = append(steps, fmt.Sprintf("give each clone an empty data disk %s of %v, for %s", d.Label, d.Virtual, d.Mount))
	}
	steps = append(steps, "give each clone its own UUID, MAC, address, hostname and instance-id")
	if spec.Kind == clade.Instant {
		steps = append(steps, "resume each from the warm template's memory, without a network", "give its kernel fresh entropy, then its own clock, machine-id, host keys and names", "plug its network in")
	}
	return steps, nil
}
