//go:build lab

package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
)

// TestInstantFigures measures instant clones against the cold boot of a linked one,
// in one run; it asserts nothing. It takes some minutes, so that it is not part of
// the lab:
//
//	go test -tags lab -timeout 60m -v -run TestInstantFigures ./cmd/clade
func TestInstantFigures(t *testing.T) {
	h := newHome(t)
	h.run("build", "debian-12", "--name", "master")
	h.run("template", "create", "t", "--from", "master")
	began := time.Now()
	h.run("template", "warm", "t", "--memory", "512M")
	t.Logf("warmed in %v; load %s", time.Since(began).Round(time.Second), load())
	var self, ssh, selfCPU, sshCPU []time.Duration
	for i := range 7 {
		name := fmt.Sprintf("one-%d", i)
		began := time.Now()
		h.run("clone", "t", name, "--instant")
		self = append(self, time.Since(began)) // it has answered as itself
		pid := h.machine(name).PID
		selfCPU = append(selfCPU, cpu(pid))
		h.run("wait", name, "--for", "ssh")
		ssh, sshCPU = append(ssh, time.Since(began)), append(sshCPU, cpu(pid))
	}
	t.Logf("instant clone to its own identity: median %v of %v; processor time of its QEMU %v", median(self), self, median(selfCPU))
	t.Logf("instant clone to SSH: median %v of %v; processor time of its QEMU %v; load %s", median(ssh), ssh, median(sshCPU), load())
	for i := range 7 {
		h.run("kill", fmt.Sprintf("one-%d", i))
	}
	began = time.Now()
	h.run("clone", "t", "cold", "--memory", "512M", "--start")
	h.run("wait", "cold", "--for", "agent")
	cold := time.Since(began)
	t.Logf("cold boot of a linked clone to its agent: %v, %.0f times as long; load %s", cold, float64(cold)/float64(median(self)), load())
	h.run("kill", "cold")
	began = time.Now()
	h.run("reset", "one-0", "--start")
	t.Logf("reset to running as itself: %v", time.Since(began))
	h.run("kill", "one-0")
	began = time.Now()
	h.run("clone", "t", "-n", "30", "--name", "many-{n:02}", "--instant")
	many := time.Since(began)
	var memory, disk []clade.Bytes
	var sum time.Duration
	for n := range 30 {
		m := h.machine(fmt.Sprintf("many-%02d", n+1))
		sum += cpu(m.PID)
		memory, disk = append(memory, pss(m.PID)), append(disk, allocated(h.dir, m.ID))
	}
	t.Logf("30 instant clones: %v; processor time of all their QEMUs %v; load %s", many, sum, load())
	slices.Sort(memory)
	slices.Sort(disk)
	t.Logf("memory each (PSS): median %v, most %v; disk each: median %v, most %v", memory[15], memory[29], disk[15], disk[29])
}

func median(list []time.Duration) time.Duration {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2].Round(time.Millisecond)
}

func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// cpu is the processor time that a process has taken, in hundredths of a second: what
// other work on the computer changes least.
func cpu(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after) // from the third on
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// pss is what a process takes of the memory.
func pss(pid int) clade.Bytes {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(in.Text(), "Pss: %d kB", &kb); n == 1 {
			return clade.Bytes(kb) * clade.KiB
		}
	}
	return 0
}

// allocated is what a machine's heads take on the disk.
func allocated(home, id string) (sum clade.Bytes) {
	dir := home + "/machines/" + id
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "disk") {
			continue
		}
		if n, err := image.Allocated(dir + "/" + e.Name()); err == nil {
			sum += n
		}
	}
	return sum
}
