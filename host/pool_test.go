package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor/fake"
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

func TestClaimsAreHeld(t *testing.T) {
	t.Parallel()
	h, _ := pooled(t, clade.PoolSpec{Size: 2})
	a, b := claim(t, h, "anna"), claim(t, h, "ben")
	if a.Machine == b.Machine || !a.Ready || a.Again {
		t.Errorf("two persons have %+v and %+v", a, b)
	}
	if again := claim(t, h, "anna"); again.Machine != a.Machine || !again.Again {
		t.Errorf("anna had %s and gets %+v", a.Machine, again)
	}
	_, err := h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: "carl"})
	if !errors.Is(err, clade.Busy) {
		t.Errorf("a claim without a machine left: %v, want kind %q", err, clade.Busy)
	}
	if err := h.Kill(ctx, a.Machine); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Remove(ctx, a.Machine); !errors.Is(err, clade.InUse) {
		t.Errorf("Remove of a claimed machine = %v, want kind %q", err, clade.InUse)
	}
	if again := claim(t, h, "anna"); again.Machine != a.Machine || again.Ready {
		t.Errorf("with her machine down anna gets %+v", again)
	}
	settled(t, h) // it is started again, as after a reboot
	if again := claim(t, h, "anna"); again.Machine != a.Machine || !again.Ready {
		t.Errorf("with her machine up again anna gets %+v", again)
	}
	if _, err := h.RemovePool(ctx, "p", false, nil); !errors.Is(err, clade.InUse) {
		t.Errorf("RemovePool with claims = %v, want kind %q", err, clade.InUse)
	}
	if list, err := h.Claims(ctx, ""); err != nil || len(list) != 2 {
		t.Errorf("Claims = %v, %v", list, err)
	}
	if _, err := h.Release(ctx, "p", "carl"); !errors.Is(err, clade.NotFound) {
		t.Errorf("Release of no claim = %v", err)
	}
	if _, err := h.RemovePool(ctx, "p", true, nil); err != nil {
		t.Error(err)
	}
}

// Many processes claim at once: nobody gets what another one has, and everybody gets
// the same again.
func TestClaimsAtOnce(t *testing.T) {
	t.Parallel()
	_, dir := pooled(t, clade.PoolSpec{Size: 8})
	var wg sync.WaitGroup
	var mu sync.Mutex
	given := make(map[clade.Name]string)
	for i := range 24 {
		person := fmt.Sprint("person ", i%8)
		wg.Go(func() {
			h, err := host.Open(ctx, config(dir))
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			c, err := h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: person})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if other := given[c.Machine]; other != "" && other != person {
				t.Errorf("%s was given to %s and to %s", c.Machine, other, person)
			}
			given[c.Machine] = person
		})
	}
	wg.Wait()
	if len(given) != 8 {
		t.Errorf("8 persons have %v", given)
	}
}

