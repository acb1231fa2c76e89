package host_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
	"github.com/clade-vm/clade/qcow2"
)

// whole checks what a kill must not leave of machines: one that stands still, one that
// runs on heads which its record does not name, and memories of no snapshot.
func whole(t *testing.T, h *host.Host, dir string) {
	t.Helper()
	machines, err := h.Machines(ctx)
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := h.Snapshots(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range machines {
		if m.State == clade.Paused {
			t.Errorf("%s stands still", m.Name)
		}
		if m.State == clade.Running {
			record := recordOf(h, m.Name)
			heads, err := fake.New().Heads(ctx, hypervisor.Place{Dir: filepath.Join(dir, "machines", m.ID), Run: filepath.Join(dir, "run", m.ID)})
			for i := range heads {
				heads[i] = filepath.Base(heads[i])
			}
			if err != nil || !slices.Equal(heads, record.Heads) {
				t.Errorf("%s writes to %v (%v), its record says %v", m.Name, heads, err, record.Heads)
			}
		}
		var want []string
		for _, s := range snapshots {
			if s.Machine == m.Name && s.Memory != nil {
				want = append(want, s.Memory.File.Name)
			}
		}
		files, _ := filepath.Glob(filepath.Join(dir, "machines", m.ID, "memory-*"))
		for i := range files {
			files[i] = filepath.Base(files[i])
		}
		slices.Sort(want)
		if !slices.Equal(files, want) {
			t.Errorf("%s has the memories %v, its snapshots %v", m.Name, files, want)
		}
	}
}

// remembers gives c, which runs with a data disk, a file, a snapshot s with memory, and
// another file.
func remembers(t *testing.T, change func(*host.Config, *fake.Driver)) (*host.Host, string, *fake.Driver) {
	t.Helper()
	h, dir, d := warmHome(t, change)
	for _, act := range []string{"data t c", "start c"} {
		must(t, h, act)
	}
	tee(t, h, "/tmp/before")
	must(t, h, "memory c s")
	tee(t, h, "/tmp/after")
	return h, dir, d
}

func tee(t *testing.T, h *host.Host, path string) {
	t.Helper()
	if exit, err := h.Exec(ctx, "c", clade.Command{Args: []string{"tee", path}, Input: []byte("x")}); err != nil || exit.Status != 0 {
		t.Fatalf("tee %s = %+v, %v", path, exit, err)
	}
}

func has(t *testing.T, h *host.Host, path string) bool {
	t.Helper()
	exit, err := h.Exec(ctx, "c", clade.Command{Args: []string{"test", "-e", path}})
	if err != nil {
		t.Fatal(err)
	}
	return exit.Status == 0
}

// TestMemory: the machine goes on where it was, as who it is, with all its disks.
func TestMemory(t *testing.T) {
	h, dir, _ := remembers(t, nil)
	list, err := h.Snapshots(ctx, "c")
	if err != nil || len(list) != 1 || list[0].Memory == nil || len(list[0].Disks) != 2 || list[0].Disks[1].Label == "" {
		t.Fatalf("Snapshots = %+v, %v; want one with memory and both disks", list, err)
	}
	was := machine(t, h, "c")
	if was.State != clade.Running {
		t.Errorf("after the snapshot c is %s", was.State)
	}
	file := filepath.Join(dir, "machines", was.ID, list[0].Memory.File.Name)
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o444 {
		t.Errorf("its file is %v, %v, want it sealed", st, err)
	}
	if err := perform(ctx, h, "restore c s"); !errors.Is(err, clade.InUse) {
		t.Errorf("restore of what runs = %v, want kind %v", err, clade.InUse)
	}
	for range 2 {
		must(t, h, "kill c")
		must(t, h, "restore c s")
		is := machine(t, h, "c")
		if is.State != clade.Running || is.Identity != was.Identity || is.Disks[0].Layer != list[0].Disks[0].Layer || is.Disks[1].Layer != list[0].Disks[1].Layer {
			t.Errorf("restored it is %+v, want it running on %+v", is, list[0].Disks)
		}
		if !has(t, h, "/tmp/before") || has(t, h, "/tmp/after") {
			t.Error("restored it does not remember what it did then, and only that")
		}
		if !has(t, h, "/run/time") {
			t.Error("it was not told what time it is")
		}
		whole(t, h, dir)
		tee(t, h, "/tmp/after")
	}
	must(t, h, "memory c s2") // of what was resumed
	must(t, h, "kill c")
	must(t, h, "restore c s disk-only")
	if m := machine(t, h, "c"); m.State != clade.Stopped || m.Disks[0].Layer != list[0].Disks[0].Layer || m.Disks[1].Layer == list[0].Disks[1].Layer {
		t.Errorf("with --disk-only it is %+v, want it stopped, with the data disk as it was", m)
	}
	clean(t, h, dir)
	whole(t, h, dir)
}

// TestMemoryTakesDataBack: a data disk goes back with the memory that knows it, to the layer
// of that moment, also where it was frozen again since; what was written after it is gone.
func TestMemoryTakesDataBack(t *testing.T) {
	h, dir, _ := remembers(t, nil)
	moments := map[string]string{"s": machine(t, h, "c").Disks[1].Layer}
	must(t, h, "memory c s2")
	moments["s2"] = machine(t, h, "c").Disks[1].Layer
	since := []byte("written to the data disk since")
	for _, name := range []string{"s2", "s", "s", "s2"} {
		must(t, h, "kill c")
		head := dataHeadPath(t, dir, machine(t, h, "c"))
		text, err := os.ReadFile(head)
		if err == nil {
			err = os.WriteFile(head, append(text, since...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		must(t, h, "restore c "+name)
		head, want := dataHeadPath(t, dir, machine(t, h, "c")), moments[name]
		if rests, _, err := qcow2.Backing(head); err != nil || filepath.Base(filepath.Dir(rests)) != want || machine(t, h, "c").Disks[1].Layer != want {
			t.Errorf("back to %s, the data disk rests on %s, its record says %s (%v), want %s", name, rests, machine(t, h, "c").Disks[1].Layer, err, want)
		}
		if text, err := os.ReadFile(head); err != nil || bytes.Contains(text, since) {
			t.Errorf("back to %s, the data disk holds what was written since (%v)", name, err)
		}
	}
	whole(t, h, dir)
}

// TestMemoryIsCounted: du, plans and removals say what it takes.
func TestMemoryIsCounted(t *testing.T) {
	h, dir, _ := remembers(t, nil)
	if u, want := usage(t, h), du(t, dir); u.Allocated != want || !slices.ContainsFunc(u.Parts, func(p clade.PartUsage) bool { return p.What == "memories" && p.Allocated > 0 }) {
		t.Errorf("Usage = %d, %+v, du says %d", u.Allocated, u.Parts, want)
	}
	must(t, h, "memory c s2")
	must(t, h, "kill c")
	before := kept(t, dir)
	going := clade.Going{Snapshots: []clade.GoingSnapshot{{Machine: "c", Name: "s"}}, Machines: nil}
	plan, err := h.PlanRemoval(ctx, going)
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.RemoveSnapshot(ctx, "c", "s")
	if err != nil {
		t.Fatal(err)
	}
	if freed := before - kept(t, dir); r.Freed != freed || plan[0].Freed != freed || freed == 0 {
		t.Errorf("freed %d, the removal says %d, its plan %d", freed, r.Freed, plan[0].Freed)
	}
	whole(t, h, dir)
	plan, err = h.PlanRemoval(ctx, clade.Going{Machines: []clade.Name{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	before = kept(t, dir)
	must(t, h, "rm c")
	if freed := before - kept(t, dir); plan[0].Freed != freed {
		t.Errorf("freed %d with the machine, its plan says %d", freed, plan[0].Freed)
	}
	clean(t, h, dir)
}

// kept is what the home takes without its database, whose log grows with each removal,
// and without what belongs to running machines.
func kept(t *testing.T, dir string) clade.Bytes {
	t.Helper()
	sum := du(t, dir) - du(t, filepath.Join(dir, "run"))
	files, _ := filepath.Glob(filepath.Join(dir, "clade.db*"))
	for _, file := range files {
		sum -= du(t, file)
	}
	return sum
}

// TestMemoryIsBound: what cannot be resumed is refused before anything is replaced.
func TestMemoryIsBound(t *testing.T) {
	h, dir, d := remembers(t, nil)
	must(t, h, "kill c")
	was := recordOf(h, "c")
	unchanged := func(what string) {
		t.Helper()
		if is := recordOf(h, "c"); !slices.Equal(is.Heads, was.Heads) || machine(t, h, "c").State != clade.Stopped {
			t.Errorf("after %s the machine is not as it was: %+v", what, is)
		}
	}
	d.Version = "2"
	err := perform(ctx, h, "restore c s")
	if !errors.Is(err, clade.Unsupported) || !strings.Contains(err.Error(), "QEMU's version: it was fake, it is fake2") || !strings.Contains(clade.HintOf(err), "restore c s --disk-only") {
		t.Errorf("restore = %v, hint %q, want what has changed and what to do", err, clade.HintOf(err))
	}
	unchanged("a refusal")
	d.Version = ""
	list, _ := h.Snapshots(ctx, "c")
	file := filepath.Join(dir, "machines", was.ID, list[0].Memory.File.Name)
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(file, later, later); err != nil {
		t.Fatal(err)
	}
	if err := perform(ctx, h, "restore c s"); !errors.Is(err, clade.Corrupt) {
		t.Errorf("restore of a touched memory = %v, want kind %v", err, clade.Corrupt)
	}
	unchanged("a touched memory")
	if _, err := h.Verify(ctx, clade.VerifySpec{Names: []string{"c"}}, nil); err != nil {
		t.Errorf("Verify of what only its times have changed = %v", err)
	}
	must(t, h, "restore c s")
	must(t, h, "kill c")
	was = recordOf(h, "c")
	if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte("no state of anything"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Verify(ctx, clade.VerifySpec{}, nil); !errors.Is(err, clade.Corrupt) || !strings.Contains(clade.HintOf(err), "snapshot s of machine c") {
		t.Errorf("Verify of a damaged memory = %v, hint %q", err, clade.HintOf(err))
	}
	unchanged("a damaged memory")
}

// TestMemoryThatDoesNotResume: the machine is as it was, with what it had written.
func TestMemoryThatDoesNotResume(t *testing.T) {
	h, dir, d := remembers(t, nil)
	must(t, h, "kill c")
	was := recordOf(h, "c")
	d.Lame = true
	if err := perform(ctx, h, "restore c s"); err == nil {
		t.Error("a restore that does not resume went through")
	}
	if is := recordOf(h, "c"); !slices.Equal(is.Heads, was.Heads) || is.Disks[0].Layer != was.Disks[0].Layer || machine(t, h, "c").State != clade.Stopped {
		t.Errorf("after it the machine is %+v, before %+v", is, was)
	}
	clean(t, h, dir)
}

// TestMemoryIsRefused: of what has none, and of what could not be resumed.
func TestMemoryIsRefused(t *testing.T) {
	h, dir, d := warmHome(t, nil)
	must(t, h, "linked t c")
	if err := perform(ctx, h, "memory c s"); !errors.Is(err, clade.NotRunning) {
		t.Errorf("memory of a stopped machine = %v, want kind %v", err, clade.NotRunning)
	}
	must(t, h, "instant t i")
	if err := perform(ctx, h, "memory i s"); !errors.Is(err, clade.Unsupported) {
		t.Errorf("memory of one that was woken = %v, want kind %v", err, clade.Unsupported)
	}
	must(t, h, "start c")
	d.Halfway = func() { // somebody has put a file where the memory was to be
		dirs, _ := filepath.Glob(filepath.Join(dir, "tmp", "memory-*"))
		if err := os.WriteFile(filepath.Join(dirs[0], "state"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	if err := perform(ctx, h, "memory c s"); !errors.Is(err, clade.Exists) {
		t.Errorf("memory that cannot be written = %v, want kind %v", err, clade.Exists)
	}
	if list, _ := h.Snapshots(ctx, ""); len(list) != 0 {
		t.Errorf("snapshots = %v, want none", list)
	}
	whole(t, h, dir)
	clean(t, h, dir)
}
