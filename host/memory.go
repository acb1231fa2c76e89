package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/live"
	"github.com/clade-vm/clade/store"
	"github.com/clade-vm/clade/undo"
)

// keeper returns the driver's ability, and what a memory that is kept or resumed here
// is bound to. Kind Unsupported.
func (h *Host) keeper(ctx context.Context, op, on string, known clade.Bound, p clade.Progress) (hypervisor.Keeper, clade.Bound, error) {
	k, ok := h.Driver.(hypervisor.Keeper)
	if !ok {
		return nil, clade.Bound{}, &clade.Error{Op: op, On: on, Kind: clade.Unsupported, Err: errors.New("this driver keeps no memory"), Hint: "leave out --memory"}
	}
	accelerator, err := h.Accelerator(ctx, p)
	if err != nil {
		return nil, clade.Bound{}, err
	}
	bound, err := k.Bind(ctx, accelerator, known)
	return k, bound, err
}

// keepMemory freezes all disks of a running machine and saves its memory in the same
// pause. Data disks are among them: what the guest holds of their files is in its
// memory. The caller holds m.
//
// The freeze is rolled forward as any other is (freezeOnto); the memory takes the
// place of the switch. What is saved gets its record last.
func (h *Host) keepMemory(ctx context.Context, m *store.Machine, name clade.Name, p clade.Progress) (*clade.Snapshot, error) {
	on := "machine " + string(m.Name)
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err == nil && status.State != clade.Running {
		err = &clade.Error{Kind: clade.NotRunning, Err: fmt.Errorf("it is %s: it has no memory to keep", status.State), Hint: "start it: clade start " + string(m.Name) + "; or leave out --memory"}
	}
	if err != nil {
		return nil, fileError("keep the memory of", on, err)
	}
	k, bound, err := h.keeper(ctx, "keep the memory of", on, clade.Bound{}, p)
	if err != nil {
		return nil, fileError("keep the memory of", on, err)
	}
	op, err := h.begin(ctx, "memory")
	if err != nil {
		return nil, err
	}
	defer op.end()
	if err := os.WriteFile(filepath.Join(op.dir, frozenFile), []byte(m.Name), 0o600); err != nil {
		return nil, fileError("keep the memory of", on, err)
	}
	state := filepath.Join(op.dir, stateFile)
	frozen, err := h.freezeBy(ctx, m, slices.Clone(m.Disks), freezing{head, func(ctx context.Context, m *store.Machine) error {
		return h.keepNow(ctx, k, op, m, bound, state)
	}}, p)
	if err != nil {
		if frozen != nil { // the freeze happened: it is completed without the memory
			err = errors.Join(err, h.settle(context.WithoutCancel(ctx), frozen))
		}
		return nil, fileError("keep the memory of", on, err)
	}
	p.Tell(clade.Event{Step: "seal the memory of " + on})
	s := moment(frozen, name)
	s.Disks = nil
	for _, d := range frozen.Disks {
		s.Disks = append(s.Disks, clade.Disk{Slot: d.Slot, Layer: d.Layer, Base: d.Base, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount})
	}
	s.Memory = &clade.SavedMemory{Hardware: m.Hardware, Bound: bound}
	if s.Memory.File, err = sealWarm(ctx, state, stateFile); err != nil {
		return nil, fileError("seal the memory of", on, err)
	}
	h.did("memory: sealed")
	if err := h.placing(ctx, func() error { return h.placeMemory(ctx, op, m, s, state) }); err != nil {
		return nil, fileError("keep the memory of", on, err)
	}
	h.did("memory: committed")
	p.Tell(clade.Event{Step: "seal the memory of " + on, End: true})
	return s, nil
}

// keepNow saves the memory and moves the machine to its new heads. While the machine
// stands still, a file in op's directory says so, to who comes after a kill.
func (h *Host) keepNow(ctx context.Context, k hypervisor.Keeper, op *operation, m *store.Machine, bound clade.Bound, state string) error {
	stands := filepath.Join(op.dir, standsFile)
	if err := os.WriteFile(stands, nil, 0o600); err != nil {
		return err
	}
	pause, err := k.Keep(ctx, h.place(m.ID), bound, state, h.headPaths(m))
	if err != nil {
		// It runs on after an error, but for one that kept it from being told so.
		if bad := k.Continue(context.WithoutCancel(ctx), h.place(m.ID)); bad != nil && !errors.Is(bad, clade.NotRunning) {
			op.keep = true // the next command tells it
			return errors.Join(err, bad)
		}
		return errors.Join(err, os.Remove(stands))
	}
	m.Pause = &clade.Pause{Length: pause.Length, Memory: true}
	h.Config.Log.Info("memory kept", "machine", m.Name, "pause", pause.Length)
	h.did("memory: kept")
	return os.Remove(stands)
}

// placeMemory moves the memory of a snapshot into m's directory and commits both.
func (h *Host) placeMemory(ctx context.Context, op *operation, m *store.Machine, s *clade.Snapshot, state string) (err error) {
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	s.Memory.File.Name = memoryPrefix + newID()
	file := filepath.Join(h.machineDir(m.ID), s.Memory.File.Name)
	if err := os.Rename(state, file); err != nil {
		return err
	}
	u.Add("remove "+file, func(context.Context) error { return op.remove(file) })
	h.did("memory: in place")
	if err := errors.Join(warmFacts(file, &s.Memory.File), syncDir(h.machineDir(m.ID))); err != nil {
		return err
	}
	return op.committed(&u, h.db.Write(ctx, func(tx *store.Tx) error { return tx.AddSnapshot(m.ID, s) }))
}

