//go:build lab

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
)

// TestLabPool is a lesson: two persons get machines that cannot reach one another, one
// leaves traces of every kind, and who gets the machine next finds none of them,
// although the controller was killed while it was made clean, and it is of a newer
// template by then. The other one is moved to that at a deadline, and given back what
// was there before.
func TestLabPool(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.run("build", "debian-12", "--name", "master")
	h.run("template", "create", "desk", "--from", "master")
	h.run("pool", "create", "lab", "--template", "desk", "--size", "2", "--policy", "reset", "--name", "lab-{n:02}", "--isolated", "--data-disk", "64M",
		"--patience", "1h")
	controller := h.serve()
	anna := h.claim("anna", "19m")
	ben := h.claim("ben", "19m")
	if anna.Machine == ben.Machine || !anna.Ready || !ben.Ready {
		t.Fatalf("anna has %+v, ben has %+v", anna, ben)
	}
	began := time.Now()
	if again := h.claim("anna", "0s"); again.Machine != anna.Machine {
		t.Errorf("anna had %s and gets %s", anna.Machine, again.Machine)
	}
	t.Logf("a claim took %v as a whole command", time.Since(began).Round(time.Millisecond))
	apart(h, anna, ben)
	before := h.machine(string(anna.Machine))
	h.plant(string(anna.Machine))
	if where := h.memory(before.PID); where == 0 {
		t.Error("what is in the guest's memory is not found there: the search finds nothing")
	}
	h.run("exec", string(ben.Machine), "--", "sh", "-c", "echo ben > /root/kept; echo ben > /data/kept; sync")
	h.run("template", "create", "desk", "--from", "master")
	h.run("pool", "update", "lab", "--to", "desk:2")
	h.refused("pool lab makes its machines of it", "template", "rm", "desk:2", "--yes")
	h.run("pool", "release", "lab", "--for", "anna")
	time.Sleep(1200 * time.Millisecond) // into the controller's next round
	if err := controller.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = controller.Wait() // killed
	h.serve()
	carl := h.claim("carl", "19m")
	after := h.machine(string(carl.Machine))
	if after.ID != before.ID || after.PID == before.PID || after.Identity != before.Identity {
		t.Errorf("the machine was %+v and is %+v, want the same, newly started", before, after)
	}
	// From outside first: who searches in the guest has the words in its memory.
	if where := h.memory(after.PID); where != 0 {
		t.Errorf("the next one's machine has anna's words in its memory, at %#x", where)
	}
	if files := h.traces(filepath.Join(h.dir, "machines", after.ID)); len(files) > 0 {
		t.Errorf("the host has anna's words in %v", files)
	}
	h.search(string(carl.Machine), "mountpoint -q /data || echo no data disk")
	reachable(h, string(carl.Machine))
	if after.Source != "template desk:2" {
		t.Errorf("the next one's machine is of %s, want the newer template", after.Source)
	}
	h.deadline(string(ben.Machine))
}

// deadline moves a claimed machine to the newer template at a deadline, and back.
func (h *home) deadline(name string) {
	h.Helper()
	h.run("pool", "update", "lab", "--to", "desk:2", "--deadline", "1s")
	h.until(name, "is moved at the deadline", func(m clade.Machine) bool { return m.Source == "template desk:2" && m.State == clade.Running })
	if got := h.run("snapshot", "ls", name); !strings.Contains(got, "before-rebase") {
		h.Errorf("what was there before is not kept: %s", got)
	}
	h.run("pool", "update", "lab", "--undo", "--deadline", "1s")
	h.until(name, "is given back", func(m clade.Machine) bool { return m.Source == "template desk:1" && m.State == clade.Running })
	h.run("wait", name, "--for", "agent")
	if got := h.run("exec", name, "--", "cat", "/root/kept", "/data/kept"); got != "ben\nben\n" {
		h.Errorf("what was there before is %q", got)
	}
}

// until waits for what a controller does to a machine.
func (h *home) until(name, what string, so func(clade.Machine) bool) {
	h.Helper()
	for end := time.Now().Add(limit); !so(h.machine(name)); time.Sleep(2 * time.Second) {
		if time.Now().After(end) {
			h.Fatalf("%s is not: %s\n%s", name, what, h.run("pool", "show", "lab"))
		}
	}
}

