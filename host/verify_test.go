package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/recipe"
)

// layerOf returns the file of the layer that a machine rests on.
func layerOf(t *testing.T, h *host.Host, dir, machine string) (id, path string) {
	t.Helper()
	m, err := h.Machine(ctx, clade.Name(machine))
	if err != nil {
		t.Fatal(err)
	}
	id = m.Disks[0].Layer
	return id, filepath.Join(dir, "layers", id, "layer.qcow2")
}

// damage flips one bit in the middle of a file and gives it its times back.
func damage(t *testing.T, path string) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	damageAt(t, path, st.Size()/2)
}

func damageAt(t *testing.T, path string, at int64) {
	t.Helper()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 4
	rewrite(t, path, func() error { return os.WriteFile(path, data, 0o600) })
	if err := os.Chtimes(path, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// rewrite lets do write to a sealed file.
func rewrite(t *testing.T, path string, do func() error) {
	t.Helper()
	if err := errors.Join(os.Chmod(path, 0o600), do(), os.Chmod(path, 0o444)); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedBitIsFound: a disk that loses a bit changes no time; verify finds it.
func TestFlippedBitIsFound(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	id, path := layerOf(t, h, dir, "c")
	damage(t, path)
	verdicts, err := h.Verify(ctx, clade.VerifySpec{Names: []string{"c"}}, nil)
	if !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), id) {
		t.Errorf("Verify = %v, want %v naming layer %s", err, clade.Corrupt, id)
	}
	for _, v := range verdicts {
		if v.Intact != (v.Layer != id) || v.Intact && v.Verified.IsZero() {
			t.Errorf("verdict %+v, want all intact but %s", v, id)
		}
		if v.Layer == id && fmt.Sprint(v.Needed) != "[template t:1 machine c]" {
			t.Errorf("layer %s is needed by %v", id, v.Needed)
		}
	}
}

// TestTouchedBases: each cheap fact alone is enough to refuse a start, and is named
// with the layer and with what rests on it.
func TestTouchedBases(t *testing.T) {
	for fact, touch := range map[string]func(path string) error{
		"size": func(path string) error {
			st, err := os.Stat(path)
			return errors.Join(err, os.Truncate(path, st.Size()-512), os.Chtimes(path, st.ModTime(), st.ModTime()))
		},
		"inode": func(path string) error {
			data, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path))
		},
		"modification time": func(path string) error { return os.Chtimes(path, time.Now(), time.Now()) },
		"change time": func(path string) error {
			st, err := os.Stat(path)
			return errors.Join(err, os.Chtimes(path, st.ModTime(), st.ModTime()))
		},
		"no such file": os.Remove,
	} {
		t.Run(fact, func(t *testing.T) {
			t.Parallel()
			h, dir := home(t)
			must(t, h, "linked t c")
			must(t, h, "linked t d")
			id, path := layerOf(t, h, dir, "c")
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := touch(path); err != nil {
				t.Fatal(err)
			}
			_ = os.Chmod(path, 0o444)
			err := perform(ctx, h, "start c")
			for _, want := range []string{"layer " + id, fact, "template t:1, machine c, machine d"} {
				if !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), want) {
					t.Errorf("start = %v, want %v naming %q", err, clade.Corrupt, want)
				}
			}
		})
	}
}

// bigHome has a layer of 96 MiB, most of it a hole, below machine m.
func bigHome(t *testing.T) (*host.Host, string) {
	t.Helper()
	dir := t.TempDir()
	c := config(dir)
	build := c.BuildDisk
	c.BuildDisk = func(ctx context.Context, r *recipe.Recipe, dst string, p clade.Progress) error {
		return errors.Join(build(ctx, r, dst, p), os.Truncate(dst, 96<<20))
	}
	h, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	must(t, h, "build m")
	must(t, h, "snapshot m s")
	return h, dir
}

