package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/recipe"
)

// TestTwentyProcessesCloneAtOnce runs twenty commands on one template together.
func TestTwentyProcessesCloneAtOnce(t *testing.T) {
	h, dir := home(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			out, err := exec.Command(os.Args[0], "child", dir, fmt.Sprintf("linked t c%d", i), "0").CombinedOutput()
			if err != nil {
				t.Errorf("clone %d: %v\n%s", i, err, out)
			}
		})
	}
	wg.Wait()
	machines, err := h.Machines(ctx)
	if err != nil || len(machines) != 21 {
		t.Fatalf("Machines = %d, %v; want 21", len(machines), err)
	}
	clean(t, h, dir)
	distinct(t, machines)
}

// distinct checks that no two machines share any part of their identity.
func distinct(t *testing.T, machines []*clade.Machine) {
	t.Helper()
	seen := make(map[string]clade.Name)
	for _, m := range machines {
		id := m.Identity
		for _, v := range []string{id.UUID, id.MAC, id.IP.String(), string(id.Hostname), id.InstanceID, m.Disks[0].Serial} {
			if v == "" || v == "invalid IP" {
				continue
			}
			if other, twin := seen[v]; twin {
				t.Errorf("%s and %s share %s", m.Name, other, v)
			}
			seen[v] = m.Name
		}
	}
}

func TestClonesOnANetworkGetTheirOwnAddresses(t *testing.T) {
	h, _ := home(t)
	names := make([]clade.Name, 300) // crosses the end of a /24
	for i := range names {
		names[i] = clade.Name(fmt.Sprintf("c%d", i))
	}
	machines, err := h.Clone(ctx, clade.CloneSpec{Source: "t", Names: names}, nil)
	if err != nil {
		t.Fatal(err)
	}
	distinct(t, machines)
	if first, last := machines[0].Identity.IP.String(), machines[299].Identity.IP.String(); first != "10.80.0.10" || last != "10.80.1.55" {
		t.Errorf("addresses go from %s to %s, want 10.80.0.10 to 10.80.1.55", first, last)
	}
	_, err = h.Clone(ctx, clade.CloneSpec{Source: "t", Names: []clade.Name{"d"}, Options: clade.Options{IP: "10.80.0.10"}}, nil)
	if !errors.Is(err, clade.Exists) || !strings.Contains(err.Error(), "machine c0") {
		t.Errorf("a taken address: error = %v, want %v naming machine c0", err, clade.Exists)
	}
}

// TestAllOrNone asks for clones of which the last cannot be had.
func TestAllOrNone(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t taken")
	for _, names := range [][]clade.Name{{"a", "b", "taken"}, {"a", "a"}, {"a", "Not-a-Name"}} {
		if _, err := h.Clone(ctx, clade.CloneSpec{Source: "t", Names: names, Options: alone}, nil); err == nil {
			t.Errorf("Clone(%v) gave no error", names)
		}
	}
	if list, _ := h.Machines(ctx); len(list) != 2 {
		t.Errorf("there are %d machines, want m and taken", len(list))
	}
	clean(t, h, dir)
}

func TestRefusals(t *testing.T) {
	h, _ := home(t)
	clone := func(spec clade.CloneSpec) error {
		_, err := h.Clone(ctx, spec, nil)
		return err
	}
	a := []clade.Name{"a"}
	must(t, h, "start m")
	if _, err := h.CreateTemplate(ctx, clade.TemplateSpec{Ref: clade.Ref{Name: "raw"}, Machine: "m", SkipGeneralize: true}, nil); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		err  error
		kind clade.Kind
		text string
	}{
		"unknown source":       {clone(clade.CloneSpec{Source: "nope", Names: a}), clade.NotFound, "no template and no machine"},
		"bad source":           {clone(clade.CloneSpec{Source: "../x", Names: a}), clade.Invalid, "not a valid name"},
		"machine, unproven":    {clone(clade.CloneSpec{Source: "m", Names: a}), clade.Unproven, "not generalized"},
		"template, unproven":   {clone(clade.CloneSpec{Source: "raw:1", Names: a}), clade.Unproven, "not generalized"},
		"unknown kind":         {clone(clade.CloneSpec{Source: "t", Names: a, Kind: "crystal"}), clade.Unsupported, "crystal"},
		"unknown network":      {clone(clade.CloneSpec{Source: "t", Names: a, Options: clade.Options{Network: "lan"}}), clade.NotFound, "network lan"},
		"bad bridge":           {clone(clade.CloneSpec{Source: "t", Names: a, Options: clade.Options{Network: "bridge:a/b"}}), clade.Invalid, "bridge"},
		"address off network":  {clone(clade.CloneSpec{Source: "t", Names: a, Options: clade.Options{IP: "10.1.2.3"}}), clade.Invalid, "10.1.2.3"},
		"gateway's address":    {clone(clade.CloneSpec{Source: "t", Names: a, Options: clade.Options{IP: "10.80.0.1"}}), clade.Invalid, "10.80.0.1"},
		"one address for two":  {clone(clade.CloneSpec{Source: "t", Names: []clade.Name{"a", "b"}, Options: clade.Options{IP: "10.80.0.50"}}), clade.Invalid, "several"},
		"memory out of range":  {clone(clade.CloneSpec{Source: "t", Names: a, Options: clade.Options{Hardware: clade.Hardware{Memory: 1}}}), clade.Invalid, "memory"},
		"remove a running one": {perform(ctx, h, "rm m"), clade.InUse, "running"},
		"version is there": {func() error {
			_, err := h.CreateTemplate(ctx, clade.TemplateSpec{Ref: clade.Ref{Name: "t", Version: "1"}, Machine: "m"}, nil)
			return err
		}(), clade.Exists, "t:1"},
		"network in use": {func() error {
			_, err := h.Clone(ctx, clade.CloneSpec{Source: "t", Names: []clade.Name{"n"}}, nil)
			return errors.Join(err, h.RemoveNetwork(ctx, "default"))
		}(), clade.InUse, "default"},
		"overlapping subnet": {func() error {
			_, err := h.CreateNetwork(ctx, clade.NetworkSpec{Name: "x", Subnet: "10.80.4.0/24"})
			return err
		}(), clade.Exists, "overlaps"},
	} {
		if !errors.Is(test.err, test.kind) || test.err == nil || !strings.Contains(test.err.Error(), test.text) {
			t.Errorf("%s: error = %v, want kind %q and %q in it", name, test.err, test.kind, test.text)
		}
	}
	if _, err := h.Machine(ctx, "a"); !errors.Is(err, clade.NotFound) {
		t.Errorf("a refused clone is there: %v", err)
	}
}

