package live_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
	"github.com/clade-vm/clade/live"
)

// someMarks are few, for the tests that mend often.
func someMarks(t *testing.T) []identity.Mark {
	t.Helper()
	var marks []identity.Mark
	for _, name := range []string{"hosts", "hostname", "ssh-host-keys", "random-seed", "networkd-leases", "machine-id"} {
		m, ok := identity.Find(name)
		if !ok {
			t.Fatalf("there is no mark %s", name)
		}
		marks = append(marks, m)
	}
	return marks
}

// small is a guest that has these marks.
func small(t *testing.T) *shell {
	t.Helper()
	var plants []identitytest.Plant
	all := identitytest.Plants()
	for _, m := range someMarks(t) {
		plants = append(plants, all[m.Name])
	}
	return debian(t, plants...)
}

var errDied = errors.New("the agent does not answer any more")

// A guest that dies after any act is a twin still, or one that makes anew at its
// next boot what it lacks; and it can be mended again.
func TestMendDies(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for after := 0; ; after++ {
		g := small(t)
		died := false
		g.before = func(c *clade.Command) error {
			if acts := bytes.SplitAfter(c.Input, []byte{'\n'}); mends(c) && after < len(acts)-1 {
				died = true
				c.Input = bytes.Join(acts[:after], nil)
			}
			return nil
		}
		g.after = func(*clade.Exit) error {
			if died {
				return errDied
			}
			return nil
		}
		report, err := live.Mend(ctx, g, someMarks(t), web2, nil)
		if !died {
			if after < 15 || err != nil {
				t.Fatalf("after %d acts all was done: %v", after, err)
			}
			return
		}
		if !errors.Is(err, errDied) || report == nil || report.Verified {
			t.Fatalf("after %d acts: Mend = %+v, %v", after, report, err)
		}
		for _, s := range report.Marks {
			if s.Erased {
				t.Errorf("after %d acts the report says that %s is erased", after, s.Mark)
			}
		}
		checkHalf(t, g, after)
		if after%5 == 0 {
			g.before, g.after = nil, nil
			if _, err := live.Mend(ctx, g, someMarks(t), web2, nil); err != nil {
				t.Errorf("after %d acts: mending again: %v", after, err)
			}
		}
	}
}

// checkHalf fails unless a guest that was mended in part comes up well.
func checkHalf(t *testing.T, g *shell, after int) {
	t.Helper()
	keys, err := filepath.Glob(filepath.Join(g.root, "etc/ssh/ssh_host_*_key"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(g.root, identity.FirstbootUnit))
	wants, wantsErr := identitytest.Look(g.root, "etc/systemd/system/multi-user.target.wants/clade-firstboot.service")
	if wantsErr != nil {
		t.Fatal(wantsErr)
	}
	if len(keys) == 0 && (err != nil || wants != "->/"+identity.FirstbootUnit) {
		t.Errorf("after %d acts there are no host keys, and nothing will make them", after)
	}
	if id := text(t, g, "etc/machine-id"); !regexp.MustCompile(`^([0-9a-f]{32}\n)?$`).MatchString(id) {
		t.Errorf("after %d acts the machine-id is %q", after, id)
	}
	if id := text(t, g, "etc/machine-id"); strings.TrimSpace(id) != identitytest.MachineID && len(keys) == 0 {
		t.Errorf("after %d acts the machine-id is new, and the keys are not there", after)
	}
}

// What comes back, or is not made, is never called proven.
func TestMendIsNotProven(t *testing.T) {
	for name, test := range map[string]struct {
		spoil string // a command of the guest's own, after it is mended
		names string // what the error must name
	}{
		"the old machine-id":   {"echo " + identitytest.MachineID + " >etc/machine-id", "machine-id"},
		"another machine-id":   {"echo 0123 >etc/machine-id", "machine-id"},
		"the old id for D-Bus": {"rm var/lib/dbus/machine-id; echo " + identitytest.MachineID + " >var/lib/dbus/machine-id", "machine-id"},
		"the old lease":        {"printf PLANTED >var/lib/systemd/network/lease", "networkd-leases"},
		"the old seed":         {"printf PLANTED >var/lib/systemd/random-seed", "random-seed"},
		"the old name":         {"echo PLANTED >etc/hostname", "hostname"},
		"no keys":              {"rm etc/ssh/ssh_host_*", "ssh-host-keys"},
		"an empty key":         {"rm etc/ssh/ssh_host_*; : >etc/ssh/ssh_host_ecdsa_key", "ssh-host-keys"},
		"no hostname":          {"rm etc/hostname", "hostname"},
		"nothing at all":       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := small(t)
			mended := false
			g.before = func(c *clade.Command) error {
				if mended && !mends(c) {
					mended = false
					return script(g, test.spoil)
				}
				mended = mended || mends(c)
				return nil
			}
			report, err := live.Mend(ctx, g, someMarks(t), web2, nil)
			if test.names == "" {
				if err != nil || !report.Verified {
					t.Errorf("Mend = %+v, %v", report, err)
				}
				return
			}
			if clade.KindOf(err) != clade.Unproven || !strings.Contains(fmt.Sprint(err), test.names) {
				t.Errorf("Mend = %v, want kind %q about %s", err, clade.Unproven, test.names)
			}
			if report == nil || report.Verified {
				t.Errorf("the report is %+v", report)
			}
			if ran := g.ran(t); strings.Contains(strings.Join(ran, "\n"), "networkd") {
				t.Error("the DHCP client has been told")
			}
		})
	}
}