// TestVerifyGoesOn interrupts a verification in the middle of a layer: the next one
// goes on there, unless it shall not, or the file was touched meanwhile.
func TestVerifyGoesOn(t *testing.T) {
	h, dir := bigHome(t)
	_, path := layerOf(t, h, dir, "m")
	interrupt := func() {
		t.Helper()
		stop, cancel := context.WithCancel(ctx)
		defer cancel()
		_, err := h.Verify(stop, clade.VerifySpec{}, func(e clade.Event) {
			if e.Done >= 40<<20 {
				cancel()
			}
		})
		if !errors.Is(err, clade.Timeout) && !errors.Is(err, context.Canceled) {
			t.Fatalf("an interrupted Verify = %v", err)
		}
	}
	begin := func(spec clade.VerifySpec) (first int64) {
		t.Helper()
		verdicts, err := h.Verify(ctx, spec, func(e clade.Event) {
			if first == 0 {
				first = e.Done
			}
		})
		if err != nil || len(verdicts) != 1 || !verdicts[0].Intact {
			t.Fatalf("Verify = %v, %v", verdicts, err)
		}
		return first
	}
	interrupt()
	if first := begin(clade.VerifySpec{}); first < 40<<20 {
		t.Errorf("it went on at byte %d, want beyond %d", first, 40<<20)
	}
	if first := begin(clade.VerifySpec{}); first > 8<<20 {
		t.Errorf("the one after a complete one began at byte %d, want 0", first)
	}
	interrupt()
	if first := begin(clade.VerifySpec{Again: true}); first > 8<<20 {
		t.Errorf("one from the start began at byte %d", first)
	}
	interrupt()
	if first := begin(clade.VerifySpec{Names: []string{"m"}}); first > 8<<20 {
		t.Errorf("one of other layers began at byte %d", first)
	}
	interrupt()
	damageAt(t, path, 1<<20) // in what was read already
	if _, err := h.Verify(ctx, clade.VerifySpec{}, nil); !errors.Is(err, clade.Corrupt) {
		t.Errorf("Verify goes on in a file that was changed: %v, want %v", err, clade.Corrupt)
	}
}

// TestVerifiedLayersAreNotReadTwice: an interrupted verification of several layers
// does not begin with the first again.
func TestVerifiedLayersAreNotReadTwice(t *testing.T) {
	h, _ := home(t)
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	read := map[string]bool{}
	_, err := h.Verify(stop, clade.VerifySpec{}, func(e clade.Event) {
		if read[e.Note] = true; len(read) == 2 {
			cancel()
		}
	})
	if err == nil || len(read) != 2 {
		t.Fatalf("Verify = %v after %v", err, read)
	}
	again := map[string]bool{}
	verdicts, err := h.Verify(ctx, clade.VerifySpec{}, func(e clade.Event) {
		if !e.End {
			again[e.Note] = true
		}
	})
	if err != nil || len(verdicts) != 2 || len(again) != 1 {
		t.Errorf("Verify = %v, %v; it read %v, want the one that is missing", verdicts, err, again)
	}
}

