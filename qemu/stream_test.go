//go:build integration

package qemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/qemu"
)

// onLayers starts a machine whose heads rest on full layers, with data enough
// that a stream of them takes more than one look.
func onLayers(t *testing.T) (d *qemu.Driver, p hypervisor.Place, heads []string) {
	t.Helper()
	d, p = qemu.New(qemu.Config{}), place(t)
	s := spec(t, t.TempDir())
	for i, disk := range s.Disks {
		run(t, "qemu-img", "resize", "-q", disk.Path, "64M")
		run(t, "qemu-io", "-c", "write -q -P 0x5a 1M 60M", disk.Path)
		head := filepath.Join(t.TempDir(), "head.qcow2")
		overlay(t, head, disk.Path)
		heads = append(heads, head)
		s.Disks[i].Path = head
	}
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	return d, p, heads
}

// nothing is what both heads rest on after a stream of all.
var nothing = make([]hypervisor.Rest, 2)

// A stream onto a layer further down leaves that and what lies below it alone, also
// where the machine has been moved to new heads meanwhile.
func TestStreamOnto(t *testing.T) {
	d, p, heads := onLayers(t)
	layer, _, err := qcow2.Backing(heads[1])
	if err != nil {
		t.Fatal(err)
	}
	typeIn(t, d, p, "w", "W")
	for generation := range 2 {
		var next []string
		for i, head := range heads {
			path := filepath.Join(filepath.Dir(head), fmt.Sprintf("next%d-%d.qcow2", generation, i))
			overlay(t, path, head)
			next = append(next, path)
		}
		if _, err := d.Switch(t.Context(), p, next); err != nil {
			t.Fatal(err)
		}
		heads = next
		typeIn(t, d, p, "w", "W")
	}
	rests := func() (list []string) {
		for _, head := range heads {
			below, _, err := qcow2.Backing(head)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, below)
		}
		return list
	}
	before := rests()
	none := func(int64, int64) {}
	if err := d.Stream(t.Context(), p, []hypervisor.Rest{{Below: 1}, {Below: 4, Name: "x"}}, 0, none); !errors.Is(err, clade.Invalid) || !slices.Equal(rests(), before) {
		t.Errorf("onto the fourth of three: %v, the heads rest on %q", err, rests())
	}
	if err := d.Stream(t.Context(), p, []hypervisor.Rest{{Below: 1}, {Below: 3, Name: layer}}, 0, none); err != nil {
		t.Fatal(err)
	}
	if got := rests(); got[0] != before[0] || got[1] != layer {
		t.Errorf("the heads rest on %q, want %q and %q", got, before[0], layer)
	}
	for _, below := range rests() {
		noWriter(t, below)
	}
	typeIn(t, d, p, "w", "W")
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "check", "-q", heads[1])
	// What the layer holds was not copied.
	if info, err := os.Stat(heads[1]); err != nil || info.Sys().(*syscall.Stat_t).Blocks > 2<<11 {
		t.Errorf("head 1 takes %d blocks (%v), want far less than the layer's 60 MiB", info.Sys().(*syscall.Stat_t).Blocks, err)
	}
}

// What a running machine writes to rests on nothing afterwards, holds what it
// held and what the guest wrote meanwhile.
func TestStream(t *testing.T) {
	d, p, heads := onLayers(t)
	typeIn(t, d, p, "w", "W")
	var last int64
	if err := d.Stream(t.Context(), p, nothing, 0, func(done, total int64) {
		if done < 0 || total > 0 && done > total {
			t.Errorf("%d of %d", done, total)
		}
		last = max(last, total)
	}); err != nil {
		t.Fatal(err)
	}
	if last == 0 {
		t.Error("the stream told nothing of how far it was")
	}
	if err := d.Stream(t.Context(), p, nothing, 0, func(int64, int64) {}); err != nil {
		t.Errorf("a second stream: %v", err)
	}
	typeIn(t, d, p, "w", "W")
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for i, head := range heads {
		if below, _, err := qcow2.Backing(head); err != nil || below != "" {
			t.Errorf("head %d rests on %q (%v)", i, below, err)
		}
		run(t, "qemu-img", "check", "-q", head)
		run(t, "qemu-io", "-r", "-c", "read -q -P 0x5a 1M 60M", head)
		raw := filepath.Join(t.TempDir(), "raw")
		run(t, "qemu-img", "convert", "-O", "raw", head, raw)
		if data, err := os.ReadFile(raw); err != nil || data[512] != 0x31 || data[513] != 0xc0 {
			t.Errorf("disk %d does not hold what the guest wrote: % x, %v", i, data[512:516], err)
		}
	}
}

