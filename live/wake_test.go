package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/live"
)

// TestHands: what the shell has done for it is the same in both languages, and each
// line is answered.
func TestHands(t *testing.T) {
	for name, args := range map[string][]string{"perl": {"-e", live.HandsPerl}, "python3": {"-c", live.HandsPython}} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Skip(err)
			}
			dir := t.TempDir()
			orders := strings.ReplaceAll("seed\nrandom D/a\nmove D/a D/b\nlink D/b D/a\nlink D/none D/a\nrandom D/no/a\nmove D/none D/c\ntime x y\ndance\nrandom D/c\nremove D/c\n", "D", dir)
			cmd := exec.CommandContext(t.Context(), name, args...)
			cmd.Stdin = strings.NewReader(orders)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Split(strings.TrimSpace(regexp.MustCompile(`(?m) .*$`).ReplaceAllString(string(out), "")), "\n")
			if want := []string{"ok", "ok", "ok", "ok", "ok", "failed", "failed", "failed", "failed", "ok", "ok"}; !slices.Equal(said, want) {
				t.Errorf("it says %q, want %q\n%s", said, want, out)
			}
			if !regexp.MustCompile(`^ok [0-9a-f]{64}\n`).Match(out) {
				t.Errorf("it drew %.80q", out)
			}
			drawn, err := os.ReadFile(filepath.Join(dir, "b"))
			if to, _ := os.Readlink(filepath.Join(dir, "a")); err != nil || len(drawn) != 512 || to != dir+"/none" {
				t.Errorf("%d random bytes, %v, and a link to %q", len(drawn), err, to)
			}
			if left, _ := filepath.Glob(dir + "/*"); len(left) != 2 {
				t.Errorf("left are %v, want a and b", left)
			}
		})
	}
}

// A sleeper answers like a guest that does what it is told, after change.
type sleeper struct {
	orders string
	change func(answer string) string
	err    error
}

func (s *sleeper) Order(_ context.Context, _ string, orders []byte, _ string, size int) ([]byte, error) {
	s.orders = string(orders)
	is := make(map[string]string)
	for line := range strings.Lines(s.orders) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		is[key] = value
	}
	answer := fmt.Sprintf("draw %s\nuuid %s\nhost-key %s\nmachine-id %s\nhostname %s\ndone\n",
		strings.Repeat("0a", 32), uuid.NewString(), is["host-key"], is["machine-id"], is["hostname"])
	if s.change != nil {
		answer = s.change(answer)
	}
	return bytes.TrimRight(fmt.Appendf(nil, "%-*s", size, answer), "\x00"), s.err
}

var waking = live.Waking{Identity: live.Identity{Hostname: "web-1", InstanceID: "iid-1"}, UUID: uuid.New()}

// TestWakeBelievesNothing: a guest that answers something else than it was told is
// not woken, whatever it is.
func TestWakeBelievesNothing(t *testing.T) {
	good := &sleeper{}
	w, err := live.Wake(t.Context(), good, waking)
	if err != nil || len(w.Draws) != 2 || !strings.HasPrefix(w.HostKey, "SHA256:") || !strings.Contains(good.orders, "machine-id "+w.MachineID+"\n") {
		t.Fatalf("Wake = %+v, %v", w, err)
	}
	for _, order := range []string{"entropy ", "hostname web-1\n", "secret -----BEGIN OPENSSH PRIVATE KEY-----\n", "instance-id iid-1\n", "\nend\n"} {
		if !strings.Contains(good.orders, order) {
			t.Errorf("its orders lack %q", order)
		}
	}
	line := func(key string) *regexp.Regexp { return regexp.MustCompile(`(?m)^` + key + `( .*)?\n`) }
	for what, change := range map[string]func(string) string{
		"nothing":           func(string) string { return "" },
		"another host key":  func(s string) string { return line("host-key").ReplaceAllString(s, "host-key "+otherKey+"\n") },
		"no key":            func(s string) string { return line("host-key").ReplaceAllString(s, "host-key x\n") },
		"another id":        func(s string) string { return line("machine-id").ReplaceAllString(s, "machine-id 0123\n") },
		"its old name":      func(s string) string { return strings.ReplaceAll(s, "web-1", "warm") },
		"no draw":           func(s string) string { return line("draw").ReplaceAllString(s, "") },
		"a draw of rubbish": func(s string) string { return line("draw").ReplaceAllString(s, "draw $(reboot)\n") },
		"half":              func(s string) string { return line("done").ReplaceAllString(s, "") },
		"a failure":         func(string) string { return "failed time\n" },
	} {
		if w, err := live.Wake(t.Context(), &sleeper{change: change}, waking); !errors.Is(err, clade.Unproven) {
			t.Errorf("%s: Wake = %+v, %v, want kind %v", what, w, err, clade.Unproven)
		}
	}
	old := &sleeper{err: &clade.Error{Kind: clade.NotFound}}
	if _, err := live.Wake(t.Context(), old, waking); !errors.Is(err, clade.Unsupported) || !strings.Contains(clade.HintOf(err), "template warm") {
		t.Errorf("Wake of what an older clade kept = %v, hint %q", err, clade.HintOf(err))
	}
}

const otherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBERERERERERERERERERERERERERERERERERERERERER"

// TestTwinned: only marks that no wake makes anew are in the way of keeping a guest.
func TestTwinned(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "etc/hostname": "warm\n", "var/log/syslog": "x\n",
	} {
		mkdir(t, filepath.Join(root, filepath.Dir(name)))
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newShell(t, root)
	if found, err := live.Twinned(t.Context(), s); err != nil || len(found) != 0 {
		t.Errorf("Twinned = %v, %v, want nothing", found, err)
	}
	if err := script(s, "mkdir etc/salt && echo twin >etc/salt/minion_id"); err != nil {
		t.Fatal(err)
	}
	if found, err := live.Twinned(t.Context(), s); err != nil || len(found) != 1 || found[0].Mark != "salt-minion-id" {
		t.Errorf("Twinned = %v, %v, want the salt minion's id", found, err)
	}
}