// instantPool has two persons one after the other on a machine of a pool of instant
// clones: the second one finds somebody new with nothing of the first. After a restart
// of the computer, as all machines see it, they are woken anew.
func (h *home) instantPool(template string) {
	h.Helper()
	h.run("pool", "create", "lab", "--template", template, "--kind", "instant", "--size", "1", "--policy", "reset", "--name", "lab-{n:02}")
	h.run("pool", "reconcile", "lab")
	anna := string(h.claim("anna", "0s").Machine)
	before := h.machine(anna)
	h.plant(anna)
	if h.memory(before.PID) == 0 {
		h.Error("what is in the guest's memory is not found there: the search finds nothing")
	}
	h.run("pool", "release", "lab", "--for", "anna")
	began := time.Now()
	h.run("pool", "reconcile", "lab")
	h.Logf("%.1fs from its release to ready", time.Since(began).Seconds())
	carl := string(h.claim("carl", "0s").Machine)
	after := h.machine(carl)
	if after.ID != before.ID || after.PID == before.PID || after.MachineID == before.MachineID || after.Identity != before.Identity {
		h.Errorf("the machine was %+v and is %+v, want the same as somebody new", before, after)
	}
	if where := h.memory(after.PID); where != 0 {
		h.Errorf("the next one's machine has anna's words in its memory, at %#x", where)
	}
	if files := h.traces(filepath.Join(h.dir, "machines", after.ID)); len(files) > 0 {
		h.Errorf("the host has anna's words in %v", files)
	}
	h.search(carl, "")
	h.run("pool", "release", "lab", "--for", "carl")
	h.run("pool", "reconcile", "lab")
	woken := h.machine(carl)
	h.run("kill", carl)
	h.run("pool", "reconcile", "lab")
	if again := h.machine(carl); again.ID != woken.ID || again.MachineID == woken.MachineID {
		h.Errorf("the machine was %+v, and %+v when it was woken after its end", woken, again)
	}
	h.run("pool", "rm", "lab", "--yes")
}

// trace is what anna leaves. It is put together in the guest, so that the command
// that searches for it does not find itself.
const trace, half, rest = "anna-was-here-4711", "anna-was-here", "-4711"

// serve starts a controller, which ends with the test.
func (h *home) serve() *exec.Cmd {
	h.Helper()
	path, err := binary()
	if err != nil {
		h.Fatal(err)
	}
	cmd := exec.Command(path, "serve")
	cmd.Env = append(os.Environ(), "CLADE_HOME="+h.dir)
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func (h *home) claim(person, wait string) (c clade.Claim) {
	h.Helper()
	if err := json.Unmarshal([]byte(h.run("pool", "claim", "lab", "--for", person, "--wait", wait, "--json")), &c); err != nil {
		h.Fatal(err)
	}
	return c
}

// apart checks that two isolated machines reach the gateway and not one another.
func apart(h *home, a, b clade.Claim) {
	h.Helper()
	gateway := strings.Join(append(strings.Split(a.IP.String(), ".")[:2], "0", "1"), ".")
	const script = `ip neigh flush all; for ip in %s %s; do ping -c 1 -W 2 $ip >/dev/null 2>&1 && echo $ip; done; ` +
		`echo arp $(ip neigh show %[1]s | grep -c lladdr)`
	out := h.run("exec", string(a.Machine), "--", "sh", "-c", fmt.Sprintf(script, b.IP, gateway))
	if got := strings.Join(strings.Fields(out), " "); got != gateway+" arp 0" {
		h.Errorf("%s reaches %q, want its gateway alone", a.Machine, got)
	}
}

// reachable checks that ssh goes to a machine by the configuration for other programs.
func reachable(h *home, name string) {
	h.Helper()
	file := filepath.Join(h.TempDir(), "config")
	if err := os.WriteFile(file, []byte(h.run("inventory", "--ssh-config", "--pool", "lab")), 0o600); err != nil {
		h.Fatal(err)
	}
	out, err := exec.Command("ssh", "-F", file, name, "hostname").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != name {
		h.Errorf("ssh -F config %s hostname: %v, %q", name, err, out)
	}
	out, err = exec.Command("ssh", "-G", "-F", file, name).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("proxycommand ")) || !bytes.Contains(out, []byte("stricthostkeychecking true")) {
		h.Errorf("ssh -G: %v, %s", err, out)
	}
	if got := h.run("exec", "--pool", "lab", "--", "hostname"); !strings.Contains(got, name+": "+name+"\n") {
		h.Errorf("exec on all says %q", got)
	}
}

