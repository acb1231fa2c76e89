package host

import (
	"context"
	"errors"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/live"
	"github.com/clade-vm/clade/store"
)

// Mend gives a machine an identity of its own: it erases what must differ from
// its twins, and leaves what it has lived through (logs, histories). A running
// guest is renewed at once through its agent; a stopped one gets new heads and
// makes the rest anew at its next start. Kinds: NotFound; Timeout (no agent
// answers); Unproven. After a failure on a running guest it may be mended in part,
// and Mend can be called again; a stopped one is as it was.
func (h *Host) Mend(ctx context.Context, name clade.Name, p clade.Progress) (*clade.Generalization, error) {
	on := "machine " + string(name)
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	m, release, err := h.hold(ctx, name, "mend")
	if err != nil {
		return nil, err
	}
	defer release()
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return nil, fileError("mend", on, err)
	}
	var report *generalize.Report
	if status.State == clade.Stopped {
		report, err = h.rework(ctx, m, clade.Marks{Disable: notMended(true)}, p)
	} else {
		report, err = h.mendRunning(ctx, m, p)
	}
	if err != nil {
		return nil, retitle("mend", err)
	}
	return generalization(on, on, report)
}

// mendRunning renews a running guest through its agent.
func (h *Host) mendRunning(ctx context.Context, m *store.Machine, p clade.Progress) (*generalize.Report, error) {
	reach, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	g, _, err := h.guest(reach, m.Name, "mend")
	if err != nil {
		return nil, err
	}
	defer g.Close()
	marks, err := generalize.Select(nil, notMended(false))
	if err != nil {
		return nil, err
	}
	instance := newInstanceID()
	report, err := live.Mend(ctx, g, marks, live.Identity{Hostname: m.Identity.Hostname, InstanceID: instance}, p)
	if report != nil && report.Verified { // also where only telling the guest's programs failed
		err = errors.Join(err, h.db.Write(ctx, func(tx *store.Tx) error { return tx.Renew(m.ID, instance) }))
	}
	return report, fileError("mend", "machine "+string(m.Name), err)
}

// notMended are the marks that a machine keeps when it is mended: the traces of
// its own life. The record of what cloud-init has done goes with the others if that
// is to be done again at the next start; else it stays, under the new instance-id.
func notMended(again bool) []string {
	var names []string
	for _, m := range identity.All() {
		record := m.Name == "cloud-init-instance" || m.Name == "cloud-init-state"
		if record && !again || !record && m.Default && m.Kind == identity.Residue {
			names = append(names, m.Name)
		}
	}
	return names
}
