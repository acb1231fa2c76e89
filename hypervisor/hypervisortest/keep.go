package hypervisortest

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// kept: a machine goes on in new heads when its memory was kept, and one that is
// started with what was kept goes on from there.
func kept(m *machine) {
	k, s := m.keeper()
	bound, err := k.Bind(m.ctx, m.spec.Accelerator, clade.Bound{})
	if err != nil {
		m.Fatal(err)
	}
	state := filepath.Join(m.TempDir(), "state")
	if _, err := k.Keep(m.ctx, m.place, bound, state, nil); !errors.Is(err, clade.NotRunning) {
		m.Errorf("Keep of a stopped machine: %v, want kind %v", err, clade.NotRunning)
	}
	if err := k.Continue(m.ctx, m.place); !errors.Is(err, clade.NotRunning) {
		m.Errorf("Continue of a stopped machine: %v, want kind %v", err, clade.NotRunning)
	}
	m.start()
	m.answers()
	first := m.overlays(s, 0)
	pause, err := k.Keep(m.ctx, m.place, bound, state, first)
	if err != nil {
		m.Fatalf("Keep: %v", err)
	}
	if pause.Length < 0 || pause.Length > patience || pause.Frozen {
		m.Errorf("pause = %+v", pause)
	}
	m.runsOn(s, first)
	if err := k.Continue(m.ctx, m.place); err != nil {
		m.Errorf("Continue of what runs: %v", err)
	}
	again := m.overlays(s, 1)
	if _, err := k.Keep(m.ctx, m.place, bound, filepath.Join(m.TempDir(), "again"), again); err != nil {
		m.Errorf("Keep of what was kept: %v", err)
	}
	m.runsOn(s, again)
	m.kill()
	was := m.sum(state)
	m.spec.Machine, m.spec.Memory = bound.Machine, &hypervisor.Memory{State: state}
	for i := range again {
		head := filepath.Join(m.TempDir(), "resumed-"+filepath.Base(again[i]))
		m.suite.Overlay(m.T, head, m.spec.Disks[i].Path) // what first rests on
		m.spec.Disks[i].Path = head
	}
	m.start()
	m.runsOn(s, []string{m.spec.Disks[0].Path, m.spec.Disks[1].Path})
	if _, err := k.Keep(m.ctx, m.place, bound, filepath.Join(m.TempDir(), "third"), m.overlays(s, 2)); err != nil {
		m.Errorf("Keep of what was resumed: %v", err)
	}
	if m.sum(state) != was {
		m.Error("what was resumed wrote to the state it was resumed from")
	}
}

// keepNothing: what cannot be kept runs on, and leaves no file.
func keepNothing(m *machine) {
	k, s := m.keeper()
	bound, err := k.Bind(m.ctx, m.spec.Accelerator, clade.Bound{})
	if err != nil {
		m.Fatal(err)
	}
	m.start()
	was := []string{m.spec.Disks[0].Path, m.spec.Disks[1].Path}
	good := m.overlays(s, 0)
	state := filepath.Join(m.TempDir(), "state")
	if _, err := k.Keep(m.ctx, m.place, bound, state, []string{good[0], good[1] + ".none"}); err == nil {
		m.Error("Keep with a head that is not there went through")
	}
	if _, err := os.Stat(state); err == nil {
		m.Error("a Keep in vain left a file")
	}
	m.runsOn(s, was)
	if _, err := k.Keep(m.ctx, m.place, bound, filepath.Join(m.TempDir(), "none", "state"), good); !errors.Is(err, clade.NotFound) {
		m.Errorf("Keep in no directory: %v, want kind %v", err, clade.NotFound)
	}
	m.runsOn(s, good) // both heads are new, or none
	other := bound
	other.Accelerator = "kvm"
	if _, err := k.Keep(m.ctx, m.place, other, state, good); !errors.Is(err, clade.Unsupported) {
		m.Errorf("Keep of what runs under something else: %v, want kind %v", err, clade.Unsupported)
	}
	m.runsOn(s, good)
}

// keeper is the driver as a Keeper and Snapshotter.
func (m *machine) keeper() (hypervisor.Keeper, hypervisor.Snapshotter) {
	k, ok := m.driver.(hypervisor.Keeper)
	s, ok2 := m.driver.(hypervisor.Snapshotter)
	if !ok || !ok2 {
		m.Skip("the driver is no Keeper")
	}
	return k, s
}

// runsOn checks that the machine runs, and where it writes.
func (m *machine) runsOn(s hypervisor.Snapshotter, heads []string) {
	m.Helper()
	if st := m.status(); st.State != clade.Running {
		m.Errorf("status = %+v, want running", st)
	}
	m.wantHeads(s, heads)
	m.answers()
}