// plant leaves traces in every place a person does: files, a user, histories, keys,
// a process, shared memory, the data disk.
func (h *home) plant(name string) {
	h.Helper()
	h.run("exec", name, "--", "sh", "-c", `set -e; w=`+half+`; w=$w`+rest+`
useradd -m -c "$w" anna; echo "echo $w" >> /home/anna/.bash_history; echo "echo $w" >> /root/.bash_history
mkdir -p /root/.ssh /home/anna/.ssh; echo "ssh-ed25519 AAAA $w" >> /root/.ssh/authorized_keys; echo "ssh-ed25519 AAAA $w" >> /home/anna/.ssh/authorized_keys
for d in /etc /tmp /var/tmp /var/lib /opt /usr/local /dev/shm /run /data; do [ ! -d $d ] || echo "$w" > $d/$w; done
echo "$w" | logger; mkdir -p /etc/cron.d; echo "# $w" > /etc/cron.d/anna
systemd-run --unit=anna sh -c "w=$w; while true; do sleep 1000; done"
head -c 20000000 /dev/zero | tr '\0' "x" > /dev/shm/big; for i in $(seq 2000); do echo "$w"; done >> /dev/shm/big
sync`)
}

// search looks for the traces from inside: files, users, processes, memory that is
// shared; and does what else is to be said of it. What lies on the bare disks is
// searched from outside.
func (h *home) search(name, also string) {
	h.Helper()
	out := h.run("exec", name, "--", "sh", "-c", `w=`+half+`; w=$w`+rest+`
grep -rlaF --exclude-dir=proc --exclude-dir=sys "$w" / 2>/dev/null | grep -v '^/proc\|^/sys' | grep -v '/var/lib/cloud/instance' | sed 's/^/file /'
getent passwd anna && echo user
for p in /proc/[0-9]*; do [ $p != /proc/$$ ] && { tr '\0' ' ' < $p/cmdline; tr '\0' ' ' < $p/environ; } 2>/dev/null | grep -aF "$w" && echo process $p; done
systemctl list-units --all --plain --no-legend anna.service
find / -xdev -name "*$w*" 2>/dev/null
[ -e /dev/shm/big ] && echo shm
`+also+`
true`)
	if strings.TrimSpace(out) != "" {
		h.Errorf("the next one finds\n%s", out)
	}
}

// memory looks for the trace in the memory of a machine's process, and returns where
// it is, or 0. It must be this user's.
func (h *home) memory(pid int) uint64 {
	h.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		h.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		h.Fatal(err)
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		from, to, _ := strings.Cut(strings.Fields(line)[0], "-")
		low, _ := strconv.ParseUint(from, 16, 64)
		high, _ := strconv.ParseUint(to, 16, 64)
		if high-low < 64<<20 || !strings.Contains(line, "rw") {
			continue // the guest's memory is one large mapping
		}
		if at, found := scan(io.NewSectionReader(mem, int64(low), int64(high-low))); found {
			return low + at
		}
	}
	return 0
}

// scan looks for the trace in what r reads.
func scan(r io.Reader) (at uint64, found bool) {
	buffer := make([]byte, 4<<20)
	kept := 0
	for {
		n, err := io.ReadFull(r, buffer[kept:])
		if i := bytes.Index(buffer[:kept+n], []byte(trace)); i >= 0 {
			return at + uint64(i), true
		}
		if err != nil {
			return 0, false
		}
		at += uint64(kept + n - len(trace))
		kept = copy(buffer, buffer[kept+n-len(trace):])
	}
}

// traces returns the files below dir in which the trace is.
func (h *home) traces(dir string) (files []string) {
	h.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		if _, found := scan(f); found {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		h.Error(err)
	}
	return files
}
