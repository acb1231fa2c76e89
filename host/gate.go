package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// gate refuses to clone what is not proven to be without marks, unless spec
// accepts by name each mark that the clones would share. Kind Unproven.
func (h *Host) gate(ctx context.Context, b *base, spec clade.CloneSpec) error {
	for _, name := range spec.AcceptTwins {
		if _, ok := identity.Find(name); !ok && name != clade.AllMarks {
			return &clade.Error{Op: "clone", On: b.source, Kind: clade.Invalid, Err: fmt.Errorf("%q is no mark", name),
				Hint: "clade generalize --list shows the marks; \"all\" stands for every one"}
		}
	}
	if b.machine != nil && spec.Generalize || slices.Contains(spec.AcceptTwins, clade.AllMarks) {
		return nil
	}
	missing, why, err := h.unproven(ctx, b)
	if err != nil || why == nil {
		return err
	}
	missing = slices.DeleteFunc(missing, func(mark string) bool { return slices.Contains(spec.AcceptTwins, mark) })
	if len(missing) == 0 {
		return nil
	}
	e := &clade.Error{Op: "clone", On: b.source, Kind: clade.Unproven, Err: why}
	accept := "--accept-twins " + strings.Join(missing, ",")
	if len(missing) > maxNamed {
		accept = "--accept-twins all"
	}
	switch {
	case b.machine != nil:
		e.Hint = "let clade generalize what the clones rest on: --generalize; or accept twins: " + accept
	case b.template.Generalized:
		e.Hint = fmt.Sprintf("make a new version of it, or accept that the clones share these: %s", accept)
	default:
		e.Hint = "make a template without --skip-generalize, or accept twins: " + accept
	}
	return e
}

// maxNamed is how many marks a hint names one by one.
const maxNamed = 8

// unproven returns the marks that clones of b may share, and why that is so; no
// reason means that there are none.
func (h *Host) unproven(ctx context.Context, b *base) (marks []string, why error, err error) {
	nothing := &generalize.Report{}
	if b.machine != nil || !b.template.Generalized {
		return nothing.Missing(), errors.New("it is not generalized: clones would share its identity"), nil
	}
	var report generalize.Report
	if err := json.Unmarshal(b.template.Attestation, &report); err != nil || !report.Verified {
		return nothing.Missing(), errors.New("its attestation is no proof: clones may share its identity"), nil
	}
	for i, id := range b.layers[:b.system()] {
		l, err := h.layer(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if i >= len(report.Layers) || report.Layers[i] != l.Digest {
			return nothing.Missing(), fmt.Errorf("layer %s is not what was proven: clones may share its identity", id), nil
		}
	}
	if missing := report.Missing(); len(missing) > 0 {
		return missing, fmt.Errorf("its attestation does not cover %s", few(missing)), nil
	}
	return nil, nil, nil
}

// few names the first of a list and counts the others.
func few(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}

// machineID is the machine-id that a clone of b is known to have: that of a machine
// of which it is a twin.
func (b *base) machineID(spec clade.CloneSpec) string {
	if b.machine == nil || spec.Generalize {
		return ""
	}
	return b.machine.MachineID
}

// startGate refuses the start of m while a machine runs that has something of its
// identity, which it names. The records' constraints keep apart what clade gives;
// a machine-id is the guest's own, and known where it was read. Twins pass one at a
// time: call the returned func once m runs. Kinds: Exists, Busy.
func (h *Host) startGate(ctx context.Context, m *store.Machine, o clade.StartOptions) (pass func(), err error) {
	var all []*store.Machine
	err = h.db.Read(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.Machines()
		return err
	})
	twins := slices.DeleteFunc(all, func(other *store.Machine) bool { return other.ID == m.ID || collides(m, other, o) == "" })
	if err != nil || len(twins) == 0 {
		return func() {}, err
	}
	wait, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	f, err := lock(wait, h.path(startLock), unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	for _, other := range twins {
		if err := h.mustNotRunBeside(ctx, m, other, o); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return func() { _ = f.Close() }, nil
}

// mustNotRunBeside refuses m if other, of which it has something, runs.
func (h *Host) mustNotRunBeside(ctx context.Context, m, other *store.Machine, o clade.StartOptions) error {
	status, err := h.Driver.Status(ctx, h.place(other.ID))
	if err != nil || status.State == clade.Stopped {
		return err
	}
	return &clade.Error{Kind: clade.Exists, Err: fmt.Errorf("machine %s is running and has the same %s", other.Name, collides(m, other, o)),
		Hint: fmt.Sprintf("give one of them an identity of its own: clade mend %s; or start both all the same: --accept-twins", m.Name)}
}

// collides names what of their identity two machines share; "" for nothing.
func collides(a, b *store.Machine, o clade.StartOptions) string {
	x, y := a.Identity, b.Identity
	near := a.Network != "" && a.Network == b.Network
	switch {
	case x.UUID == y.UUID:
		return "UUID " + x.UUID
	case x.MAC != "" && x.MAC == y.MAC:
		return "MAC " + x.MAC
	case near && x.IP.IsValid() && x.IP == y.IP:
		return "address " + x.IP.String()
	case near && x.Hostname == y.Hostname:
		return "hostname " + string(x.Hostname)
	case a.MachineID != "" && a.MachineID == b.MachineID && !o.AcceptTwins:
		return "machine-id " + a.MachineID
	}
	return ""
}

// learn records the machine-id that was read in m's guest.
func (h *Host) learn(ctx context.Context, m *store.Machine, machineID string) error {
	if m.MachineID == machineID || !validMachineID.MatchString(machineID) {
		return nil
	}
	return h.db.Write(ctx, func(tx *store.Tx) error { return tx.SetMachineID(m.ID, machineID) })
}
