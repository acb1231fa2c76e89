//go:build lab

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lab"
)

// limit bounds every command of these tests: a slow computer takes long, a hang
// takes for ever.
const limit = 20 * time.Minute

// binary is the program, built once as `make build` does.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "clade-lab-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "clade")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// A home is a home of its own for one test; its machines end with the test.
type home struct {
	*testing.T
	dir string
}

func newHome(t *testing.T) *home {
	h := &home{t, t.TempDir()}
	t.Cleanup(func() {
		var list []clade.Machine
		out, _, _ := h.try("ls", "--json")
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Errorf("clade ls --json: %v\n%s", err, out)
		}
		for _, m := range list {
			h.run("kill", string(m.Name))
		}
		h.quiet()
	})
	return h
}

// try runs clade and returns what it said and its exit status.
func (h *home) try(args ...string) (stdout, stderr string, status int) {
	h.Helper()
	path, err := binary()
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out, text bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "CLADE_HOME="+h.dir)
	cmd.Stdout, cmd.Stderr = &out, &text
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), text.String(), exit.ExitCode()
	}
	if err != nil {
		h.Fatalf("clade %v: %v", args, err)
	}
	return out.String(), text.String(), 0
}

// run runs clade, which must succeed, and returns its standard output.
func (h *home) run(args ...string) string {
	h.Helper()
	began := time.Now()
	out, text, status := h.try(args...)
	if status != 0 {
		h.Fatalf("clade %v: exit status %d\n%s%s", args, status, out, text)
	}
	h.Logf("%6.1fs  clade %s", time.Since(began).Seconds(), strings.Join(args, " "))
	return out
}

// refused runs clade, which must fail with one line that has text in it.
func (h *home) refused(text string, args ...string) {
	h.Helper()
	out, said, status := h.try(args...)
	first, _, _ := strings.Cut(said, "\n")
	if status == 0 || !strings.Contains(first, text) {
		h.Errorf("clade %v: exit status %d, said %q; want an error with %q in its first line\n%s", args, status, said, text, out)
	}
}

func (h *home) machine(name string) clade.Machine {
	h.Helper()
	var m clade.Machine
	if err := json.Unmarshal([]byte(h.run("show", name, "--json")), &m); err != nil {
		h.Fatal(err)
	}
	return m
}

// quiet waits until no process of this home is left.
func (h *home) quiet() {
	for range 600 {
		if len(h.processes()) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.Errorf("processes are left: %v", h.processes())
}

// processes returns the ids of the processes that work on this home.
func (h *home) processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if bytes.Contains(line, []byte(h.dir)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestLab is the main job: the whole exercise holds, and the page is written.
func TestLab(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	page := filepath.Join(t.TempDir(), "lab.html")
	out, text, status := h.try("lab", "--json", "--html", page)
	var r lab.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("clade lab --json: %v, exit status %d\n%s\n%s", err, status, out, text)
	}
	for _, c := range r.Checks {
		t.Logf("%-5v %s  %s", c.OK, c.Name, c.Detail)
	}
	if status != 0 || !r.Verdict || len(r.Checks) < 20 {
		t.Errorf("exit status %d, verdict %v, %d checks; want 0, true, at least 20\n%s", status, r.Verdict, len(r.Checks), text)
	}
	if html, err := os.ReadFile(page); err != nil || !bytes.Contains(html, []byte("<svg")) {
		t.Errorf("the page has no picture (%v)", err)
	}
}

// TestLabWithoutGeneralizing is the counter-proof: it must fail, and name what
// the machines share.
func TestLabWithoutGeneralizing(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	out, text, status := h.try("lab", "--json", "--skip-generalize")
	var r lab.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("clade lab --json: %v, exit status %d\n%s\n%s", err, status, out, text)
	}
	shared := ""
	for _, s := range r.Shared {
		shared += s.Mark + " "
	}
	if status != 3 || r.Verdict || !strings.Contains(shared, "machine-id") {
		t.Errorf("exit status %d, verdict %v, shared %q; want 3, false, and the machine-id named\n%s", status, r.Verdict, shared, text)
	}
}

