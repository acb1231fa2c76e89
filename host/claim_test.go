package host_test

import (
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
)

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

// Where it cannot be read whether a machine runs, that is said, and not that none is ready.
func TestClaimOfUnreadable(t *testing.T) {
	t.Parallel()
	h, _ := pooled(t, clade.PoolSpec{Size: 1})
	lock := filepath.Join(h.Dir, "machines", machineOf(t, h, "p-1").ID, "machine.lock")
	if err := errors.Join(os.Rename(lock, lock+".aside"), os.Symlink(lock, lock)); err != nil {
		t.Fatal(err)
	}
	_, err := h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: "anna"})
	if errors.Is(err, clade.Busy) || !strings.Contains(fmt.Sprint(err), lock) {
		t.Errorf("Claim = %v, want an error of %s", err, lock)
	}
	if err := os.Rename(lock+".aside", lock); err != nil {
		t.Fatal(err)
	}
	if c := claim(t, h, "anna"); !c.Ready {
		t.Errorf("anna gets %+v", c)
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

// A machine that was promoted while somebody held it cannot be reset: it is replaced.
func TestPromotedMachineIsReplaced(t *testing.T) {
	t.Parallel()
	h, _ := pooled(t, clade.PoolSpec{Size: 1, Policy: clade.Reset})
	before := machineOf(t, h, claim(t, h, "anna").Machine)
	must(t, h, "kill p-1")
	must(t, h, "promote p-1")
	release(t, h, "anna")
	p := settled(t, h)
	if after := machineOf(t, h, "p-1"); p.Faults != 0 || after.ID == before.ID || after.Clone != clade.Linked {
		t.Errorf("after %+v comes %+v (%+v)", before, after, p)
	}
}

// BenchmarkClaim claims and releases in a pool of thirty machines, without the
// start of the program.
func BenchmarkClaim(b *testing.B) {
	dir := b.TempDir()
	h, err := host.Open(ctx, config(dir))
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	for _, act := range []string{"build m", "template m", "pool p keep"} {
		if err := perform(ctx, h, act); err != nil {
			b.Fatal(err)
		}
	}
	p, err := h.Pool(ctx, "p")
	if err == nil {
		p.PoolSpec.Size = 30
		_, err = h.ChangePool(ctx, p.PoolSpec)
	}
	if err = errors.Join(err, perform(ctx, h, "settle p")); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := errors.Join(perform(ctx, h, "claim p anna"), perform(ctx, h, "release p anna")); err != nil {
			b.Fatal(err)
		}
	}
	if err := perform(ctx, h, "unpool p"); err != nil {
		b.Error(err)
	}
}
