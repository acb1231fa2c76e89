package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
)

// instantPool opens a home with a pool of instant clones of t:1, all ready.
func instantPool(t *testing.T, spec clade.PoolSpec) (*host.Host, string) {
	t.Helper()
	h, dir, _ := warmHome(t, nil)
	spec.Name, spec.Template, spec.Network, spec.Kind = "p", clade.Ref{Name: "t", Version: "1"}, "none", clade.Instant
	if _, err := h.CreatePool(ctx, spec); err != nil {
		t.Fatal(err)
	}
	settled(t, h)
	return h, dir
}

// A pool of instant clones wants a warm template, and says how to make it warm. Its
// ceilings count what was kept, not what the template's machines have.
func TestInstantPoolsRefused(t *testing.T) {
	t.Parallel()
	h, _ := home(t)
	spec := clade.PoolSpec{Name: "p", Template: clade.Ref{Name: "t"}, Size: 4, Network: "none", Kind: clade.Instant, CPUs: 1, Memory: 64 * clade.MiB}
	_, err := h.CreatePool(ctx, spec)
	if !errors.Is(err, clade.Unsupported) || !strings.Contains(clade.HintOf(err), "clade template warm t:1 --cpus 1 --memory 64M") {
		t.Errorf("CreatePool of a template that is not warm = %v, hint %q", err, clade.HintOf(err))
	}
	must(t, h, "warm t") // with 64 MiB; the template has more
	spec.Memory, spec.MaxMemory = 0, 255*clade.MiB
	if _, err := h.CreatePool(ctx, spec); !errors.Is(err, clade.Invalid) || !strings.Contains(err.Error(), "max-memory allows: 3") {
		t.Errorf("CreatePool above its ceiling = %v", err)
	}
	spec.MaxMemory = 256 * clade.MiB
	if _, err := h.CreatePool(ctx, spec); err != nil {
		t.Errorf("CreatePool within its ceiling = %v", err)
	}
	must(t, h, "template m") // t:2 is not warm
	to := clade.PoolUpdate{Pool: "p", To: clade.Ref{Name: "t", Version: "2"}}
	if _, err := h.UpdatePool(ctx, to); !errors.Is(err, clade.Unsupported) || !strings.Contains(clade.HintOf(err), "warm t:2") {
		t.Errorf("UpdatePool = %v, hint %q", err, clade.HintOf(err))
	}
}

// Whoever gets an instant clone next gets somebody new with nothing of the last one.
func TestInstantPolicies(t *testing.T) {
	t.Parallel()
	for policy, want := range map[clade.Policy]struct{ sameMachine, sameRun bool }{
		clade.Keep:     {true, true},
		clade.Reset:    {true, false},
		clade.Recreate: {false, false},
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			h, dir := instantPool(t, clade.PoolSpec{Size: 1, Policy: policy})
			before := machineOf(t, h, claim(t, h, "anna").Machine)
			was, err := h.Read(ctx, before.Name)
			if err != nil {
				t.Fatal(err)
			}
			hers := guestFile(t, dir, before, "tmp/secret")
			release(t, h, "anna")
			p := settled(t, h)
			after := machineOf(t, h, claim(t, h, "ben").Machine)
			if same := before.ID == after.ID; same != want.sameMachine {
				t.Errorf("the next one has the same machine: %v, want %v", same, want.sameMachine)
			}
			if same := before.PID == after.PID; same != want.sameRun {
				t.Errorf("the next one is in the same run: %v, want %v", same, want.sameRun)
			}
			if _, err := os.Stat(hers); (err == nil) != want.sameRun {
				t.Errorf("her file: %v", err)
			}
			is, err := h.Read(ctx, after.Name)
			if err != nil || (is.MachineID == was.MachineID) != want.sameRun || slices.Equal(is.HostKeys, was.HostKeys) != want.sameRun {
				t.Errorf("the next one is %+v (%v), the last one was %+v", is, err, was)
			}
			if after.Asleep || after.Clone != clade.Instant || p.Faults != 0 {
				t.Errorf("the machine is %+v in %+v", after, p)
			}
		})
	}
}

// After a restart of the computer free machines are woken anew, which is sooner than a
// boot; what somebody holds, or what all share, boots from its own disk.
func TestInstantPoolAfterReboot(t *testing.T) {
	t.Parallel()
	for policy, woken := range map[clade.Policy]bool{clade.Keep: false, clade.Reset: true, clade.Recreate: true} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			h, dir := instantPool(t, clade.PoolSpec{Size: 2, Policy: policy})
			hers := machineOf(t, h, claim(t, h, "anna").Machine)
			file := guestFile(t, dir, hers, "tmp/secret")
			before := map[clade.Name]*clade.Machine{}
			for _, m := range status(t, h).Members {
				before[m.Machine] = machineOf(t, h, m.Machine)
				must(t, h, "kill "+string(m.Machine))
			}
			p := settled(t, h)
			if p.Ready != 1 || p.Claimed != 1 || p.Faults != 0 {
				t.Errorf("the pool is %+v", p)
			}
			for name, was := range before {
				is := machineOf(t, h, name)
				anew := woken && name != hers.Name
				if is.ID != was.ID || is.Asleep || is.State != clade.Running || (is.MachineID != was.MachineID) != anew {
					t.Errorf("%s was %+v and is %+v, want it woken anew: %v", name, was, is, anew)
				}
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("what is on her machine: %v", err)
			}
		})
	}
}

