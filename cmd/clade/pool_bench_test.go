//go:build lab

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
)

// TestPoolFigures measures claims with spares, as whole commands, and how long it takes
// from the release of an instant clone until somebody else can have it; it asserts
// nothing. Processor time is said too, as other work shares the computer:
//
//	go test -tags lab -timeout 60m -v -run TestPoolFigures ./cmd/clade
func TestPoolFigures(t *testing.T) {
	h := newHome(t)
	h.run("build", "debian-12", "--name", "master")
	h.run("template", "create", "t", "--from", "master")
	h.run("template", "warm", "t", "--memory", "512M")
	h.run("pool", "create", "lab", "--template", "t", "--kind", "instant", "--size", "4", "--policy", "reset", "--name", "lab-{n:02}")
	began := time.Now()
	h.run("pool", "reconcile", "lab")
	t.Logf("a pool of 4 instant clones, from nothing to ready: %v; load %s", time.Since(began).Round(time.Millisecond), load())
	h.serve()
	var claims, again, releases, resets, hypervisors timings
	for i := range 9 {
		person := fmt.Sprint("person ", i)
		out := claims.command(h, "pool", "claim", "lab", "--for", person, "--json")
		var c clade.Claim
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			t.Fatal(err)
		}
		again.command(h, "pool", "claim", "lab", "--for", person)
		began := time.Now()
		releases.command(h, "pool", "release", "lab", "--for", person)
		h.ready(string(c.Machine))
		resets.wall = append(resets.wall, time.Since(began))
		hypervisors.cpu = append(hypervisors.cpu, ticks(h.machine(string(c.Machine)).PID))
	}
	t.Logf("claim with a spare, whole command: median %v, most %v; %v of processor time", median(claims.wall), slices.Max(claims.wall), median(claims.cpu))
	t.Logf("claim again: median %v, %v of processor time", median(again.wall), median(again.cpu))
	t.Logf("release: median %v, %v of processor time", median(releases.wall), median(releases.cpu))
	t.Logf("from release to ready for the next: median %v of %v; QEMU took %v of processor time; load %s", median(resets.wall), resets.wall, median(hypervisors.cpu), load())
}

// timings are how long commands took, by the clock and of the processors.
type timings struct{ wall, cpu []time.Duration }

// command runs clade, notes how long it took, and returns what it said.
func (s *timings) command(h *home, args ...string) string {
	h.Helper()
	path, err := binary()
	if err != nil {
		h.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "CLADE_HOME="+h.dir)
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		h.Fatalf("clade %v: %v", args, err)
	}
	s.wall = append(s.wall, time.Since(began))
	s.cpu = append(s.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	return string(out)
}

// ready waits until a machine of the pool can be claimed.
func (h *home) ready(name string) {
	h.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		out, _, _ := h.try("pool", "show", "lab", "--json")
		var p clade.Pool
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			h.Fatal(err)
		}
		if slices.ContainsFunc(p.Members, func(m clade.Member) bool { return string(m.Machine) == name && m.Phase == clade.Ready }) {
			return
		}
	}
	h.Fatalf("%s does not become ready", name)
}

// ticks is what a process has taken of the processors since it began.
func ticks(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ") // behind its name
	var user, system int64
	fields := strings.Fields(rest)
	if len(fields) > 12 {
		fmt.Sscan(fields[11], &user)
		fmt.Sscan(fields[12], &system)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