// TestVerifyIsIdle: the thread that reads a large layer takes what others leave.
func TestVerifyIsIdle(t *testing.T) {
	h, _ := bigHome(t)
	idle := false
	_, err := h.Verify(ctx, clade.VerifySpec{}, func(e clade.Event) {
		if e.Done > 0 && !e.End {
			idle = idle || threadIsIdle(t)
		}
	})
	if err != nil || !idle {
		t.Errorf("no event came from a thread of the idle class (%v)", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if threadIsIdle(t) {
		t.Error("the thread that asked is idle too")
	}
}

func threadIsIdle(t *testing.T) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", syscall.Gettid()))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	return fields[38] == "5" // policy: SCHED_IDLE
}

// TestRepair restores a damaged layer from all it can be restored from.
func TestRepair(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	id, path := layerOf(t, h, dir, "c")
	out := t.TempDir()
	bundles, copied, wrong := filepath.Join(out, "b"), filepath.Join(out, "copy"), filepath.Join(out, "wrong")
	must(t, h, "export c "+filepath.Join(out, "m"))
	must(t, h, "export t "+bundles)
	data, err := os.ReadFile(path)
	if err == nil {
		err = errors.Join(os.WriteFile(copied, data, 0o600), os.WriteFile(wrong, data[1:], 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	lose := func(path string) error { return os.RemoveAll(filepath.Dir(path)) }
	for _, test := range []struct {
		from string
		hurt func(string) error
	}{
		{bundles, nil}, {copied, nil}, {filepath.Join(out, "m"), nil}, {bundles, lose}, {copied, os.Remove},
	} {
		if test.hurt == nil {
			damage(t, path)
		} else if err := test.hurt(path); err != nil {
			t.Fatal(err)
		}
		if err := perform(ctx, h, "start c"); !errors.Is(err, clade.Corrupt) {
			t.Fatalf("start on a damaged layer: %v", err)
		}
		for _, bad := range []string{wrong, filepath.Join(out, "none"), out} {
			if _, err := h.Verify(ctx, clade.VerifySpec{Repair: bad}, nil); err == nil {
				t.Errorf("repair from %s: no error", bad)
			}
		}
		verdicts, err := h.Verify(ctx, clade.VerifySpec{Names: []string{"c"}, Repair: test.from}, nil)
		if err != nil {
			t.Fatalf("repair from %s: %v", test.from, err)
		}
		for _, v := range verdicts {
			if !v.Intact || v.Repaired != (v.Layer == id) || len(v.Restart) > 0 {
				t.Errorf("verdict %+v", v)
			}
		}
		must(t, h, "start c")
		must(t, h, "kill c")
		must(t, h, "reset c")
		clean(t, h, dir)
	}
}

// TestRepairUnderRunningMachines: they read the damaged file until they are
// restarted, and the verdict says which.
func TestRepairUnderRunningMachines(t *testing.T) {
	h, dir := home(t)
	for _, act := range []string{"linked t c", "linked t d", "start c"} {
		must(t, h, act)
	}
	id, path := layerOf(t, h, dir, "c")
	copied := filepath.Join(t.TempDir(), "copy")
	data, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(copied, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	damage(t, path)
	verdicts, err := h.Verify(ctx, clade.VerifySpec{Names: []string{"d"}, Repair: copied}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verdicts {
		if v.Layer == id && fmt.Sprint(v.Restart) != "[c]" {
			t.Errorf("to be restarted: %v, want c, which runs", v.Restart)
		}
	}
}

// TestRepairKilledAfterEachStep: the layer's file is the damaged one or the right
// one, and when it is the right one the next command knows, without reading it.
func TestRepairKilledAfterEachStep(t *testing.T) {
	for step := 1; ; step++ {
		h, dir := home(t)
		must(t, h, "linked t c")
		_, path := layerOf(t, h, dir, "c")
		data, err := os.ReadFile(path)
		copied := filepath.Join(t.TempDir(), "copy")
		if err := errors.Join(err, os.WriteFile(copied, data, 0o600)); err != nil {
			t.Fatal(err)
		}
		damage(t, path)
		out, err := exec.Command(os.Args[0], "child", dir, "repair c "+copied, strconv.Itoa(step)).CombinedOutput()
		exit, _ := errors.AsType[*exec.ExitError](err)
		died := exit != nil && exit.Sys().(syscall.WaitStatus).Signaled()
		if err != nil && !died {
			t.Fatalf("step %d: %v\n%s", step, err, out)
		}
		now, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		err = perform(ctx, h, "start c") // which begins by putting right what was left
		if right := string(now) == string(data); right != (err == nil) {
			t.Errorf("step %d: the file is right: %v; start: %v", step, right, err)
		}
		must(t, h, "kill c")
		must(t, h, "repair c "+copied)
		must(t, h, "start c")
		must(t, h, "kill c")
		must(t, h, "reset c")
		clean(t, h, dir)
		if !died {
			if step < 6 {
				t.Errorf("the repair came through after %d steps, want at least 5 to be killed at", step-1)
			}
			return
		}
	}
}
