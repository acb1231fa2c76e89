package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
)

// warmHome is a home whose template t:1 is warm, on a driver of its own.
func warmHome(t *testing.T, change func(c *host.Config, d *fake.Driver)) (*host.Host, string, *fake.Driver) {
	t.Helper()
	h, dir := home(t)
	must(t, h, "warm t")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	c, d := config(dir), fake.New()
	c.Driver = d
	if change != nil {
		change(&c, d)
	}
	h, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		machines, err := h.Machines(ctx)
		for _, m := range machines {
			err = errors.Join(err, h.Kill(ctx, m.Name))
		}
		if err := errors.Join(err, h.Close()); err != nil {
			t.Error(err)
		}
	})
	return h, dir, d
}

func instant(names ...clade.Name) clade.CloneSpec {
	return clade.CloneSpec{Source: "t", Names: names, Kind: clade.Instant, Options: alone}
}

// TestInstantClones: they run when they are made, each with an identity of its own.
func TestInstantClones(t *testing.T) {
	h, dir, _ := warmHome(t, nil)
	made, err := h.Clone(ctx, instant("a", "b", "c"), nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]clade.Name)
	for _, m := range made {
		if m, _ = h.Machine(ctx, m.Name); m.State != clade.Running || m.Asleep || m.Clone != clade.Instant {
			t.Errorf("%s is %s, asleep %v, of kind %s; want it running and awake", m.Name, m.State, m.Asleep, m.Clone)
		}
		r, err := h.Read(ctx, m.Name)
		if err != nil {
			t.Fatal(err)
		}
		if r.Hostname != string(m.Name) || r.UUID != m.Identity.UUID || r.InstanceID != m.Identity.InstanceID || r.MachineID != m.MachineID {
			t.Errorf("%s reads %+v, its record says %+v, machine-id %s", m.Name, r, m.Identity, m.MachineID)
		}
		for _, value := range append(r.HostKeys, r.MachineID) {
			if other := seen[value]; other != "" || value == "" {
				t.Errorf("%s and %s share %q", m.Name, other, value)
			}
			seen[value] = m.Name
		}
	}
	clean(t, h, dir)
}

// TestTwinsAreSeen is the counter-proof: without entropy the second clone draws what
// the first one drew, and neither is left.
func TestTwinsAreSeen(t *testing.T) {
	h, dir, _ := warmHome(t, func(c *host.Config, _ *fake.Driver) { c.Seedless = true })
	_, err := h.Clone(ctx, instant("a", "b"), nil)
	if !errors.Is(err, clade.Unproven) || !strings.Contains(err.Error(), "random numbers") {
		t.Errorf("Clone of twins = %v, want kind %v and why", err, clade.Unproven)
	}
	if list, _ := h.Machines(ctx); len(list) != 1 {
		t.Errorf("machines = %v, want the master only", list)
	}
	clean(t, h, dir)
}

// TestUnidentifiedIsEnded: a clone that does not become who it is to be never lives.
func TestUnidentifiedIsEnded(t *testing.T) {
	h, dir, d := warmHome(t, nil)
	d.Dumb = true
	if _, err := h.Clone(ctx, instant("a"), nil); !errors.Is(err, clade.Unproven) {
		t.Errorf("Clone = %v, want kind %v", err, clade.Unproven)
	}
	if hasMachine("a")(h) {
		t.Error("the clone is still there")
	}
	d.Dumb = false
	must(t, h, "instant t a")
	must(t, h, "kill a")
	must(t, h, "reset a")
	d.Dumb = true
	if err := h.Start(ctx, "a", clade.StartOptions{}, nil); !errors.Is(err, clade.Unproven) {
		t.Errorf("Start = %v, want kind %v", err, clade.Unproven)
	}
	if m, _ := h.Machine(ctx, "a"); m.State != clade.Stopped || !m.Asleep {
		t.Errorf("what could not be woken is %s, asleep %v, want it stopped and asleep", m.State, m.Asleep)
	}
	d.Dumb = false
	must(t, h, "start a")
	clean(t, h, dir)
}