// The guest's users may swap what they own while the guest is mended.
func TestMendFollowsNoLink(t *testing.T) {
	for name, test := range map[string]struct{ swap, victim string }{
		"a directory": {"mv var/lib/systemd/network aside; ln -s OUTSIDE var/lib/systemd/network", "dhcp-server-lease"},
		"one above":   {"mv var/lib/systemd aside; ln -s OUTSIDE var/lib/systemd", "random-seed"},
		"a file":      {"rm etc/hosts; ln -s OUTSIDE/hosts etc/hosts", "hosts"},
		"a new file":  {"mv etc/systemd/system aside; ln -s OUTSIDE etc/systemd/system", "clade-firstboot.service"},
	} {
		t.Run(name, func(t *testing.T) {
			g, outside := small(t), t.TempDir()
			for _, name := range []string{"dhcp-server-lease", "random-seed", "hosts"} {
				if err := os.WriteFile(filepath.Join(outside, name), []byte("kept"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := look(t, outside)
			g.before = func(c *clade.Command) error {
				if !mends(c) {
					return nil
				}
				g.before = nil
				return script(g, strings.ReplaceAll(test.swap, "OUTSIDE", outside))
			}
			if _, err := live.Mend(ctx, g, someMarks(t), web2, nil); clade.KindOf(err) != clade.Unproven {
				t.Errorf("Mend = %v, want kind %q", err, clade.Unproven)
			}
			if after := look(t, outside); after[test.victim] != before[test.victim] {
				t.Errorf("outside, %s is %q, and was %q", test.victim, after[test.victim], before[test.victim])
			}
		})
	}
}

// What the guest makes by itself meanwhile is not made again.
func TestMendKeepsWhatIsMade(t *testing.T) {
	g := small(t)
	if err := script(g, "rm run/dhclient*.pid"); err != nil {
		t.Fatal(err)
	}
	g.before = func(c *clade.Command) error {
		if !mends(c) {
			return nil
		}
		return script(g, "echo new >etc/ssh/ssh_host_new_key")
	}
	if _, err := live.Mend(ctx, g, someMarks(t), web2, nil); err != nil {
		t.Fatal(err)
	}
	if ran := strings.Join(g.ran(t), "\n"); strings.Contains(ran, "keygen") || strings.Contains(ran, "networking") {
		t.Errorf("in the guest ran\n%s", ran)
	}
}

// A link that nobody read is not followed by guess.
func TestMendUnknownLink(t *testing.T) {
	g := small(t)
	if err := script(g, "for i in $(seq 1000 1210); do ln -s /srv/key etc/ssh/ssh_host_$i; done; mkdir -p srv; echo secret >srv/key"); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Mend(ctx, g, someMarks(t), web2, nil); clade.KindOf(err) != clade.Unproven {
		t.Errorf("Mend = %v, want kind %q", err, clade.Unproven)
	}
	if got := text(t, g, "srv/key"); got != "secret\n" || len(g.ran(t)) > 1 {
		t.Errorf("the key is %q, and in the guest ran %q", got, g.ran(t))
	}
}

// What is mounted in a directory is another's, and is not removed with it.
func TestMendLeavesMounts(t *testing.T) {
	const dir = "var/lib/systemd/network/dhcp-server-lease"
	for _, at := range []string{"/" + dir, "/" + dir + "/below", `/var/lib/systemd/network/a\040b\011\134`, ""} {
		g := small(t)
		odd := filepath.Join(g.root, "var/lib/systemd/network", "a b\t\\")
		mkdir(t, odd)
		if err := os.WriteFile(filepath.Join(odd, "br0"), []byte(identitytest.Planted), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(g.root, "proc/self/mounts"), []byte("x "+at+" nfs rw 0 0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if at == "" { // as stat tells it, of the place itself
			g.after = func(e *clade.Exit) error {
				e.Out = regexp.MustCompile(` [0-9]+ \./`+dir+`//\n`).ReplaceAll(e.Out, []byte(" 77 ./"+dir+"//\n"))
				return nil
			}
		}
		if _, err := live.Mend(ctx, g, someMarks(t), web2, nil); clade.KindOf(err) != clade.Unproven {
			t.Errorf("with a mount at %q, Mend = %v, want kind %q", at, err, clade.Unproven)
		}
		kept := filepath.Join(g.root, dir, "br0")
		if strings.Contains(at, "040") {
			kept = filepath.Join(odd, "br0")
		}
		if got, err := os.ReadFile(kept); string(got) != identitytest.Planted || err != nil {
			t.Errorf("what is mounted at %q is %q, %v", at, got, err)
		}
	}
}

// What the agent answers to the acts is not taken for done.
func TestMendGarbled(t *testing.T) {
	for name, mangle := range map[string]func(*clade.Exit){
		"fewer":     func(e *clade.Exit) { e.Out = []byte("clade done 1\n") },
		"nothing":   func(e *clade.Exit) { e.Out = nil },
		"truncated": func(e *clade.Exit) { e.Truncated = true },
		"failed":    func(e *clade.Exit) { e.Status = 124 },
		"killed":    func(e *clade.Exit) { e.Signal = 9 },
	} {
		t.Run(name, func(t *testing.T) {
			g := small(t)
			acted := false
			g.before = func(c *clade.Command) error { acted = mends(c); return nil }
			g.after = func(e *clade.Exit) error {
				if acted {
					mangle(e)
				}
				return nil
			}
			report, err := live.Mend(ctx, g, someMarks(t), web2, nil)
			if clade.KindOf(err) != clade.Unproven || report.Verified || slices.ContainsFunc(report.Marks, func(s generalize.Step) bool { return s.Erased }) {
				t.Errorf("Mend = %+v, %v; want kind %q", report, err, clade.Unproven)
			}
		})
	}
}