// guestFile plants a file in the simulated guest of a machine.
func guestFile(t *testing.T, dir string, m *clade.Machine, name string) string {
	t.Helper()
	path := filepath.Join(dir, "machines", m.ID, "guest", name)
	if err := os.WriteFile(path, []byte("anna's"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	for policy, want := range map[clade.Policy]struct{ sameIdentity, sameRun, file bool }{
		clade.Keep:     {true, true, true},
		clade.Reset:    {true, false, false},
		clade.Recreate: {false, false, false},
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			h, dir := pooled(t, clade.PoolSpec{Size: 1, Policy: policy, DataDisk: clade.GiB})
			c := claim(t, h, "anna")
			before := machineOf(t, h, c.Machine)
			guestFile(t, dir, before, "tmp/secret")
			for _, file := range []string{"nvram.fd", "console.log", "console.log.1", "known_hosts"} {
				if err := os.WriteFile(filepath.Join(dir, "machines", before.ID, file), []byte("anna's"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range before.Disks[1:] { // behind the end of the image: no image any more, but hers
				appendTo(t, filepath.Join(dir, "machines", before.ID, fmt.Sprintf("disk%d-0.qcow2", d.Slot)), "anna's")
			}
			must(t, h, "snapshot "+string(c.Machine)+" hers")
			release(t, h, "anna")
			if c, err := h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: "ben"}); policy != clade.Keep && !errors.Is(err, clade.Busy) {
				t.Errorf("before it was made clean ben got %+v, %v", c, err)
			} else if policy == clade.Keep {
				release(t, h, "ben")
			}
			settled(t, h)
			after := machineOf(t, h, claim(t, h, "ben").Machine)
			if same := before.Identity == after.Identity; same != want.sameIdentity {
				t.Errorf("the next one has the same identity: %v, want %v", same, want.sameIdentity)
			}
			if same := before.PID == after.PID; same != want.sameRun {
				t.Errorf("the next one is in the same run: %v, want %v", same, want.sameRun)
			}
			if policy == clade.Keep {
				return
			}
			hers := holding(t, filepath.Join(dir, "machines"), "anna's")
			if len(hers) > 0 {
				t.Errorf("what was hers is in %v", hers)
			}
			if list, err := h.Snapshots(ctx, ""); err != nil || len(list) != 0 {
				t.Errorf("her snapshots: %v, %v", list, err)
			}
		})
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// holding returns the files below dir that have this text in them.
func holding(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestClaimExpires(t *testing.T) {
	t.Parallel()
	h, _ := pooled(t, clade.PoolSpec{Size: 1, TTL: clade.Span(time.Hour)})
	a := claim(t, h, "anna")
	if left := time.Until(a.Expires); left < 59*time.Minute || left > time.Hour {
		t.Errorf("her claim lasts %v", left)
	}
	settled(t, h)
	if c := claim(t, h, "anna"); !c.Again {
		t.Errorf("within its time she gets another one: %+v", c)
	}
	c, err := h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: "anna", TTL: 1})
	if err != nil || c.Machine != a.Machine {
		t.Fatalf("Claim = %+v, %v", c, err)
	}
	r, err := h.Reconcile(ctx, "p", nil)
	if err != nil || !slices.Contains(r.Done, "release the claim of anna: it has expired") {
		t.Errorf("Reconcile = %+v, %v", r, err)
	}
	if p := settled(t, h); p.Claimed != 0 || p.Ready != 1 {
		t.Errorf("the pool is %+v", p)
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
		"no such kind":       {func(s *clade.PoolSpec) { s.Kind = "virtual" }, clade.Unsupported},
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

// mute opens a home whose guests do not answer.
func mute(t *testing.T, dir string) *host.Host {
	t.Helper()
	c := config(dir)
	c.Driver = &fake.Driver{Mute: true}
	h, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestSilentMachineIsReplaced(t *testing.T) {
	t.Parallel()
	h, dir := pooled(t, clade.PoolSpec{Size: 1, Patience: 1})
	before := machineOf(t, h, "p-1")
	must(t, h, "kill p-1")
	must(t, h, "start p-1")
	silent := mute(t, dir)
	r, err := silent.Reconcile(ctx, "p", nil)
	if err != nil || r.Settled || len(r.Done) != 1 || !strings.Contains(r.Waits, "did not answer") {
		t.Fatalf("Reconcile = %+v, %v", r, err)
	}
	p := status(t, h)
	if p.Faults != 1 || p.Retry.IsZero() || !strings.Contains(p.Reason, "p-1 was replaced: it did not answer") {
		t.Errorf("the pool is %+v", p)
	}
	if r, err := silent.Reconcile(ctx, "p", nil); err != nil || len(r.Done) != 0 || !strings.Contains(r.Waits, "the next try at") {
		t.Errorf("at once again: %+v, %v", r, err)
	}
	time.Sleep(time.Until(p.Retry))
	if p = settled(t, h); p.Faults != 0 || p.Reason == "" {
		t.Errorf("when its machines answer the pool is %+v", p)
	}
	if after := machineOf(t, h, "p-1"); after.ID == before.ID || after.Identity == before.Identity {
		t.Errorf("the machine was not replaced: %+v", after)
	}
}

// A machine that nobody asked for long is asked before it is given up.
func TestLateAnswerCounts(t *testing.T) {
	t.Parallel()
	h, _ := pooled(t, clade.PoolSpec{Size: 1, Patience: 1})
	before := machineOf(t, h, "p-1")
	must(t, h, "kill p-1")
	must(t, h, "start p-1")
	time.Sleep(10 * time.Millisecond)
	if p := settled(t, h); p.Faults != 0 || machineOf(t, h, "p-1").ID != before.ID {
		t.Errorf("it was replaced: %+v", p)
	}
}

// What somebody holds is not taken away, however silent it is.
func TestSilentClaimedMachineStays(t *testing.T) {
	t.Parallel()
	h, dir := pooled(t, clade.PoolSpec{Size: 1, Patience: 1})
	a := claim(t, h, "anna")
	silent := mute(t, dir)
	for range 2 {
		if r, err := silent.Reconcile(ctx, "p", nil); err != nil || len(r.Done) != 0 {
			t.Errorf("Reconcile = %+v, %v", r, err)
		}
	}
	if m := status(t, h).Members[0]; m.Machine != a.Machine || m.Reason != "its agent does not answer" {
		t.Errorf("the member is %+v", m)
	}
}

// A machine that cannot be started is replaced.
func TestBrokenMachineIsReplaced(t *testing.T) {
	t.Parallel()
	h, dir := pooled(t, clade.PoolSpec{Size: 1})
	before := machineOf(t, h, "p-1")
	must(t, h, "kill p-1")
	if err := os.Remove(filepath.Join(dir, "machines", before.ID, "disk0-0.qcow2")); err != nil {
		t.Fatal(err)
	}
	if r, err := h.Reconcile(ctx, "p", nil); err != nil || r.Settled {
		t.Errorf("Reconcile = %+v, %v", r, err)
	}
	time.Sleep(time.Until(status(t, h).Retry))
	settled(t, h)
	if after := machineOf(t, h, "p-1"); after.ID == before.ID {
		t.Errorf("the machine was not replaced: %+v", after)
	}
}

func TestSecondControllerStandsBy(t *testing.T) {
	t.Parallel()
	h, dir := pooled(t, clade.PoolSpec{Size: 1})
	first, stopFirst := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- h.Control(first, nil) }()
	for !status(t, h).Controlled {
		time.Sleep(time.Millisecond)
	}
	if _, err := h.Reconcile(ctx, "p", nil); !errors.Is(err, clade.Busy) {
		t.Errorf("Reconcile beside a controller = %v, want kind %q", err, clade.Busy)
	}
	standing := make(chan bool, 100)
	second, stopSecond := context.WithCancel(ctx)
	go func() {
		ended <- open(t, dir).Control(second, func(e clade.Event) {
			if e.Step == "stand by" {
				standing <- e.End
			}
		})
	}()
	if over := <-standing; over {
		t.Error("the second controller does not stand by")
	}
	stopFirst()
	for over := false; !over; over = <-standing {
	}
	must(t, h, "kill p-1")
	for limit := time.Now().Add(20 * time.Second); status(t, h).Ready == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the second controller does nothing")
		}
	}
	stopSecond()
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Error(err)
	}
}