func TestAcceptedTwinsAreMade(t *testing.T) {
	h, dir := home(t)
	must(t, h, "start m") // it writes from here on, so it must be frozen
	if _, err := h.Clone(ctx, clade.CloneSpec{Source: "m", Names: []clade.Name{"twin"}, AcceptTwins: []string{clade.AllMarks}, Options: alone}, nil); err != nil {
		t.Fatal(err)
	}
	m, err := h.Machine(ctx, "m")
	if err != nil || m.State != clade.Running {
		t.Errorf("the source is %+v (%v) after it was cloned, want running", m, err)
	}
	twin, err := h.Machine(ctx, "twin")
	if err != nil || twin.Disks[0].Layer != m.Disks[0].Layer {
		t.Errorf("twin rests on %v, its source on %v; want the same frozen layer (%v)", twin.Disks, m.Disks, err)
	}
	clean(t, h, dir)
}

// TestParentsGoLast removes a machine and a template under clones: what clones
// need stays, and is gone with the last of them.
func TestParentsGoLast(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t a")
	must(t, h, "linked t b")
	must(t, h, "rm m")
	r, err := h.RemoveTemplate(ctx, clade.Ref{Name: "t"})
	if err != nil || len(r.Kept) != 2 {
		t.Fatalf("RemoveTemplate = %+v, %v; want two layers kept", r, err)
	}
	must(t, h, "start a")
	must(t, h, "kill a")
	must(t, h, "rm a")
	if got := list(t, dir, "layers"); len(got) != 2 {
		t.Errorf("layers = %v while b rests on them, want two", got)
	}
	must(t, h, "rm b")
	if got := list(t, dir, "layers"); len(got) != 0 {
		t.Errorf("layers = %v after the last clone, want none", got)
	}
	clean(t, h, dir)
}

func TestTouchedLayerIsNoticedAtStart(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	layer := filepath.Join(dir, "layers", list(t, dir, "layers")[0], "layer.qcow2")
	if err := os.Chmod(layer, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(layer, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("!"), 4000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	err = perform(ctx, h, "start c")
	if !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "machine c") {
		t.Errorf("start on a changed layer: error = %v, want %v naming what rests on it", err, clade.Corrupt)
	}
	if _, err := h.Verify(ctx, clade.VerifySpec{Names: []string{"c"}}, nil); !errors.Is(err, clade.Corrupt) {
		t.Errorf("Verify of a changed layer: error = %v, want %v", err, clade.Corrupt)
	}
}

// TestMovedHome: after a copy the inodes and times are others, but the content is right.
func TestMovedHomeIsAcceptedByVerify(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	h.Close()
	moved := filepath.Join(t.TempDir(), "moved")
	if out, err := exec.Command("cp", "-a", dir, moved).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h = open(t, moved)
	if err := perform(ctx, h, "start c"); !errors.Is(err, clade.Corrupt) {
		t.Errorf("start in a moved home: error = %v, want %v", err, clade.Corrupt)
	}
	if _, err := h.Verify(ctx, clade.VerifySpec{}, nil); err != nil {
		t.Fatal(err)
	}
	must(t, h, "start c")
}

func TestReadOnlyHome(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root writes everywhere; the ordinary user's run has this test")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Open(ctx, config(dir)); !errors.Is(err, clade.Denied) {
		t.Errorf("Open of a read-only home: error = %v, want %v", err, clade.Denied)
	}
}

