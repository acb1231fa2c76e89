package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor/fake"
	"github.com/clade-vm/clade/store"
)

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

// A machine that runs although it is asleep was being woken by a command that died:
// it may be its siblings' twin, so it is ended, and nobody gets that run of it.
func TestHalfWokenMachineIsNotHandedOut(t *testing.T) {
	t.Parallel()
	h, dir := pooled(t, clade.PoolSpec{Size: 1})
	must(t, h, "kill p-1")
	must(t, h, "start p-1")
	before := machineOf(t, h, "p-1")
	db, err := store.Open(ctx, filepath.Join(dir, "clade.db"))
	if err == nil {
		err = errors.Join(db.Write(ctx, func(tx *store.Tx) error { return tx.SetAsleep(before.ID, true) }), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Reconcile(ctx, "p", nil); err != nil {
		t.Fatal(err)
	}
	if c, err := h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: "anna"}); !errors.Is(err, clade.Busy) {
		t.Errorf("anna got %+v, %v", c, err)
	}
	if m, err := h.Machine(ctx, "p-1"); err == nil && m.PID == before.PID {
		t.Errorf("it runs on: %+v", m)
	}
}
