package host_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
)

// controlled has a controller at work in the home until the test ends or the returned
// func is called.
func controlled(t *testing.T, h *host.Host) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Control(ctx, nil) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// until waits until it is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("it did not come to pass that %s", what)
		}
	}
}

// wrote has the heads of a machine be written last so long ago.
func wrote(t *testing.T, h *host.Host, name clade.Name, ago time.Duration) {
	t.Helper()
	heads, _ := filepath.Glob(filepath.Join(h.Dir, "machines", machine(t, h, name).ID, "disk*.qcow2"))
	for _, head := range heads {
		if err := os.Chtimes(head, time.Time{}, time.Now().Add(-ago)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServeKeepsChainsShort: not of machines that write, and only what nobody else needs.
func TestServeKeepsChainsShort(t *testing.T) {
	h, dir := home(t)
	kept := deep(t, h) // c lies on four layers of its own, of which a template has the lowest
	must(t, h, "linked t b")
	for _, name := range []string{"a", "b", "d", "e", "f", "g"} {
		must(t, h, "start b")
		must(t, h, "snapshot b "+name)
	}
	for _, name := range []string{"a", "b", "d", "e", "f", "g"} {
		must(t, h, "unsnapshot b "+name)
	}
	h.Budget = 3
	if m := machine(t, h, "c"); m.Budget != 3 || m.Depth() <= 3 {
		t.Fatalf("c is %d layers deep with a budget of %d, want more than 3", m.Depth(), m.Budget)
	}
	before := machine(t, h, "b")
	wrote(t, h, "b", 0)
	stop := controlled(t, h)
	until(t, "c rests on what others need too", func() bool { return machine(t, h, "c").Disks[0].Layer == kept })
	stop()
	if b := machine(t, h, "b"); b.Disks[0] != before.Disks[0] || b.State != clade.Running {
		t.Errorf("the machine that writes was %+v and is %+v", before.Disks[0], b.Disks[0])
	}
	holds(t, h, "c")
	wrote(t, h, "b", time.Minute)
	stop = controlled(t, h)
	until(t, "b is within the budget", func() bool { return machine(t, h, "b").Budget == 0 })
	stop()
	if b := machine(t, h, "b"); b.State != clade.Running {
		t.Errorf("b is %s, want it to run on", b.State)
	}
	must(t, h, "build next") // it may have been stopped before it cleaned up
	clean(t, h, dir)
}

// TestServeYields: a command that wants the machine that is being compacted has it, as
// it was. A qemu-img that never ends stands in for one that takes its time.
func TestServeYields(t *testing.T) {
	h, dir := home(t)
	deep(t, h)
	before := machine(t, h, "c")
	began := make(chan bool, 1)
	h.AfterStep = func(step string) {
		if step == "heads: built" {
			select {
			case began <- true:
			default:
			}
		}
	}
	h.Budget = 3
	endless := t.TempDir()
	if err := os.WriteFile(filepath.Join(endless, "qemu-img"), []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", endless+":"+os.Getenv("PATH"))
	stop := controlled(t, h)
	<-began
	must(t, h, "start c")
	if now := machine(t, h, "c"); now.Disks[0] != before.Disks[0] {
		t.Errorf("the machine was %+v and is %+v", before.Disks[0], now.Disks[0])
	}
	must(t, h, "kill c")
	stop()
	clean(t, h, dir)
}

// An endless driver copies until its caller gives up, as one at a slow pace may seem to.
type endless struct {
	bareStream
	pace chan clade.Bytes
}

func (d endless) Stream(ctx context.Context, _ hypervisor.Place, _ []hypervisor.Rest, pace clade.Bytes, _ func(done, total int64)) error {
	d.pace <- pace
	<-ctx.Done()
	return context.Cause(ctx)
}

// TestServeYieldsRunning: a command that wants a running machine that is being compacted
// has it at once, as it was; and the copying has a pace.
func TestServeYieldsRunning(t *testing.T) {
	h, dir := home(t)
	deep(t, h)
	must(t, h, "start c")
	wrote(t, h, "c", time.Minute)
	before := machine(t, h, "c")
	cfg := config(dir)
	slow := endless{bareStream{fake.New()}, make(chan clade.Bytes, 10)}
	cfg.Driver, cfg.Budget = slow, 3
	server, err := host.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	stop := controlled(t, server)
	if pace := <-slow.pace; pace <= 0 {
		t.Errorf("it is copied at a pace of %d bytes a second, want a limit", pace)
	}
	must(t, h, "snapshot c five")
	now := machine(t, h, "c")
	if now.State != clade.Running || now.Depth() <= before.Depth() {
		t.Errorf("the machine is %s, on %d layers, want it running on more than %d", now.State, now.Depth(), before.Depth())
	}
	must(t, h, "kill c")
	stop()
	must(t, h, "build next") // whether something was copied, the next command sees
	clean(t, h, dir)
}
