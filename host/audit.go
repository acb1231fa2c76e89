package host

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/audit"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/live"
	"github.com/clade-vm/clade/store"
)

// Audit reads the marks of machines, or of image files, and says what they share:
// stopped ones in one boot of the appliance, running ones through their agents.
// One that cannot be read has its error in the result. Kinds: NotFound; those of
// the appliance, where it does not come up at all.
func (h *Host) Audit(ctx context.Context, spec clade.AuditSpec, p clade.Progress) (*clade.Audit, error) {
	a := &auditing{h: h, result: &clade.Audit{Read: []clade.AuditRead{}}, findings: map[string][]identity.Finding{}}
	defer a.release()
	if len(spec.Images) > 0 {
		a.images(spec)
	} else if err := a.machines(ctx, spec.Machines, p); err != nil {
		return nil, err
	}
	if err := a.readDisks(ctx, p); err != nil {
		return nil, err
	}
	a.result.Shared = audit.Compare(a.findings)
	if len(spec.Images) > 0 {
		for i := range a.result.Shared {
			a.result.Shared[i].Mend = mendImages(a.result.Shared[i].Machines[1:])
		}
	}
	if len(spec.Machines) == 1 {
		only := string(spec.Machines[0])
		a.result.Shared = slices.DeleteFunc(a.result.Shared, func(s clade.Shared) bool { return !slices.Contains(s.Machines, only) })
	}
	return a.result, nil
}

// mendImages is the command that takes from image files what they share with another.
func mendImages(files []string) string {
	const command = "clade generalize --in-place --image "
	if len(files) == 1 {
		return command + files[0]
	}
	return command + "FILE, for each of " + strings.Join(files, " ")
}

// An auditing is one audit at work.
type auditing struct {
	h        *Host
	result   *clade.Audit
	findings map[string][]identity.Finding // by name
	waiting  []waiting                     // to be read from their disks
	releases []func()                      // let go of machines that are held
}

// waiting is what is yet to be read from its disks.
type waiting struct {
	name    string
	disks   []appliance.Disk
	machine *store.Machine // nil for an image
}

// add records how one was read.
func (a *auditing) add(name, how, system string, found []identity.Finding, notes []string, err error) {
	compared, residue := audit.Divide(found)
	r := clade.AuditRead{Name: name, How: how, System: system, Found: len(compared), Residue: residue, Notes: notes}
	if err != nil {
		r.Error = err.Error()
	} else {
		a.findings[name] = compared
	}
	a.result.Read = append(a.result.Read, r)
}

// images lines up image files. What they rest on is believed only if that is said.
func (a *auditing) images(spec clade.AuditSpec) {
	for _, path := range spec.Images {
		format, err := diskFormat(path)
		if err != nil {
			a.add(path, "disk", "", nil, nil, err)
			continue
		}
		a.waiting = append(a.waiting, waiting{path, []appliance.Disk{{Path: path, Format: format, ReadOnly: true, Backed: spec.Backing}}, nil})
	}
}

// diskFormat says how a disk lies in its file. Kind Unsupported for formats that
// the appliance does not open.
func diskFormat(path string) (appliance.Format, error) {
	format, err := image.Detect(path)
	switch {
	case err != nil:
		return "", err
	case format == image.QCOW2:
		return appliance.Qcow2, nil
	case format == image.Raw:
		return appliance.Raw, nil
	}
	return "", &clade.Error{Op: "open", On: "image " + path, Kind: clade.Unsupported, Err: errors.New("it is in format " + string(format)),
		Hint: "convert a copy of it first: qemu-img convert -O qcow2 " + path + " copy.qcow2"}
}

// machines reads those that run, and lines up the others. A single one is
// compared with all.
func (a *auditing) machines(ctx context.Context, names []clade.Name, p clade.Progress) error {
	var all []*store.Machine
	err := a.h.db.Read(ctx, func(tx *store.Tx) (err error) {
		for _, name := range names {
			if _, err := tx.Machine(name); err != nil {
				return retitle("audit", err)
			}
		}
		all, err = tx.Machines()
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range all {
		if len(names) > 1 && !slices.Contains(names, m.Name) {
			continue
		}
		stopped, err := a.holdStopped(ctx, m)
		if err != nil {
			a.add(string(m.Name), "disk", "", nil, nil, err)
			continue
		}
		if stopped {
			continue
		}
		p.Tell(clade.Event{Step: "audit", Note: "read " + string(m.Name) + " through its agent"})
		found, err := a.h.readLive(ctx, m)
		a.add(string(m.Name), "agent", "", found, nil, err)
	}
	return nil
}

// holdStopped lines m up if it is stopped, and keeps others from starting it
// until its disks are read.
func (a *auditing) holdStopped(ctx context.Context, m *store.Machine) (bool, error) {
	held, release, err := a.h.hold(ctx, m.Name, "audit")
	if err != nil {
		return false, err
	}
	status, err := a.h.Driver.Status(ctx, a.h.place(held.ID))
	if err != nil || status.State != clade.Stopped {
		release()
		return false, fileError("audit", "machine "+string(m.Name), err)
	}
	a.releases = append(a.releases, release)
	a.waiting = append(a.waiting, waiting{string(held.Name), backed(a.h.headsOf(held, systemDisks(held.Disks))), held})
	return true, nil
}

// release lets go of the machines whose disks were read.
func (a *auditing) release() {
	for _, release := range a.releases {
		release()
	}
}

// readLive reads the marks of a running guest that machines must not share.
func (h *Host) readLive(ctx context.Context, m *store.Machine) ([]identity.Finding, error) {
	reach, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	g, _, err := h.guest(reach, m.Name, "audit")
	if err != nil {
		return nil, err
	}
	defer g.Close()
	found, err := live.Read(ctx, g, identity.Compared())
	if err != nil {
		return nil, fileError("audit", "machine "+string(m.Name), err)
	}
	return found, h.learnFrom(ctx, m, found)
}

// learnFrom records the machine-id that is among what was found.
func (h *Host) learnFrom(ctx context.Context, m *store.Machine, found []identity.Finding) error {
	for _, f := range found {
		if f.Mark == "machine-id" && f.Value != "" {
			return h.learn(ctx, m, f.Value)
		}
	}
	return nil
}

// readDisks reads all that are waiting, in as few boots as they fit in.
func (a *auditing) readDisks(ctx context.Context, p clade.Progress) error {
	if len(a.waiting) == 0 {
		return nil
	}
	disks, of := a.once(ctx)
	results, err := a.h.Appliance.Read(ctx, disks, identity.Outline, p)
	if err != nil {
		return fileError("audit", "the disks", err)
	}
	for i, w := range a.waiting {
		r := results[of[i]]
		a.add(w.name, "disk", r.System, r.Findings, r.Notes, r.Err)
		if w.machine != nil && r.Err == nil {
			if err := a.h.learnFrom(ctx, w.machine, r.Findings); err != nil {
				return err
			}
		}
	}
	return nil
}
