package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/audit"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
)

// findings are what a guest's disk tells of its two marks.
func (g *guest) findings() (all []identity.Finding) {
	if g.MachineID != "" {
		all = append(all, identity.Finding{Mark: "machine-id", Path: "etc/machine-id", Value: g.MachineID})
	}
	for _, key := range g.Keys {
		all = append(all, identity.Finding{Mark: "ssh-host-keys", Path: "etc/ssh/ssh_host_ed25519_key", Value: key})
	}
	return all
}

// erase takes the marks off a guest's disk and says what it took.
func (g *guest) erase(m clade.Marks, dryRun bool) (*generalize.Report, error) {
	marks, err := generalize.Select(m.Enable, m.Disable)
	if err != nil {
		return nil, err
	}
	r := generalize.Planned(marks, g.findings())
	r.Tool, r.Time = "clade (fake)", epoch
	if dryRun {
		return r, nil
	}
	r.Verified = true
	for i := range r.Marks {
		r.Marks[i].Erased = true
		switch r.Marks[i].Mark {
		case "machine-id":
			g.MachineID = ""
		case "ssh-host-keys":
			g.Keys = nil
		}
	}
	return r, nil
}

func generalization(target, result string, r *generalize.Report) (*clade.Generalization, error) {
	data, err := json.Marshal(r)
	return &clade.Generalization{Target: target, Result: result, Report: data}, err
}

// Generalize implements clade.Identities for machines, and for files that exist.
func (h *Home) Generalize(ctx context.Context, spec clade.GeneralizeSpec, _ clade.Progress) (*clade.Generalization, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "generalize"); err != nil {
		return nil, err
	}
	if spec.Machine == "" {
		if _, err := os.Stat(spec.Image); err != nil {
			return nil, fail("generalize", "image "+spec.Image, clade.NotFound, "check the path", "no such file")
		}
		r, err := (&guest{MachineID: "m-image"}).erase(spec.Marks, spec.DryRun)
		if err != nil {
			return nil, err
		}
		return generalization("image "+spec.Image, map[bool]string{false: "image " + spec.Out}[spec.DryRun], r)
	}
	m, err := h.machine("generalize", spec.Machine)
	if err != nil {
		return nil, err
	}
	on := "machine " + string(m.Name)
	if m.State != clade.Stopped {
		return nil, fail("generalize", on, clade.InUse, "stop it first: clade stop "+string(m.Name), "it is running")
	}
	r, err := h.s.Guests[m.ID].erase(spec.Marks, spec.DryRun)
	if err != nil {
		return nil, err
	}
	return generalization(on, map[bool]string{false: on}[spec.DryRun], r)
}

// Mend implements clade.Identities.
func (h *Home) Mend(ctx context.Context, name clade.Name, _ clade.Progress) (*clade.Generalization, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "mend"); err != nil {
		return nil, err
	}
	m, err := h.machine("mend", name)
	if err != nil {
		return nil, err
	}
	g := h.s.Guests[m.ID]
	r, err := g.erase(clade.Marks{}, false)
	if err != nil {
		return nil, err
	}
	m.Identity.InstanceID = fmt.Sprintf("iid-%d", h.next())
	if m.State != clade.Stopped {
		h.firstBoot(m, g)
	}
	on := "machine " + string(name)
	return generalization(on, on, r)
}

// Audit implements clade.Identities.
func (h *Home) Audit(ctx context.Context, spec clade.AuditSpec, _ clade.Progress) (*clade.Audit, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "audit"); err != nil {
		return nil, err
	}
	result := &clade.Audit{Read: []clade.AuditRead{}}
	found := map[string][]identity.Finding{}
	for _, image := range spec.Images {
		read := clade.AuditRead{Name: image, How: "disk", System: "Debian GNU/Linux 12"}
		if data, err := os.ReadFile(image); err != nil {
			read.Error = "no such file"
		} else {
			found[image], read.Residue = audit.Divide([]identity.Finding{{Mark: "machine-id", Value: string(data)}, {Mark: "logs", Path: "var/log"}})
			read.Found = len(found[image])
		}
		result.Read = append(result.Read, read)
	}
	for _, name := range spec.Machines {
		if _, err := h.machine("audit", name); err != nil {
			return nil, err
		}
	}
	for _, m := range h.list() {
		if len(spec.Images) > 0 || len(spec.Machines) > 1 && !slices.Contains(spec.Machines, m.Name) {
			continue
		}
		how := map[bool]string{true: "disk", false: "agent"}[m.State == clade.Stopped]
		found[string(m.Name)] = h.s.Guests[m.ID].findings()
		result.Read = append(result.Read, clade.AuditRead{Name: string(m.Name), How: how, Found: len(found[string(m.Name)])})
	}
	result.Shared = audit.Compare(found)
	return result, nil
}
