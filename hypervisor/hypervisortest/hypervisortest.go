// Package hypervisortest is the contract of hypervisor.Driver as a test suite:
// what passes it is a driver, with or without a hypervisor behind it. Optional
// interfaces are tested where the driver implements them.
package hypervisortest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// A Suite says how to test one driver.
type Suite struct {
	// Driver makes a driver; all of them stand for the same hypervisor, as in
	// different commands of one user.
	Driver func() hypervisor.Driver
	// Spec makes a bootable machine of two disks, whose files exist, in dir.
	Spec func(t *testing.T, dir string) hypervisor.Spec
	// Overlay makes an empty head at path that rests on the disk at backing.
	Overlay func(t *testing.T, path, backing string)
	// Guest says that the guest powers off when asked and echoes on its console.
	Guest bool
	// Agent says that an agent answers in the guest.
	Agent bool
}

// startVariable names the environment variable that makes Run start one machine
// and leave, as a command does, instead of testing.
const startVariable = "CLADE_HYPERVISORTEST_START"

// patience bounds every single act of the suite.
const patience = 60 * time.Second

// Run tests the driver. It must be called by a top-level test.
func Run(t *testing.T, s Suite) {
	if text := os.Getenv(startVariable); text != "" {
		os.Exit(s.startAndLeave(text))
	}
	for name, test := range map[string]func(*machine){
		"Life":           life,
		"StartTwice":     startTwice,
		"StartTogether":  startTogether,
		"KilledOutside":  killedOutside,
		"OutlivesStart":  outlivesStart,
		"NoDirectory":    noDirectory,
		"NoDisk":         noDisk,
		"NotRunning":     notRunning,
		"StopPowersOff":  stopPowersOff,
		"Console":        console,
		"Guest":          guest,
		"GuestTimeout":   guestTimeout,
		"Heads":          heads,
		"HeadsAllOrNone": headsAllOrNone,
		"Saved":          saved,
		"SaveNothing":    saveNothing,
		"Kept":           kept,
		"KeepNothing":    keepNothing,
		"Plug":           plug,
	} {
		t.Run(name, func(t *testing.T) { test(s.machine(t)) })
	}
}

// order is what the process started by outlivesStart is told.
type order struct {
	Place hypervisor.Place
	Spec  hypervisor.Spec
}

func (s Suite) startAndLeave(text string) int {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Driver().Start(ctx, o.Place, o.Spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// machine is one machine under test and the driver that has it.
type machine struct {
	*testing.T
	suite  Suite
	driver hypervisor.Driver
	place  hypervisor.Place
	spec   hypervisor.Spec
	ctx    context.Context
}

func (s Suite) machine(t *testing.T) *machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	run, err := os.MkdirTemp("", "hv") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	m := &machine{T: t, suite: s, driver: s.Driver(), ctx: ctx,
		place: hypervisor.Place{Dir: filepath.Join(t.TempDir(), "machine"), Run: filepath.Join(run, "m")}}
	if err := os.Mkdir(m.place.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m.spec = s.Spec(t, t.TempDir())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.driver.Kill(ctx, m.place); err != nil {
			t.Errorf("Kill at the end: %v", err)
		}
	})
	return m
}

func (m *machine) start() {
	m.Helper()
	if err := m.driver.Start(m.ctx, m.place, m.spec); err != nil {
		m.Fatalf("Start: %v", err)
	}
}

func (m *machine) status() hypervisor.Status {
	m.Helper()
	st, err := m.suite.Driver().Status(m.ctx, m.place)
	if err != nil {
		m.Fatalf("Status: %v", err)
	}
	return st
}

// stopped waits until the machine is stopped and returns its status.
func (m *machine) stopped() hypervisor.Status {
	m.Helper()
	for {
		st := m.status()
		if st.State == clade.Stopped {
			if st.PID != 0 {
				m.Errorf("stopped with process id %d", st.PID)
			}
			return st
		}
		select {
		case <-m.ctx.Done():
			m.Fatalf("still %s", st.State)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// command returns the command that starts the machine in a process of its own.
func (m *machine) command(top string) *exec.Cmd {
	m.Helper()
	text, err := json.Marshal(order{m.place, m.spec})
	if err != nil {
		m.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		m.Fatal(err)
	}
	c := exec.CommandContext(m.ctx, self, "-test.run=^"+top+"$")
	c.Env = append(os.Environ(), startVariable+"="+string(text))
	return c
}