// TestLabDay is a day with clade: the verbs of daily use on real machines, the
// switch and a hypervisor killed under them.
func TestLabDay(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.run("build", "debian-12", "--name", "master")
	h.run("start", "master", "--wait", "cloud-init")
	h.run("exec", "master", "--", "sh", "-c", "echo kept > /var/lib/kept && sync")
	h.run("clone", "master", "web-1", "--generalize") // from the running machine, live
	h.run("template", "create", "day", "--from", "master")
	if got := h.run("exec", "master", "--", "cat", "/var/lib/kept"); got != "kept\n" {
		t.Errorf("the running source lost a file when it was cloned: %q", got)
	}
	twinAndBare(h)
	h.run("stop", "master")
	h.run("clone", "day:1", "web-2", "--memory", "768M", "--data-disk", "home=1G:/srv/home", "--data-disk", "64M")
	h.run("start", "web-1", "web-2", "--wait", "cloud-init")
	h.run("start", "twin", "bare-1", "--wait", "agent")
	distinct(h, "web-1", "web-2", "twin", "bare-1")
	for _, name := range []string{"web-1", "web-2"} {
		if got := h.run("exec", name, "--", "cat", "/var/lib/kept"); got != "kept\n" {
			t.Errorf("%s does not hold what its source held: %q", name, got)
		}
	}
	dataDisks(h, "web-2", "")
	daily(h)
	mended(h, "web-1")
	h.killSwitch()
	if got := h.run("ssh", "web-1", "--", "getent", "hosts", "web-2"); !strings.Contains(got, h.machine("web-2").Identity.IP.String()) {
		t.Errorf("after the switch was killed web-1 finds web-2 at %q", got)
	}
	h.pullPlug("web-2")
	h.run("restart", "web-1")
	h.run("wait", "web-1", "--for", "agent")
	h.run("stop", "web-1")
	h.run("rm", "--yes", "master")
	h.run("template", "rm", "--yes", "day:1")
	h.run("reset", "web-2")
	h.run("start", "web-2", "--wait", "cloud-init") // its parents are gone, what it rests on is not
	dataDisks(h, "web-2", "precious")
	h.run("verify", "--all")
}

// twinAndBare makes, of the running master, a twin that is mended before it starts,
// and a clone that has no cloud-init to make it a machine of its own.
func twinAndBare(h *home) {
	h.run("clone", "master", "twin", "--accept-twins", "all")
	h.refused("master is running and has the same machine-id", "start", "twin")
	h.run("mend", "twin")
	h.run("exec", "master", "--", "sh", "-c", "DEBIAN_FRONTEND=noninteractive apt-get -qq -y purge cloud-init && sync")
	h.run("template", "create", "bare", "--from", "master")
	h.run("clone", "bare", "bare-1")
}

// dataDisks checks that a machine's data disks are mounted and hold what an earlier
// call left there, while its system's disk does not: it was reset.
func dataDisks(h *home, name, want string) {
	h.Helper()
	out := h.run("exec", name, "--", "sh", "-c", "cat /srv/home/file /root/file 2>/dev/null; mountpoint -q /data && findmnt -no LABEL,FSTYPE /srv/home; "+
		"echo precious > /srv/home/file; echo lost > /root/file; sync")
	if got := strings.Join(strings.Fields(out), " "); got != strings.TrimSpace(want+" home ext4") {
		h.Errorf("%s says %q of its data disks, want %q and that they are mounted", name, got, want)
	}
}

// distinct checks that running machines have all that was erased again, and share
// none of it: by what they tell, and by the audit of all marks.
func distinct(h *home, names ...string) {
	h.Helper()
	seen := map[string]string{}
	for _, name := range names {
		h.run("wait", name, "--for", "ssh")
		id := strings.TrimSpace(h.run("exec", name, "--", "cat", "/etc/machine-id"))
		keys := strings.Fields(h.run("exec", name, "--", "sh", "-c", "for k in /etc/ssh/ssh_host_*.pub; do ssh-keygen -l -f $k | cut -d' ' -f2; done"))
		if len(id) != 32 || len(keys) == 0 {
			h.Errorf("%s has machine-id %q and host keys %q: they did not come back", name, id, keys)
		}
		for _, value := range append(keys, id) {
			if other := seen[value]; other != "" {
				h.Errorf("%s and %s share %s", name, other, value)
			}
			seen[value] = name
		}
	}
	out, text, status := h.try("audit")
	if status != 0 {
		h.Errorf("the audit ends with status %d\n%s\n%s", status, out, text)
	}
}

