package hypervisortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// ready waits until the guest echoes on its console, if it has that much of one.
func (m *machine) ready() {
	c, ok := m.driver.(hypervisor.Consoler)
	if !ok || !m.suite.Guest {
		return
	}
	conn, err := c.Console(m.ctx, m.place)
	if err != nil {
		m.Fatalf("Console: %v", err)
	}
	defer conn.Close()
	m.echo(conn)
}

// echo types until what was typed comes back.
func (m *machine) echo(conn io.ReadWriter) {
	m.Helper()
	back := make(chan error, 1)
	go func() {
		var got []byte
		buf := make([]byte, 256)
		for !bytes.Contains(got, []byte("~")) {
			n, err := conn.Read(buf)
			if err != nil {
				back <- err
				return
			}
			got = append(got, buf[:n]...)
		}
		back <- nil
	}()
	for {
		if _, err := conn.Write([]byte("~")); err != nil {
			m.Fatalf("write to the console: %v", err)
		}
		select {
		case err := <-back:
			if err != nil {
				m.Fatalf("read from the console: %v", err)
			}
			return
		case <-m.ctx.Done():
			m.Fatal("the console does not echo")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func console(m *machine) {
	c, ok := m.driver.(hypervisor.Consoler)
	if !ok {
		m.Skip("the driver is no Consoler")
	}
	if _, err := c.Console(m.ctx, m.place); !errors.Is(err, clade.NotRunning) {
		m.Errorf("Console of a stopped machine: %v, want kind %v", err, clade.NotRunning)
	}
	m.start()
	m.ready()
	m.ready() // a console that was left can be come back to
}

func guest(m *machine) {
	g, ok := m.driver.(hypervisor.Guester)
	if !ok || !m.suite.Agent {
		m.Skip("no agent")
	}
	m.start()
	conn, err := g.Guest(m.ctx, m.place)
	if err != nil {
		m.Fatalf("Guest: %v", err)
	}
	defer conn.Close()
	id, err := conn.ReadFile(m.ctx, "/etc/machine-id", 32)
	if err != nil || len(id) != 32 {
		m.Errorf("ReadFile of the machine-id = %q, %v, want 32 bytes", id, err)
	}
	if _, err := conn.ReadFile(m.ctx, "/none", 1); !errors.Is(err, clade.NotFound) {
		m.Errorf("ReadFile of no file: %v, want kind %v", err, clade.NotFound)
	}
	if x, err := conn.Exec(m.ctx, clade.Command{Args: []string{"sh", "-c", "exit 7"}}); err != nil || x.Status != 7 {
		m.Errorf("Exec of exit 7 = %+v, %v", x, err)
	}
	if x, err := conn.Exec(m.ctx, clade.Command{Args: []string{"cat"}, Input: []byte("in\x00\xff")}); err != nil || string(x.Out) != "in\x00\xff" {
		m.Errorf("Exec of cat = %+v, %v", x, err)
	}
	nics, err := conn.Interfaces(m.ctx)
	same := func(i hypervisor.Interface) bool { return m.spec.NIC != nil && i.MAC == m.spec.NIC.MAC }
	if err != nil || m.spec.NIC != nil && !slices.ContainsFunc(nics, same) {
		m.Errorf("Interfaces = %+v, %v, want the machine's own", nics, err)
	}
}

// guestTimeout: without an agent the wait ends with ctx; without a machine at once.
func guestTimeout(m *machine) {
	g, ok := m.driver.(hypervisor.Guester)
	if !ok {
		m.Skip("the driver is no Guester")
	}
	if _, err := g.Guest(m.ctx, m.place); !errors.Is(err, clade.NotRunning) {
		m.Errorf("Guest of a stopped machine: %v, want kind %v", err, clade.NotRunning)
	}
	if m.suite.Agent {
		return
	}
	m.start()
	ctx, cancel := context.WithTimeout(m.ctx, 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := g.Guest(ctx, m.place); !errors.Is(err, clade.Timeout) {
		m.Errorf("Guest without an agent: %v, want kind %v", err, clade.Timeout)
	}
	if took := time.Since(began); took > 5*time.Second {
		m.Errorf("Guest took %v to give up after 0.5 s", took)
	}
}

// overlays makes one new head for each disk, resting on what is written to now.
func (m *machine) overlays(s hypervisor.Snapshotter, generation int) []string {
	m.Helper()
	now, err := s.Heads(m.ctx, m.place)
	if err != nil {
		m.Fatalf("Heads: %v", err)
	}
	var heads []string
	for i, backing := range now {
		head := filepath.Join(m.TempDir(), strconv.Itoa(generation)+"-"+strconv.Itoa(i)+".qcow2")
		m.suite.Overlay(m.T, head, backing)
		heads = append(heads, head)
	}
	return heads
}

func (m *machine) wantHeads(s hypervisor.Snapshotter, want []string) {
	m.Helper()
	if got, err := s.Heads(m.ctx, m.place); err != nil || !slices.Equal(got, want) {
		m.Errorf("Heads = %q, %v, want %q", got, err, want)
	}
}

func heads(m *machine) {
	s, ok := m.driver.(hypervisor.Snapshotter)
	if !ok {
		m.Skip("the driver is no Snapshotter")
	}
	if _, err := s.Heads(m.ctx, m.place); !errors.Is(err, clade.NotRunning) {
		m.Errorf("Heads of a stopped machine: %v, want kind %v", err, clade.NotRunning)
	}
	m.start()
	want := []string{m.spec.Disks[0].Path, m.spec.Disks[1].Path}
	m.wantHeads(s, want)
	for generation := range 2 { // a new head can be left again
		want = m.overlays(s, generation)
		pause, err := s.Switch(m.ctx, m.place, want)
		if err != nil {
			m.Fatalf("Switch: %v", err)
		}
		if pause.Length < 0 || pause.Length > patience || pause.Frozen && !m.suite.Agent {
			m.Errorf("pause = %+v", pause)
		}
		m.wantHeads(s, want)
	}
	want = []string{want[0], m.overlays(s, 2)[1]} // the first disk stays
	if _, err := s.Switch(m.ctx, m.place, want); err != nil {
		m.Fatalf("Switch of one disk: %v", err)
	}
	m.wantHeads(s, want)
	if st := m.status(); st.State != clade.Running {
		m.Errorf("status after Switch = %+v, want running", st)
	}
	for i := range want {
		m.spec.Disks[i].Path = want[i]
	}
	if err := m.driver.Kill(m.ctx, m.place); err != nil {
		m.Fatal(err)
	}
	m.start()
	m.wantHeads(s, want)
}

// headsAllOrNone: where one head cannot be used, no disk is moved.
func headsAllOrNone(m *machine) {
	s, ok := m.driver.(hypervisor.Snapshotter)
	if !ok {
		m.Skip("the driver is no Snapshotter")
	}
	m.start()
	was := []string{m.spec.Disks[0].Path, m.spec.Disks[1].Path}
	good := m.overlays(s, 0)
	for what, heads := range map[string][]string{
		"a missing head":  {good[0], good[1] + ".none"},
		"too few heads":   good[:1],
		"no heads at all": nil,
	} {
		if _, err := s.Switch(m.ctx, m.place, heads); err == nil {
			m.Errorf("Switch to %s went through", what)
		}
		m.wantHeads(s, was)
	}
	if st := m.status(); st.State != clade.Running {
		m.Errorf("status after a Switch in vain = %+v, want running", st)
	}
	if _, err := s.Switch(m.ctx, m.place, good); err != nil {
		m.Errorf("Switch after those in vain: %v", err)
	}
	m.wantHeads(s, good)
}