// A stream that is given up leaves the machine running on what it rested on, and
// can be begun again.
func TestStreamGivenUp(t *testing.T) {
	d, p, heads := onLayers(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := d.Stream(ctx, p, nothing, 0, func(int64, int64) { cancel() }); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if st := status(t, d, p); st.State != clade.Running {
		t.Errorf("the machine is %+v", st)
	}
	if err := d.Stream(t.Context(), p, nothing, 0, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	if below, _, err := qcow2.Backing(heads[1]); err != nil || below != "" {
		t.Errorf("the head rests on %q (%v)", below, err)
	}
}

// TestStreamPaced: a stream copies no more in a second than it may. Whoever goes on with
// it, as it goes on in QEMU when its caller is killed, has a pace of their own.
func TestStreamPaced(t *testing.T) {
	const inside = "CLADE_TEST_PLACE"
	if text := os.Getenv(inside); text != "" {
		var p hypervisor.Place
		t.Fatal(json.Unmarshal([]byte(text), &p), streamAndDie(t.Context(), p))
	}
	d, p, heads := onLayers(t)
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	caller := exec.Command(os.Args[0], "-test.run=^TestStreamPaced$")
	caller.Env = append(os.Environ(), inside+"="+string(text))
	if said, _ := caller.CombinedOutput(); caller.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("a stream of 1 MiB a second: %s, %s", caller.ProcessState, said)
	}
	if below, _, err := qcow2.Backing(heads[0]); err != nil || below == "" {
		t.Fatalf("the stream has ended before it was gone on with: %v", err)
	}
	if err := d.Stream(t.Context(), p, nothing, 0, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	if below, _, err := qcow2.Backing(heads[0]); err != nil || below != "" {
		t.Errorf("the head rests on %q (%v)", below, err)
	}
}

// streamAndDie streams 1 MiB a second, and kills this process after two seconds. It
// returns if there was more, or an end.
func streamAndDie(ctx context.Context, p hypervisor.Place) error {
	const burst = 8 * clade.MiB // what QEMU may copy before it looks at the pace
	ctx, cancel := context.WithCancelCause(ctx)
	begun := time.Now()
	return errors.Join(errors.New("it came to an end"), qemu.New(qemu.Config{}).Stream(ctx, p, nothing, clade.MiB, func(done, _ int64) {
		since := time.Since(begun)
		if done > int64(burst)+int64(since.Seconds()*float64(clade.MiB)) {
			cancel(fmt.Errorf("%d bytes in %v", done, since))
		} else if since > 2*time.Second {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}))
}

// TestNoStreamIntoSubclusters: a QEMU that dies of it is not asked to.
func TestNoStreamIntoSubclusters(t *testing.T) {
	d, p := qemu.New(qemu.Config{}), place(t)
	s := spec(t, t.TempDir())
	head := filepath.Join(t.TempDir(), "head.qcow2")
	if err := qcow2.WriteOverlay(head, qcow2.Overlay{Virtual: clade.MiB, Backing: s.Disks[1].Path, BackingFormat: "qcow2"}); err != nil {
		t.Fatal(err)
	}
	s.Disks[1].Path = head
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	version, err := d.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = d.Stream(t.Context(), p, nothing, 0, func(int64, int64) {})
	if old := strings.HasPrefix(version, "7.") || strings.HasPrefix(version, "8.0"); old != errors.Is(err, clade.Unsupported) {
		t.Errorf("QEMU %s: Stream = %v", version, err)
	}
	if st := status(t, d, p); st.State != clade.Running {
		t.Errorf("the machine is %+v", st)
	}
}

func TestStreamOfStopped(t *testing.T) {
	d := qemu.New(qemu.Config{})
	if err := d.Stream(t.Context(), place(t), nothing, 0, func(int64, int64) {}); !errors.Is(err, clade.NotRunning) {
		t.Errorf("%v, want %v", err, clade.NotRunning)
	}
}
