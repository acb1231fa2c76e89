package host_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
)

// pooled opens a home with a pool of size machines of t:1, all ready.
func pooled(t *testing.T, spec clade.PoolSpec) (*host.Host, string) {
	t.Helper()
	h, dir := home(t)
	spec.Name, spec.Template, spec.Network = "p", clade.Ref{Name: "t", Version: "1"}, "none"
	if _, err := h.CreatePool(ctx, spec); err != nil {
		t.Fatal(err)
	}
	settled(t, h)
	return h, dir
}

// settled reconciles pool p until it is what is wanted.
func settled(t *testing.T, h *host.Host) *clade.Pool {
	t.Helper()
	var r *clade.Reconciliation
	for range 30 {
		var err error
		if r, err = h.Reconcile(ctx, "p", nil); err != nil {
			t.Fatal(err)
		}
		if r.Settled {
			return status(t, h)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the pool is not settled: %+v\n%+v", r, status(t, h))
	return nil
}

func status(t *testing.T, h *host.Host) *clade.Pool {
	t.Helper()
	p, err := h.Pool(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func claim(t *testing.T, h *host.Host, person string) *clade.Claim {
	t.Helper()
	c, err := h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: person})
	if err != nil {
		t.Fatalf("claim for %s: %v", person, err)
	}
	return c
}

func release(t *testing.T, h *host.Host, person string) {
	t.Helper()
	if _, err := h.Release(ctx, "p", person); err != nil {
		t.Fatal(err)
	}
}

func machineOf(t *testing.T, h *host.Host, name clade.Name) *clade.Machine {
	t.Helper()
	m, err := h.Machine(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPoolIsMade(t *testing.T) {
	t.Parallel()
	h, _ := pooled(t, clade.PoolSpec{Size: 3, Names: "lab-{n:02}"})
	p := status(t, h)
	if p.Ready != 3 || p.Want != 3 || p.Claimed != 0 || p.Members[2].Machine != "lab-03" || p.Members[0].Phase != clade.Ready || p.Controlled {
		t.Errorf("the pool is %+v", p)
	}
	if err := h.Kill(ctx, "lab-02"); err != nil {
		t.Fatal(err)
	}
	if p := status(t, h); p.Ready != 2 || p.Members[1].Phase != clade.Starting {
		t.Errorf("with one killed the pool is %+v", p)
	}
	spec := p.PoolSpec
	spec.Size = 1
	if _, err := h.ChangePool(ctx, spec); err != nil {
		t.Fatal(err)
	}
	if p := settled(t, h); len(p.Members) != 1 || p.Members[0].Machine != "lab-01" {
		t.Errorf("scaled to one it has %+v", p.Members)
	}
	if r, err := h.RemovePool(ctx, "p", false, nil); err != nil || r.Removed != "pool p" {
		t.Errorf("RemovePool = %+v, %v", r, err)
	}
	if _, err := h.Pool(ctx, "p"); !errors.Is(err, clade.NotFound) {
		t.Errorf("a removed pool: %v", err)
	}
	if _, err := h.Machine(ctx, "lab-01"); !errors.Is(err, clade.NotFound) {
		t.Errorf("its machine: %v", err)
	}
}

func TestSpares(t *testing.T) {
	t.Parallel()
	h, _ := pooled(t, clade.PoolSpec{Size: 2, Spares: 2, MaxCPUs: 4})
	claim(t, h, "anna")
	if p := settled(t, h); len(p.Members) != 3 || p.Ready != 2 {
		t.Errorf("with one claimed the pool is %+v", p)
	}
	claim(t, h, "ben")
	claim(t, h, "carl")
	p := settled(t, h)
	if len(p.Members) != 4 || p.Ready != 1 || !strings.Contains(p.Reason, "ceilings allow 4") {
		t.Errorf("with three claimed the pool is %+v", p)
	}
}

func TestPoolsRefused(t *testing.T) {
	t.Parallel()
	h, _ := home(t)
	good := clade.PoolSpec{Name: "p", Template: clade.Ref{Name: "t"}, Size: 2, Network: "none"}
	for name, test := range map[string]struct {
		change func(*clade.PoolSpec)
		kind   clade.Kind
	}{
		"no such template":   {func(s *clade.PoolSpec) { s.Template.Name = "other" }, clade.NotFound},
		"no such network":    {func(s *clade.PoolSpec) { s.Network = "other" }, clade.NotFound},
		"no such kind":       {func(s *clade.PoolSpec) { s.Kind = "virtual" }, clade.Invalid},
		"ceiling of CPUs":    {func(s *clade.PoolSpec) { s.MaxCPUs, s.CPUs = 3, 2 }, clade.Invalid},
		"ceiling of memory":  {func(s *clade.PoolSpec) { s.MaxMemory = clade.GiB }, clade.Invalid},
		"ceiling of disks":   {func(s *clade.PoolSpec) { s.MaxDisk = clade.GiB }, clade.Invalid},
		"a size at midnight": {func(s *clade.PoolSpec) { s.Schedule, s.MaxCPUs = "00:00 size=9", 8 }, clade.Invalid},
		"bad name":           {func(s *clade.PoolSpec) { s.Name = "P" }, clade.Invalid},
	} {
		spec := good
		test.change(&spec)
		if p, err := h.CreatePool(ctx, spec); clade.KindOf(err) != test.kind {
			t.Errorf("%s: CreatePool = %+v, %v; want kind %q", name, p, err, test.kind)
		}
	}
	if _, err := h.CreatePool(ctx, good); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CreatePool(ctx, good); !errors.Is(err, clade.Exists) {
		t.Errorf("the same again: %v, want kind %q", err, clade.Exists)
	}
	good.Memory = 2 * clade.GiB
	if _, err := h.ChangePool(ctx, good); !errors.Is(err, clade.Invalid) {
		t.Errorf("ChangePool of what machines have = %v, want kind %q", err, clade.Invalid)
	}
	for _, person := range []string{"", "a\nb", " a", "\x1b[31m"} {
		if _, err := h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: person}); !errors.Is(err, clade.Invalid) {
			t.Errorf("Claim for %q = %v", person, err)
		}
	}
	if _, err := h.Claim(ctx, clade.ClaimSpec{Pool: "other", Person: "anna"}); !errors.Is(err, clade.NotFound) {
		t.Errorf("Claim on no pool = %v", err)
	}
}

// A template stays as long as a pool makes its machines of it; one that the pool has
// left may go.
func TestTemplateOfPoolStays(t *testing.T) {
	t.Parallel()
	h, dir := pooled(t, clade.PoolSpec{Size: 1, Policy: clade.Reset})
	must(t, h, "template m") // t:2
	first := clade.Ref{Name: "t", Version: "1"}
	_, err := h.RemoveTemplate(ctx, first)
	if !errors.Is(err, clade.InUse) || !strings.Contains(err.Error(), "pool p") || !strings.Contains(clade.HintOf(err), "clade pool update p --to t:VERSION") {
		t.Errorf("RemoveTemplate = %v, hint %q; want kind %q, and the pool named", err, clade.HintOf(err), clade.InUse)
	}
	if _, err := h.PlanRemoval(ctx, clade.Going{Templates: []clade.Ref{first}}); !errors.Is(err, clade.InUse) {
		t.Errorf("PlanRemoval = %v, want kind %q", err, clade.InUse)
	}
	if _, err := h.UpdatePool(ctx, clade.PoolUpdate{Pool: "p", To: clade.Ref{Name: "t", Version: "2"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.RemoveTemplate(ctx, first); err != nil {
		t.Errorf("RemoveTemplate of what the pool has left = %v", err)
	}
	if p := settled(t, h); p.Ready != 1 || p.Outdated != 0 {
		t.Errorf("the pool is %+v", p)
	}
	if _, err := h.UpdatePool(ctx, clade.PoolUpdate{Pool: "p", Undo: true}); !errors.Is(err, clade.NotFound) || !strings.Contains(err.Error(), "t:1") {
		t.Errorf("undoing the update to it = %v", err)
	}
	clean(t, h, dir)
}

func TestPoolIsUpdated(t *testing.T) {
	t.Parallel()
	for _, policy := range []clade.Policy{clade.Keep, clade.Reset, clade.Recreate} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			h, _ := pooled(t, clade.PoolSpec{Size: 3, Policy: policy, DataDisk: clade.GiB})
			must(t, h, "template m") // t:2
			a := claim(t, h, "anna")
			if p, err := h.UpdatePool(ctx, clade.PoolUpdate{Pool: "p", To: clade.Ref{Name: "t", Version: "2"}}); err != nil || p.Outdated != 3 || p.Earlier != "t:1" {
				t.Fatalf("UpdatePool = %+v, %v", p, err)
			}
			p := settled(t, h)
			if p.Outdated != 1 || p.Ready != 2 || machineOf(t, h, a.Machine).Source != "template t:1" {
				t.Errorf("with one claimed the pool is %+v", p)
			}
			release(t, h, "anna")
			if p := settled(t, h); p.Outdated != 0 || p.Ready != 3 {
				t.Errorf("with it released the pool is %+v", p)
			}
			if _, err := h.UpdatePool(ctx, clade.PoolUpdate{Pool: "p", Undo: true}); err != nil {
				t.Fatal(err)
			}
			if p := settled(t, h); p.Outdated != 0 || p.Template.Version != "1" {
				t.Errorf("undone it is %+v", p)
			}
			if list, err := h.Snapshots(ctx, ""); err != nil || len(list) != 0 {
				t.Errorf("what was before is kept: %v, %v", list, err)
			}
		})
	}
}

// At the deadline claimed machines are moved too, and undoing it gives their persons
// back what they had.
func TestUpdateHasADeadline(t *testing.T) {
	t.Parallel()
	h, dir := pooled(t, clade.PoolSpec{Size: 1, Policy: clade.Reset, DataDisk: clade.GiB})
	must(t, h, "template m")
	a := claim(t, h, "anna")
	appendTo(t, filepath.Join(dir, "machines", machineOf(t, h, a.Machine).ID, "disk1-0.qcow2"), "anna's")
	if _, err := h.UpdatePool(ctx, clade.PoolUpdate{Pool: "p", To: clade.Ref{Name: "t", Version: "2"}, Deadline: 1}); err != nil {
		t.Fatal(err)
	}
	settled(t, h)
	if m := machineOf(t, h, a.Machine); m.Source != "template t:2" || m.State != clade.Running {
		t.Errorf("her machine is %+v", m)
	}
	if c := claim(t, h, "anna"); c.Machine != a.Machine || !c.Again {
		t.Errorf("she gets %+v", c)
	}
	if list, _ := h.Snapshots(ctx, a.Machine); len(list) != 1 {
		t.Errorf("what she had is not kept: %v", list)
	}
	if hers := holding(t, filepath.Join(dir, "machines"), "anna's"); len(hers) != 1 {
		t.Errorf("her data disk is not kept: %v", hers)
	}
	if _, err := h.UpdatePool(ctx, clade.PoolUpdate{Pool: "p", Undo: true, Deadline: 1}); err != nil {
		t.Fatal(err)
	}
	settled(t, h)
	if m := machineOf(t, h, a.Machine); m.Source != "template t:1" {
		t.Errorf("undone her machine is %+v", m)
	}
	if list, _ := h.Snapshots(ctx, a.Machine); len(list) != 0 {
		t.Errorf("the snapshot is still there: %v", list)
	}
}