// mended renews a running machine, which goes on and is the same after a restart.
func mended(h *home, name string) {
	h.Helper()
	identity := func() string {
		return h.run("exec", name, "--", "sh", "-c", "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub")
	}
	before := identity()
	h.run("mend", name)
	after := identity()
	for i, line := range strings.Split(strings.TrimSpace(after), "\n") {
		if line == strings.Split(before, "\n")[i] {
			h.Errorf("%s was mended and has its old %q", name, line)
		}
	}
	if got := h.run("ssh", name, "--", "cat", "/var/lib/kept"); got != "kept\n" {
		h.Errorf("%s does not hold what it held before it was mended: %q", name, got)
	}
	h.run("restart", name)
	h.run("wait", name, "--for", "cloud-init")
	if got := identity(); got != after {
		h.Errorf("after a restart %s is %q, it was %q", name, got, after)
	}
}

// TestLabFirstBoot: clones of the newer Debian have what was erased again after
// their first boot, with cloud-init and without.
func TestLabFirstBoot(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.run("build", "debian-13", "--name", "master")
	h.run("template", "create", "full", "--from", "master")
	h.run("start", "master", "--wait", "cloud-init")
	h.run("exec", "master", "--", "sh", "-c", "DEBIAN_FRONTEND=noninteractive apt-get -qq -y purge cloud-init && sync")
	h.run("template", "create", "bare", "--from", "master")
	h.run("stop", "master")
	h.run("clone", "full", "full-1")
	h.run("clone", "bare", "bare-1")
	h.run("start", "full-1", "bare-1", "--wait", "agent")
	h.run("wait", "full-1", "--for", "cloud-init")
	distinct(h, "full-1", "bare-1")
}

// daily tries the verbs that reach into running machines.
func daily(h *home) {
	h.run("wait", "web-1", "--for", "ssh")
	if got := h.run("ssh", "web-1", "--", "hostname"); got != "web-1\n" {
		h.Errorf("ssh web-1 hostname = %q", got)
	}
	if _, _, status := h.try("exec", "web-1", "--", "sh", "-c", "exit 7"); status != 7 {
		h.Errorf("exec passed on exit status %d, want 7", status)
	}
	if _, _, status := h.try("ssh", "web-1", "--", "exit", "9"); status != 9 {
		h.Errorf("ssh passed on exit status %d, want 9", status)
	}
	file := filepath.Join(h.TempDir(), "file")
	want := bytes.Repeat([]byte("clade"), 100_000)
	if err := os.WriteFile(file, want, 0o600); err != nil {
		h.Fatal(err)
	}
	h.run("cp", file, "web-1:/tmp/file")
	h.run("cp", "web-1:/tmp/file", file+".back")
	if got, err := os.ReadFile(file + ".back"); err != nil || !bytes.Equal(got, want) {
		h.Errorf("a file came back with %d bytes (%v), want %d", len(got), err, len(want))
	}
	if got := h.run("logs", "web-1"); !strings.Contains(got, "Linux version") {
		h.Errorf("the console's log does not hold the boot: %.200q", got)
	}
	h.refused("running", "rm", "--yes", "web-1")
	h.refused("taken", "clone", "day", "web-1")
	h.refused("not generalized", "clone", "master", "another")
	h.run("tree")
	h.run("du")
	if got := h.run("clone", "day", "-n", "3", "--name", "w-{n:02}", "--dry-run"); !strings.Contains(got, "w-03") {
		h.Errorf("the plan does not name w-03:\n%s", got)
	}
}

// killSwitch kills the process that runs the default network.
func (h *home) killSwitch() {
	h.Helper()
	killed := 0
	for _, pid := range h.processes() {
		line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if bytes.Contains(line, []byte("\x00switch\x00default")) {
			killed++
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				h.Fatal(err)
			}
		}
	}
	if killed != 1 {
		h.Fatalf("%d processes ran the network, want one", killed)
	}
	h.run("ls") // any next command gives the network its switch back
}

// pullPlug kills a machine's hypervisor from outside.
func (h *home) pullPlug(name string) {
	h.Helper()
	if err := syscall.Kill(h.machine(name).PID, syscall.SIGKILL); err != nil {
		h.Fatal(err)
	}
	h.run("wait", name, "--for", "stopped")
	if m := h.machine(name); m.State != clade.Stopped || m.Reason == "" {
		h.Errorf("%s shows as %s (%q), want stopped with a reason", name, m.State, m.Reason)
	}
}
