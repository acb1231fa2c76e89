package hypervisortest

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// saved: a machine goes on from what was saved of another one, several times, and
// the memory that it goes on from is never written to.
func saved(m *machine) {
	s, ok := m.driver.(hypervisor.Saver)
	if !ok {
		m.Skip("the driver is no Saver")
	}
	bound, err := s.Bind(m.ctx, m.spec.Accelerator, clade.Bound{})
	if err != nil || bound.Version == "" || bound.Binary == "" || bound.Machine == "" || bound.CPU == "" {
		m.Fatalf("Bind = %+v, %v, want all of it", bound, err)
	}
	if again, err := s.Bind(m.ctx, m.spec.Accelerator, bound); again != bound || err != nil {
		m.Errorf("Bind with what is known = %+v, %v, want %+v", again, err, bound)
	}
	state := filepath.Join(m.TempDir(), "state")
	if err := s.Save(m.ctx, m.place, state); !errors.Is(err, clade.NotRunning) {
		m.Errorf("Save of a stopped machine: %v, want kind %v", err, clade.NotRunning)
	}
	file := filepath.Join(m.TempDir(), "ram")
	m.spec.Machine, m.spec.NIC, m.spec.Memory = bound.Machine, nil, &hypervisor.Memory{File: file}
	m.start()
	m.answers()
	if err := s.Save(m.ctx, m.place, state); err != nil {
		m.Fatalf("Save: %v", err)
	}
	m.kill()
	was := m.sum(file)
	if st, err := os.Stat(file); err != nil || clade.Bytes(st.Size()) != m.spec.Hardware.Memory {
		m.Fatalf("the memory is %v, %v, want a file of %v", st, err, m.spec.Hardware.Memory)
	}
	m.spec.Memory.State = state
	for range 2 {
		m.start()
		if st := m.status(); st.State != clade.Running {
			m.Errorf("status of what was resumed = %+v, want running", st)
		}
		m.answers()
		m.kill()
		if m.sum(file) != was {
			m.Fatal("a machine that was resumed wrote to the memory it was resumed from")
		}
	}
}

// saveNothing: what cannot be saved is refused, and what is no state not resumed.
func saveNothing(m *machine) {
	s, ok := m.driver.(hypervisor.Saver)
	if !ok {
		m.Skip("the driver is no Saver")
	}
	m.start()
	if err := s.Save(m.ctx, m.place, filepath.Join(m.TempDir(), "state")); !errors.Is(err, clade.Unsupported) {
		m.Errorf("Save of a machine with memory of its own: %v, want kind %v", err, clade.Unsupported)
	}
	if st := m.status(); st.State != clade.Running {
		m.Errorf("status after a Save in vain = %+v, want running", st)
	}
	m.kill()
	none := filepath.Join(m.TempDir(), "none")
	m.spec.NIC, m.spec.Memory = nil, &hypervisor.Memory{File: none, State: none}
	if err := m.driver.Start(m.ctx, m.place, m.spec); !errors.Is(err, clade.NotFound) {
		m.Errorf("Start from a state that is not there: %v, want kind %v", err, clade.NotFound)
	}
	bad := filepath.Join(m.TempDir(), "bad")
	if err := errors.Join(os.WriteFile(bad, []byte("no state of anything"), 0o600), os.Truncate(bad, int64(m.spec.Hardware.Memory))); err != nil {
		m.Fatal(err)
	}
	m.spec.Memory = &hypervisor.Memory{File: bad, State: bad}
	if err := m.driver.Start(m.ctx, m.place, m.spec); err == nil {
		m.Error("Start from what is no state went through")
	}
	if st := m.status(); st.State != clade.Stopped {
		m.Errorf("status after that = %+v, want stopped", st)
	}
}

// plug: a machine gets its NIC while it runs.
func plug(m *machine) {
	p, ok := m.driver.(hypervisor.Plugger)
	if !ok {
		m.Skip("the driver is no Plugger")
	}
	nic := *m.spec.NIC
	if err := p.Plug(m.ctx, m.place, nic); !errors.Is(err, clade.NotRunning) {
		m.Errorf("Plug into a stopped machine: %v, want kind %v", err, clade.NotRunning)
	}
	m.spec.NIC = nil
	m.start()
	for range 2 {
		if err := p.Plug(m.ctx, m.place, nic); err != nil {
			m.Fatalf("Plug: %v", err)
		}
	}
	if g, ok := m.driver.(hypervisor.Guester); ok && m.suite.Agent {
		conn, err := g.Guest(m.ctx, m.place)
		if err != nil {
			m.Fatal(err)
		}
		defer conn.Close()
		has := func(i hypervisor.Interface) bool { return i.MAC == nic.MAC }
		if nics, err := conn.Interfaces(m.ctx); err != nil || !slices.ContainsFunc(nics, has) {
			m.Errorf("Interfaces = %+v, %v, want the one that was plugged in", nics, err)
		}
	}
	m.kill()
	m.spec.NIC = &nic // what was plugged in is not remembered
	m.start()
}

// answers returns once the guest is up, where it can be heard.
func (m *machine) answers() {
	m.Helper()
	if _, ok := m.driver.(hypervisor.Consoler); ok && m.suite.Guest {
		m.ready()
	}
}

func (m *machine) kill() {
	m.Helper()
	if err := m.driver.Kill(m.ctx, m.place); err != nil {
		m.Fatalf("Kill: %v", err)
	}
}

func (m *machine) sum(file string) [sha256.Size]byte {
	m.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		m.Fatal(err)
	}
	return sha256.Sum256(data)
}