// Updates make instant clones anew; one that is moved while somebody holds it boots as
// a linked clone, and is replaced when it is released.
func TestInstantPoolIsUpdated(t *testing.T) {
	t.Parallel()
	h, _ := instantPool(t, clade.PoolSpec{Size: 3, Policy: clade.Reset, MaxUnavailable: 2})
	must(t, h, "template m")
	if _, err := h.WarmTemplate(ctx, clade.WarmSpec{Template: clade.Ref{Name: "t", Version: "2"}, Hardware: clade.Hardware{Memory: 64 * clade.MiB}}, nil); err != nil {
		t.Fatal(err)
	}
	hers := claim(t, h, "anna").Machine
	to := clade.PoolUpdate{Pool: "p", To: clade.Ref{Name: "t", Version: "2"}, Deadline: 1}
	if _, err := h.UpdatePool(ctx, to); err != nil {
		t.Fatal(err)
	}
	if p := settled(t, h); p.Outdated != 0 || p.Ready != 2 || p.Claimed != 1 {
		t.Errorf("the pool is %+v", p)
	}
	if m := machineOf(t, h, hers); m.Clone != clade.Linked || m.State != clade.Running {
		t.Errorf("what she holds is %+v", m)
	}
	release(t, h, "anna")
	p := settled(t, h)
	for _, one := range p.Members {
		if m := machineOf(t, h, one.Machine); m.Clone != clade.Instant || m.Source != "template t:2" || m.Asleep {
			t.Errorf("%s is %+v", m.Name, m)
		}
	}
	if list, err := h.Snapshots(ctx, ""); err != nil || len(list) != 0 {
		t.Errorf("what was before is kept: %v, %v", list, err)
	}
}

// An instant pool grows a few at a time, has its spares, and shrinks to nothing.
func TestInstantPoolIsScaled(t *testing.T) {
	t.Parallel()
	h, dir := instantPool(t, clade.PoolSpec{Size: 1, Spares: 1, Policy: clade.Reset})
	claim(t, h, "anna")
	if p := settled(t, h); p.Ready != 1 || p.Claimed != 1 || len(p.Members) != 2 {
		t.Errorf("with its spare it is %+v", p)
	}
	release(t, h, "anna")
	scale := func(size, spares int) {
		spec := status(t, h).PoolSpec
		spec.Size, spec.Spares = size, spares
		if _, err := h.ChangePool(ctx, spec); err != nil {
			t.Fatal(err)
		}
	}
	scale(9, 0)
	if r, err := h.Reconcile(ctx, "p", nil); err != nil || r.Settled {
		t.Errorf("one round makes all of nine: %+v, %v", r, err)
	}
	if p := settled(t, h); p.Ready != 9 {
		t.Errorf("scaled to nine it is %+v", p)
	}
	scale(0, 0)
	if p := settled(t, h); len(p.Members) != 0 {
		t.Errorf("scaled to nothing it is %+v", p)
	}
	clean(t, h, dir)
	if left, _ := filepath.Glob(filepath.Join(dir, "machines", "*")); len(left) != 1 {
		t.Errorf("machines holds %v, want the master", left)
	}
}

// A template that was cooled makes no more machines, and the pool says what mends it;
// those there are stay.
func TestInstantPoolOfCooledTemplate(t *testing.T) {
	t.Parallel()
	h, _ := instantPool(t, clade.PoolSpec{Size: 1, Policy: clade.Reset})
	must(t, h, "cool t")
	claim(t, h, "anna")
	release(t, h, "anna")
	if p := settled(t, h); p.Ready != 1 {
		t.Errorf("what was released is not woken from what it is made of: %+v", p)
	}
	claim(t, h, "anna")
	spec := status(t, h).PoolSpec
	spec.Size = 2
	if _, err := h.ChangePool(ctx, spec); !errors.Is(err, clade.Unsupported) {
		t.Errorf("scaled up: %v, want kind %q", err, clade.Unsupported)
	}
	must(t, h, "warm t")
	if _, err := h.ChangePool(ctx, spec); err != nil {
		t.Fatal(err)
	}
	must(t, h, "cool t")
	if _, err := h.Reconcile(ctx, "p", nil); err != nil {
		t.Fatal(err)
	}
	p := status(t, h)
	if p.Faults != 1 || !strings.Contains(p.Reason, "clade template warm t:1") || p.Claimed != 1 {
		t.Errorf("the pool is %+v", p)
	}
	must(t, h, "warm t")
	time.Sleep(time.Until(p.Retry))
	if p := settled(t, h); p.Ready != 1 || p.Claimed != 1 {
		t.Errorf("warm again it is %+v", p)
	}
	must(t, h, "cool t")
	spec.Size, spec.TTL = 1, clade.Span(time.Hour)
	if _, err := h.ChangePool(ctx, spec); err != nil {
		t.Errorf("scaled down: %v", err)
	}
}

// The command in the hint can be pasted into a shell.
func TestInstantCloneOfOtherHardwareHint(t *testing.T) {
	t.Parallel()
	h, _ := instantPool(t, clade.PoolSpec{Size: 1, Policy: clade.Reset})
	spec := instant("other")
	spec.Hardware.Memory = 1536 * clade.MiB
	_, err := h.Clone(ctx, spec, nil)
	if hint := clade.HintOf(err); !errors.Is(err, clade.Unsupported) || !strings.HasSuffix(hint, " --memory 1536M") {
		t.Errorf("Clone = %v, hint %q; want kind %q, and --memory in one word", err, hint, clade.Unsupported)
	}
}