// resumeMemory makes a stopped machine what it was and lets it go on from there. It
// runs before that is recorded: where it does not, the machine is as it was, stopped.
// A command that dies in between leaves a machine that runs on heads without a record,
// which is ended (endUnrecorded). The caller holds m.
func (h *Host) resumeMemory(ctx context.Context, m *store.Machine, s *clade.Snapshot, p clade.Progress) (*clade.Removal, error) {
	on := "machine " + string(m.Name)
	bound, err := h.resumable(ctx, m, s, p)
	if err != nil {
		return nil, fileError("restore", on, err)
	}
	pass, err := h.startGate(ctx, m, clade.StartOptions{})
	if err != nil {
		return nil, fileError("restore", on, err)
	}
	defer pass()
	place := h.place(m.ID)
	if err := errors.Join(h.writeSeed(m), os.MkdirAll(place.Run, 0o700)); err != nil {
		return nil, fileError("restore", on, err)
	}
	p.Tell(clade.Event{Step: "resume " + on})
	run := func(op *operation, next *store.Machine, u *undo.Stack) error {
		if err := os.WriteFile(filepath.Join(op.dir, runsFile), nil, 0o600); err != nil {
			return err
		}
		spec := h.spec(next, bound.Accelerator)
		spec.Machine, spec.Memory = bound.Machine, &hypervisor.Memory{State: h.memoryPath(m.ID, s)}
		u.Add("end "+on, func(ctx context.Context) error { return h.Driver.Kill(ctx, place) })
		if err := h.Driver.Start(ctx, place, spec); err != nil {
			return err
		}
		h.did("restore: resumed")
		return h.connect(ctx, m.Network, m.Identity.Hostname)
	}
	r, err := h.replaceHeads(ctx, m, change{disks: s.Disks, run: run, record: func(tx *store.Tx) error {
		return errors.Join(tx.SetSource(m.ID, s.Clone, s.Source), tx.SetMachineID(m.ID, ""))
	}})
	if err != nil {
		return r, fileError("restore", on, err)
	}
	p.Tell(clade.Event{Step: "resume " + on, End: true, Note: h.catchUp(ctx, m)})
	return r, nil
}

// resumable makes sure that a snapshot's memory can be resumed, as the machine is now.
func (h *Host) resumable(ctx context.Context, m *store.Machine, s *clade.Snapshot, p clade.Progress) (clade.Bound, error) {
	on := "snapshot " + string(s.Name) + " of machine " + string(m.Name)
	diskOnly := fmt.Sprintf("go back to its disks alone, and boot: clade snapshot restore %s %s --disk-only", m.Name, s.Name)
	_, bound, err := h.keeper(ctx, "resume", on, s.Memory.Bound, p)
	if err != nil {
		return bound, err
	}
	changed := s.Memory.Bound.Differs(bound)
	for _, f := range []struct {
		name    string
		was, is any
	}{
		{"processors", s.Memory.Hardware.CPUs, m.Hardware.CPUs}, {"memory", s.Memory.Hardware.Memory, m.Hardware.Memory},
		{"firmware", s.Memory.Hardware.Firmware, m.Hardware.Firmware}, {"disks", slots(s.Disks), slots(m.Disks)},
	} {
		if f.was != f.is {
			changed = append(changed, fmt.Sprintf("%s: it was %v, it is %v", f.name, f.was, f.is))
		}
	}
	if len(changed) > 0 {
		return bound, &clade.Error{Op: "resume", On: on, Kind: clade.Unsupported, Hint: diskOnly,
			Err: fmt.Errorf("its memory was saved under something else: %s", strings.Join(changed, "; "))}
	}
	if err := h.memoryIntact(m.ID, s); err != nil {
		if kind := clade.KindOf(err); kind == clade.Denied || kind == clade.Busy { // it may be what it was
			return bound, fileError("check", "the memory of "+on, err)
		}
		return bound, &clade.Error{Op: "check", On: "the memory of " + on, Kind: clade.Corrupt, Err: err,
			Hint: "clade verify " + string(m.Name) + " tells whether its content is still what was sealed; or " + diskOnly}
	}
	return bound, h.chainIntact(ctx, layersOf(s.Disks)...)
}

// slots names disks by where they are and what they are for.
func slots(disks []clade.Disk) string {
	list := make([]string, len(disks))
	for i, d := range disks {
		list[i] = strings.TrimSpace(fmt.Sprint(d.Slot, " ", d.Label))
	}
	return strings.Join(list, ", ")
}

// catchUp tells a guest that slept what time it is, and gives it randomness that it
// did not have when it was here before. It returns why it could not, for people.
func (h *Host) catchUp(ctx context.Context, m *store.Machine) string {
	g, ok := h.Driver.(hypervisor.Guester)
	if !ok {
		return ""
	}
	reach, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	guest, err := g.Guest(reach, h.place(m.ID))
	if err == nil {
		err = errors.Join(live.CatchUp(ctx, guest), guest.Close())
	}
	if err != nil {
		h.Config.Log.Warn("the guest's clock is that of the snapshot", "machine", m.Name, "err", err)
		return "its clock is that of the snapshot: " + err.Error()
	}
	return ""
}
