//go:build lab

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// seedlessBinary is the program as nobody should build it: it gives the kernels of
// instant clones no entropy.
var seedlessBinary = sync.OnceValues(func() (string, error) {
	good, err := binary()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(good), "seedless")
	cmd := exec.Command("go", "build", "-ldflags", "-X main.seedless=yes", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// drawn is what a guest is asked for: what its kernel draws, and who it is.
// Each of its processors has a generator of its own.
const drawn = `for cpu in 0 1; do taskset -c $cpu head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; echo; done
cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id /etc/machine-id /sys/class/dmi/id/product_uuid
rm -f /tmp/key && ssh-keygen -q -t ed25519 -N '' -C '' -f /tmp/key && cut -d' ' -f2 /tmp/key.pub
cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub
openssl genpkey -algorithm ed25519 2>/dev/null | sed -n 2p`

// TestLabInstant: twenty siblings of one memory share nothing that was drawn; they
// are machines like any others; and without entropy they would be twins.
func TestLabInstant(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.run("build", "debian-12", "--name", "master")
	h.run("template", "create", "t", "--from", "master")
	h.run("template", "warm", "t", "--memory", "512M", "--cpus", "2", "--after", "echo kept >/var/lib/kept")
	h.run("clone", "t", "-n", "20", "--name", "p-{n:02}", "--instant")
	siblings := strings.Fields(h.run("ls", "--names"))
	siblings = slices.DeleteFunc(siblings, func(name string) bool { return !strings.HasPrefix(name, "p-") })
	if len(siblings) != 20 {
		t.Fatalf("the siblings are %v, want 20", siblings)
	}
	seen := map[string]string{}
	for _, name := range siblings {
		h.apart(seen, name)
	}
	if got := h.run("ssh", "p-01", "--", "hostname; grep -rl warm- /etc/hosts /etc/hostname; true"); got != "p-01\n" {
		t.Errorf("p-01 says %q, want its name and no trace of what it was", got)
	}
	if out, text, status := h.try("audit"); status != 0 {
		t.Errorf("the audit ends with status %d\n%s\n%s", status, out, text)
	}
	for _, name := range siblings[2:] {
		h.run("kill", name)
	}
	h.resetInstant(seen)
	h.told()
	h.instantPool("t")
	h.bootInstant()
	h.goesOn("p-01")
	h.twins()
}

// apart fails where a machine has or draws something that another one had or drew.
func (h *home) apart(seen map[string]string, name string) {
	h.Helper()
	values := strings.Fields(h.run("exec", name, "--", "sh", "-c", drawn))
	if len(values) < 8 {
		h.Errorf("%s says only %q", name, values)
	}
	for _, value := range values {
		if other := seen[value]; other != "" {
			h.Errorf("%s and %s share %s", name, other, value)
		}
		seen[value] = name
	}
}

// resetInstant takes a clone back to its warm template: it is somebody new.
func (h *home) resetInstant(seen map[string]string) {
	h.Helper()
	h.run("exec", "p-02", "--", "touch", "/var/lib/written")
	id := h.machine("p-02").Identity
	h.run("reset", "p-02", "--force", "--start")
	if m := h.machine("p-02"); m.Identity != id || m.Asleep {
		h.Errorf("after its reset p-02 is %+v, it was %+v", m.Identity, id)
	}
	if _, _, status := h.try("exec", "p-02", "--", "test", "-e", "/var/lib/written"); status != 1 {
		h.Errorf("what was written before the reset is there (status %d)", status)
	}
	delete(seen, id.UUID)
	h.apart(seen, "p-02")
}

// told: a clone has what was there when its template was kept, and what its own user
// data says beside that; and it is who it was before it was told.
func (h *home) told() {
	h.Helper()
	file := filepath.Join(h.TempDir(), "user-data")
	text := "#cloud-config\nwrite_files:\n- path: /etc/told\n  content: |\n    told\nruncmd:\n- cat /etc/machine-id >/etc/ran\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
	h.run("clone", "t", "told", "--instant", "--user-data", file)
	got := strings.Fields(h.run("exec", "told", "--", "cat", "/var/lib/kept", "/etc/told", "/etc/ran", "/etc/hostname"))
	if want := []string{"kept", "told", h.machine("told").MachineID, "told"}; !slices.Equal(got, want) {
		h.Errorf("what was kept and told is %q, want %q", got, want)
	}
	h.run("kill", "told")
}

// bootInstant: stopped and started, a clone boots from its own disk as who it is.
func (h *home) bootInstant() {
	h.Helper()
	before := h.run("exec", "p-01", "--", "cat", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub", "/etc/hostname", "/var/lib/cloud/data/instance-id")
	h.run("restart", "p-01")
	h.run("wait", "p-01", "--for", "ssh")
	after := h.run("exec", "p-01", "--", "cat", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub", "/etc/hostname", "/var/lib/cloud/data/instance-id")
	if before != after {
		h.Errorf("after a boot p-01 is\n%s\nit was\n%s", after, before)
	}
	if got := h.run("ssh", "p-01", "--", "hostname"); got != "p-01\n" {
		h.Errorf("ssh p-01 hostname = %q", got)
	}
}

// goesOn: restored to a snapshot with memory, a machine does what it did then. The file
// in its memory is nowhere else, the process counts on, and it has not booted.
func (h *home) goesOn(name string) {
	h.Helper()
	const begin = `echo then >/dev/shm/then; cat /proc/sys/kernel/random/boot_id
nohup sh -c 'n=0; while :; do n=$((n+1)); echo $n >/dev/shm/n; sleep 0.1; done' >/dev/null 2>&1 & echo $!`
	const look = `cat /proc/sys/kernel/random/boot_id; kill -0 %s && cat /dev/shm/then; ls /dev/shm/later /root/later 2>/dev/null; date +%%s; cat /proc/sys/kernel/random/uuid`
	said := strings.Fields(h.run("exec", name, "--", "sh", "-c", begin))
	if len(said) != 2 {
		h.Fatalf("the guest says %q, want its boot and a process", said)
	}
	h.run("snapshot", "create", name, "then", "--memory")
	h.run("exec", name, "--", "sh", "-c", "touch /dev/shm/later /root/later; sync")
	drew := ""
	for range 2 {
		h.run("kill", name)
		h.run("snapshot", "restore", name, "then")
		got := strings.Fields(h.run("exec", name, "--", "sh", "-c", fmt.Sprintf(look, said[1])))
		if len(got) != 4 || got[0] != said[0] || got[1] != "then" || got[3] == drew {
			h.Fatalf("restored it says %q, want boot %s, what was in its memory and nothing later, and another number than %q", got, said[0], drew)
		}
		if told, _ := strconv.ParseInt(got[2], 10, 64); time.Since(time.Unix(told, 0)).Abs() > time.Minute {
			h.Errorf("restored its clock says %v", time.Unix(told, 0))
		}
		drew = got[3]
	}
	if got := h.run("ssh", name, "--", "hostname"); got != name+"\n" {
		h.Errorf("restored, ssh %s hostname = %q", name, got)
	}
	h.run("snapshot", "rm", name, "then")
}

// twins is the counter-proof: a clade that gives no entropy sees twins, and ends them.
func (h *home) twins() {
	h.Helper()
	path, err := seedlessBinary()
	if err != nil {
		h.Fatal(err)
	}
	cmd := exec.Command(path, "clone", "t", "-n", "6", "--name", "twin-{n}", "--instant")
	cmd.Env = append(os.Environ(), "CLADE_HOME="+h.dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "drew the random numbers that a sibling's drew") {
		h.Errorf("six clones without entropy: %v, want them refused as twins\n%s", err, out)
	}
	if strings.Contains(h.run("ls", "--names"), "twin-") {
		h.Error("twins are left")
	}
}