// TestFreshHeadsAreNotFrozen: cloning an untouched machine again adds no layer.
func TestFreshHeadsAreNotFrozen(t *testing.T) {
	h, dir := home(t)
	before := len(list(t, dir, "layers"))
	must(t, h, "template m")
	if got := len(list(t, dir, "layers")); got != before+1 {
		t.Errorf("%d layers after a second template of an untouched machine, want %d: only the generalized one is new", got, before+1)
	}
	m, _ := h.Machine(ctx, "m")
	if empty, err := qcow2.Empty(filepath.Join(dir, "machines", m.ID, "disk0-1.qcow2")); err != nil || !empty {
		t.Errorf("the head is not as it was made: %v, %v", empty, err)
	}
}

func TestReasonOfAKilledMachine(t *testing.T) {
	h, _ := home(t)
	must(t, h, "start m")
	m, _ := h.Machine(ctx, "m")
	p, err := os.FindProcess(m.PID)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := contextWithSeconds(10)
	defer cancel()
	if err := h.Wait(stop, "m", clade.WhenStopped, nil); err != nil {
		t.Fatal(err)
	}
	if m, _ = h.Machine(ctx, "m"); m.State != clade.Stopped || m.Reason == "" {
		t.Errorf("a killed machine shows as %s (%q), want stopped with a reason", m.State, m.Reason)
	}
}

// TestStartContinues: a machine that stands still goes on, and is not begun anew.
func TestStartContinues(t *testing.T) {
	h, dir := home(t)
	must(t, h, "start m")
	m := machine(t, h, "m")
	place := hypervisor.Place{Dir: filepath.Join(dir, "machines", m.ID), Run: filepath.Join(dir, "run", m.ID)}
	if err := fake.New().Stand(place, true); err != nil {
		t.Fatal(err)
	}
	if is := machine(t, h, "m"); is.State != clade.Paused {
		t.Fatalf("it is %s, want it to stand still", is.State)
	}
	must(t, h, "start m")
	if is := machine(t, h, "m"); is.State != clade.Running || is.PID != m.PID {
		t.Errorf("it is %s with pid %d, want it running on with %d", is.State, is.PID, m.PID)
	}
}

// TestFullDiskInTheMiddle: whatever step meets the full disk, nothing remains.
func TestFullDiskInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	c := config(dir)
	c.BuildDisk = func(_ context.Context, _ *recipe.Recipe, dst string, _ clade.Progress) error {
		return errors.Join(os.WriteFile(dst, make([]byte, 1<<20), 0o600), syscall.ENOSPC)
	}
	h, err := host.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_, err = h.Build(ctx, clade.BuildSpec{Recipe: "debian-12"}, nil)
	if !errors.Is(err, clade.NoSpace) || clade.HintOf(err) == "" {
		t.Errorf("Build on a full disk: error = %v, hint %q; want %v with a hint", err, clade.HintOf(err), clade.NoSpace)
	}
	clean(t, h, dir)
	if left, _ := filepath.Glob(filepath.Join(dir, "cache", "masters", "*.qcow2*")); len(left) > 1 { // the lock stays
		t.Errorf("the cache holds %v", left)
	}
}

// TestPlanChangesNothing: what a dry run says is what then happens, and it does nothing.
func TestPlanChangesNothing(t *testing.T) {
	h, dir := home(t)
	before := fmt.Sprint(list(t, dir, "layers"), list(t, dir, "machines"), list(t, dir, "tmp"))
	for _, test := range []struct {
		spec  clade.CloneSpec
		rests int
		steps string
	}{
		{clade.CloneSpec{Source: "t", Names: []clade.Name{"a", "b"}}, 1, "write 2 empty heads"},
		{clade.CloneSpec{Source: "m", Names: []clade.Name{"a"}, AcceptTwins: []string{clade.AllMarks}}, 1, "freeze the heads of machine m"},
		{clade.CloneSpec{Source: "m", Names: []clade.Name{"a"}, AcceptTwins: []string{clade.AllMarks}, Kind: clade.Full}, 0, "copy "},
	} {
		plan, err := h.PlanClone(ctx, test.spec)
		if err != nil {
			t.Errorf("PlanClone(%+v): %v", test.spec, err)
			continue
		}
		steps := strings.Join(plan.Steps, "; ")
		if len(plan.RestsOn) != test.rests || !strings.Contains(steps, test.steps) || len(plan.Machines) != len(test.spec.Names) || plan.Bytes == 0 {
			t.Errorf("PlanClone(%+v) = %+v, want %d layers below and %q", test.spec, plan, test.rests, test.steps)
		}
		if test.spec.Kind == clade.Full && strings.Contains(steps, "freeze") {
			t.Errorf("a full clone of a stopped machine freezes nothing: %s", steps)
		}
	}
	if after := fmt.Sprint(list(t, dir, "layers"), list(t, dir, "machines"), list(t, dir, "tmp")); after != before {
		t.Errorf("a dry run changed the home: %s, was %s", after, before)
	}
}