// TestResetOfInstant: it goes back to its warm template, and nothing lives on from
// there but by being woken.
func TestResetOfInstant(t *testing.T) {
	h, _, _ := warmHome(t, nil)
	must(t, h, "instant t a")
	before, err := h.Read(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	must(t, h, "kill a")
	must(t, h, "start a") // a boot from its own disk
	if m, _ := h.Machine(ctx, "a"); m.Asleep || m.State != clade.Running {
		t.Errorf("after a boot it is %s, asleep %v", m.State, m.Asleep)
	}
	must(t, h, "kill a")
	must(t, h, "reset a")
	m, _ := h.Machine(ctx, "a")
	if !m.Asleep || m.MachineID != "" {
		t.Errorf("after a reset it is %+v, want it asleep and nobody", m)
	}
	for _, act := range []string{"snapshot a s", "template a", "full a b", "adopt a b", "generalize a", "mend a", "promote a", "export a " + t.TempDir() + "/x"} {
		if err := perform(ctx, h, act); !errors.Is(err, clade.Unsupported) {
			t.Errorf("%s of what is asleep = %v, want kind %v", act, err, clade.Unsupported)
		}
	}
	must(t, h, "start a")
	after, err := h.Read(ctx, "a")
	if err != nil || after.Hostname != "a" || after.MachineID == before.MachineID || slices.Equal(after.HostKeys, before.HostKeys) {
		t.Errorf("after the reset it reads %+v (%v), before %+v", after, err, before)
	}
	must(t, h, "kill a")
	must(t, h, "promote a")
	if m, _ := h.Machine(ctx, "a"); m.Clone != clade.Full || m.Warm != "" || m.Disks[0].Layer != "" {
		t.Errorf("promoted it is %+v, want it full and resting on nothing", m)
	}
}

// TestWarmStaysForItsClones: it goes with the last of them, whatever becomes of the
// template; a template that is warmed again has a new one.
func TestWarmStaysForItsClones(t *testing.T) {
	h, dir, _ := warmHome(t, nil)
	must(t, h, "instant t a")
	must(t, h, "warm t")
	must(t, h, "instant t b")
	a, b := machine(t, h, "a"), machine(t, h, "b")
	if a.Warm == b.Warm || len(list(t, dir, "warm")) != 2 {
		t.Errorf("a and b rest on %s and %s of %v, want two", a.Warm, b.Warm, list(t, dir, "warm"))
	}
	must(t, h, "cool t")
	must(t, h, "untemplate t")
	for _, act := range []string{"kill a", "reset a", "start a", "kill a", "rm a"} {
		must(t, h, act)
	}
	clean(t, h, dir)
	if got := list(t, dir, "warm"); !slices.Equal(got, []string{b.Warm}) {
		t.Errorf("warm holds %v, want that of b", got)
	}
	if verdicts, err := h.Verify(ctx, clade.VerifySpec{}, nil); err != nil || !slices.ContainsFunc(verdicts, func(v clade.Verdict) bool { return v.Layer == "warm "+b.Warm && v.Intact }) {
		t.Errorf("Verify = %+v, %v, want the warm template among them", verdicts, err)
	}
	must(t, h, "kill b")
	must(t, h, "rm b")
	clean(t, h, dir)
	if got := list(t, dir, "warm"); len(got) != 0 {
		t.Errorf("warm holds %v, want nothing", got)
	}
}

// TestWarmIsBound: what was saved under something else is refused, and why is said.
func TestWarmIsBound(t *testing.T) {
	h, _, d := warmHome(t, nil)
	must(t, h, "instant t a")
	must(t, h, "kill a")
	must(t, h, "reset a")
	d.Version = "2"
	_, err := h.Clone(ctx, instant("b"), nil)
	if !errors.Is(err, clade.Unsupported) || !strings.Contains(err.Error(), "QEMU's version: it was fake, it is fake2") || !strings.Contains(clade.HintOf(err), "template warm t:1") {
		t.Errorf("Clone = %v, hint %q, want what has changed and what to do", err, clade.HintOf(err))
	}
	if err := h.Start(ctx, "a", clade.StartOptions{}, nil); !errors.Is(err, clade.Unsupported) {
		t.Errorf("Start = %v, want kind %v", err, clade.Unsupported)
	}
	spec := instant("b")
	spec.Hardware.CPUs = 7
	d.Version = ""
	if _, err := h.Clone(ctx, spec, nil); !errors.Is(err, clade.Unsupported) || !strings.Contains(clade.HintOf(err), "--cpus 7") {
		t.Errorf("Clone with other hardware = %v, hint %q", err, clade.HintOf(err))
	}
	if _, err := h.Clone(ctx, clade.CloneSpec{Source: "m", Names: []clade.Name{"b"}, Kind: clade.Instant, AcceptTwins: []string{"all"}, Options: alone}, nil); !errors.Is(err, clade.Unsupported) {
		t.Errorf("instant clone of a machine = %v, want kind %v", err, clade.Unsupported)
	}
}

// TestTouchedMemoryIsNoticed: a warm template is as sealed as a layer.
func TestTouchedMemoryIsNoticed(t *testing.T) {
	h, dir, _ := warmHome(t, nil)
	ram := filepath.Join(dir, "warm", list(t, dir, "warm")[0], "ram")
	if err := os.Chmod(ram, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Clone(ctx, instant("a"), nil); !errors.Is(err, clade.Corrupt) {
		t.Errorf("Clone from touched memory = %v, want kind %v", err, clade.Corrupt)
	}
	if _, err := h.Verify(ctx, clade.VerifySpec{}, nil); err != nil {
		t.Errorf("Verify of what only its times have changed = %v", err)
	}
	must(t, h, "instant t a")
	f, err := os.OpenFile(ram, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 4096); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := h.Verify(ctx, clade.VerifySpec{}, nil); !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "warm") {
		t.Errorf("Verify of changed memory = %v, want kind %v", err, clade.Corrupt)
	}
}

// TestStormWaitsForMemory: where there is none, nothing is started, and what is
// waited for is said.
func TestStormWaitsForMemory(t *testing.T) {
	proc := t.TempDir()
	free := func(mb int) {
		text := fmt.Sprintf("MemTotal: 8388608 kB\nMemAvailable: %d kB\n", mb<<10)
		part := filepath.Join(proc, "part") // whoever reads it meanwhile reads all of one
		if err := errors.Join(os.WriteFile(part, []byte(text), 0o600), os.Rename(part, filepath.Join(proc, "meminfo"))); err != nil {
			t.Fatal(err)
		}
	}
	free(300)
	h, _, _ := warmHome(t, func(c *host.Config, _ *fake.Driver) { c.Proc = proc })
	said := ""
	_, err := h.Clone(ctx, instant("a", "b"), func(e clade.Event) {
		if strings.HasPrefix(e.Step, "wait for memory") && said == "" {
			said = e.Step
			if m, _ := h.Machine(ctx, "a"); m.State == clade.Running {
				t.Error("it runs already")
			}
			free(4096)
		}
	})
	if err != nil || !strings.Contains(said, "are needed, 300 MiB are free") {
		t.Errorf("Clone = %v, said %q, want that it waited and for what", err, said)
	}
}

// A marked driver's guests show the files below root to one that looks for marks.
type marked struct {
	*fake.Driver
	root string
}

func (d marked) Guest(ctx context.Context, p hypervisor.Place) (hypervisor.Guest, error) {
	g, err := d.Driver.Guest(ctx, p)
	return markedGuest{g, d.root}, err
}

type markedGuest struct {
	hypervisor.Guest
	root string
}

func (g markedGuest) Exec(ctx context.Context, c clade.Command) (*clade.Exit, error) {
	root := slices.Index(c.Args, "clade") + 1
	if root == 0 || c.Args[root] != "/" {
		return g.Guest.Exec(ctx, c)
	}
	args := slices.Clone(c.Args)
	args[root] = g.root
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(c.Input)
	out, err := cmd.Output()
	return &clade.Exit{Out: out}, err
}

// TestTwinsAreNotWarmed: what all clones would share although each is woken is
// refused when the template is warmed, and nothing is kept.
func TestTwinsAreNotWarmed(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "etc/salt"), 0o755), os.WriteFile(filepath.Join(root, "etc/salt/minion_id"), []byte("twin\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	h, dir, _ := warmHome(t, func(c *host.Config, d *fake.Driver) { c.Driver = marked{d, root} })
	must(t, h, "cool t")
	_, err := h.WarmTemplate(ctx, clade.WarmSpec{Template: clade.Ref{Name: "t", Version: "1"}}, nil)
	if !errors.Is(err, clade.Unproven) || !strings.Contains(err.Error(), "salt-minion-id, in /etc/salt/minion_id") {
		t.Errorf("WarmTemplate = %v, want kind %v, the mark and its file", err, clade.Unproven)
	}
	if got := list(t, dir, "warm"); len(got) != 0 {
		t.Errorf("warm holds %v, want nothing", got)
	}
	if err := os.Remove(filepath.Join(root, "etc/salt/minion_id")); err != nil {
		t.Fatal(err)
	}
	must(t, h, "warm t")
}
