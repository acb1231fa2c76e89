package hypervisortest

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
)

// life: a machine is stopped, runs, and is stopped for a reason.
func life(m *machine) {
	if st := m.status(); st.State != clade.Stopped || st.Reason != "" || st.PID != 0 || !st.Since.IsZero() {
		m.Errorf("status before the first start = %+v, want stopped and nothing else", st)
	}
	before := time.Now().Add(-time.Second)
	m.start()
	st := m.status()
	if st.State != clade.Running || st.PID <= 1 || st.Since.Before(before) || st.Since.After(time.Now()) {
		m.Errorf("status after Start = %+v, want running, with a process, since now", st)
	}
	for range 2 {
		if err := m.driver.Kill(m.ctx, m.place); err != nil {
			m.Fatalf("Kill: %v", err)
		}
		if st := m.status(); st.State != clade.Stopped || st.Reason == "" {
			m.Errorf("status after Kill = %+v, want stopped for a reason", st)
		}
	}
	m.start()
	if again := m.status(); again.State != clade.Running || again.Reason != "" || again.PID == st.PID {
		m.Errorf("status after the second Start = %+v, want running anew", again)
	}
}

func startTwice(m *machine) {
	m.start()
	pid := m.status().PID
	if err := m.suite.Driver().Start(m.ctx, m.place, m.spec); !errors.Is(err, clade.Busy) {
		m.Errorf("Start of a running machine: %v, want kind %v", err, clade.Busy)
	}
	if st := m.status(); st.State != clade.Running || st.PID != pid {
		m.Errorf("status after the second Start = %+v, want the first still running", st)
	}
}

// startTogether: of many starts at once exactly one goes through.
func startTogether(m *machine) {
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = m.suite.Driver().Start(m.ctx, m.place, m.spec) })
	}
	wg.Wait()
	started := 0
	for _, err := range errs {
		if err == nil {
			started++
		} else if !errors.Is(err, clade.Busy) {
			m.Errorf("Start: %v, want kind %v", err, clade.Busy)
		}
	}
	if started != 1 {
		m.Errorf("%d starts went through, want 1", started)
	}
	if st := m.status(); st.State != clade.Running {
		m.Errorf("status = %+v, want running", st)
	}
}

// killedOutside: a process that was killed by somebody else is seen as such.
func killedOutside(m *machine) {
	m.start()
	asked := m.status()
	if err := m.driver.Kill(m.ctx, m.place); err != nil {
		m.Fatal(err)
	}
	killed := m.status().Reason
	m.start()
	if err := syscall.Kill(m.status().PID, syscall.SIGKILL); err != nil {
		m.Fatal(err)
	}
	st := m.stopped()
	if st.Reason == "" || st.Reason == killed {
		m.Errorf("reason after kill -9 = %q, want another one than after Kill", st.Reason)
	}
	if st.Since.Before(asked.Since) {
		m.Errorf("since = %v, want the last start", st.Since)
	}
}

// outlivesStart: the machine goes on when the process that started it is gone,
// and that process's end is not held up by the machine.
func outlivesStart(m *machine) {
	top, _, _ := strings.Cut(m.Name(), "/")
	c := m.command(top)
	// CombinedOutput waits until nobody has the pipe open any more.
	if out, err := c.CombinedOutput(); err != nil {
		m.Fatalf("the starting process: %v\n%s", err, out)
	}
	st := m.status()
	if st.State != clade.Running || st.PID == c.Process.Pid {
		m.Errorf("status = %+v, want running", st)
	}
	if err := m.driver.Kill(m.ctx, m.place); err != nil {
		m.Errorf("Kill of a machine that another process started: %v", err)
	}
	if st := m.status(); st.State != clade.Stopped {
		m.Errorf("status after Kill = %+v, want stopped", st)
	}
}

func noDirectory(m *machine) {
	good := m.place
	m.place.Dir = filepath.Join(good.Dir, "none")
	if err := m.driver.Start(m.ctx, m.place, m.spec); !errors.Is(err, clade.NotFound) {
		m.Errorf("Start in no directory: %v, want kind %v", err, clade.NotFound)
	}
	if st := m.status(); st.State != clade.Stopped {
		m.Errorf("status = %+v, want stopped", st)
	}
}

func noDisk(m *machine) {
	good := m.spec.Disks[1].Path
	m.spec.Disks[1].Path += ".none"
	err := m.driver.Start(m.ctx, m.place, m.spec)
	if !errors.Is(err, clade.NotFound) || !strings.Contains(err.Error(), m.spec.Disks[1].Path) {
		m.Errorf("Start without a disk: %v, want kind %v and the path", err, clade.NotFound)
	}
	if st := m.status(); st.State != clade.Stopped {
		m.Errorf("status = %+v, want stopped", st)
	}
	m.spec.Disks[1].Path = good
	m.start()
}

func notRunning(m *machine) {
	if err := m.driver.Stop(m.ctx, m.place); !errors.Is(err, clade.NotRunning) {
		m.Errorf("Stop of a stopped machine: %v, want kind %v", err, clade.NotRunning)
	}
	if err := m.driver.Kill(m.ctx, m.place); err != nil {
		m.Errorf("Kill of a stopped machine: %v", err)
	}
}

// stopPowersOff: Stop asks, the guest goes, and the reason says it was the guest.
func stopPowersOff(m *machine) {
	m.start()
	m.ready()
	if err := m.driver.Stop(m.ctx, m.place); err != nil {
		m.Fatalf("Stop: %v", err)
	}
	if !m.suite.Guest {
		if st := m.status(); st.State != clade.Running {
			m.Errorf("status = %+v, want running: there is no guest to hear of it", st)
		}
		return
	}
	if st := m.stopped(); !strings.Contains(st.Reason, "guest") {
		m.Errorf("reason = %q, want the guest named", st.Reason)
	}
}
