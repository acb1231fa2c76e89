package host_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
)

// du is what du itself says of a directory.
func du(t *testing.T, dir string) clade.Bytes {
	t.Helper()
	out, err := exec.Command("du", "-s", "--block-size=1", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return clade.Bytes(n)
}

func usage(t *testing.T, h *host.Host) *clade.Usage {
	t.Helper()
	u, err := h.Usage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// write fills the beginning of a machine's head: an image that takes more is one.
func write(t *testing.T, h *host.Host, dir, machine string, n int) {
	t.Helper()
	m, err := h.Machine(ctx, clade.Name(machine))
	if err != nil {
		t.Fatal(err)
	}
	heads, _ := filepath.Glob(filepath.Join(dir, "machines", m.ID, "disk*"))
	f, err := os.OpenFile(heads[0], os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.Write(make([]byte, n))
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// furnished is a home with a thing of every kind in it.
func furnished(t *testing.T) (*host.Host, string) {
	t.Helper()
	h, dir := home(t)
	for _, act := range []string{"linked t a", "linked t b", "full t c", "snapshot a s"} {
		must(t, h, act)
	}
	write(t, h, dir, "m", 100<<10)
	for _, act := range []string{"start a", "snapshot a s2", "kill a", "reset a", "template m", "linked t d", "start b"} {
		must(t, h, act)
	}
	a, err := h.Machine(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	machine := filepath.Join(dir, "machines", a.ID)
	for name, size := range map[string]int{
		filepath.Join(machine, "seed.img"):              20 << 10,
		filepath.Join(machine, "nvram.fd"):              70 << 10,
		filepath.Join(machine, "console.log.1"):         5 << 10,
		filepath.Join(machine, "known_hosts"):           100,
		filepath.Join(dir, "machines", "gone", "x"):     9 << 10,
		filepath.Join(dir, "layers", "lost", "y"):       11 << 10,
		filepath.Join(dir, "tmp", "clone-dead", "z"):    13 << 10,
		filepath.Join(dir, "warm", "deep", "down", "w"): 17 << 10,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(strings.Repeat("long", 100), filepath.Join(dir, "warm", "link")); err != nil {
		t.Fatal(err)
	}
	return h, dir
}

// TestUsageIsWhatDuSays adds up a home with a thing of every kind, to the byte.
func TestUsageIsWhatDuSays(t *testing.T) {
	h, dir := furnished(t)
	hosts, _ := filepath.Glob(filepath.Join(dir, "machines", "*", "known_hosts"))
	if err := os.Link(hosts[0], filepath.Join(dir, "warm", "hard")); err != nil {
		t.Fatal(err)
	}
	u := usage(t, h)
	if want := du(t, dir); u.Allocated != want {
		t.Errorf("Allocated = %d, du says %d: %+v", u.Allocated, want, u.Parts)
	}
	parts := map[string]clade.Bytes{}
	var all, machines, layers, orphans clade.Bytes
	for _, p := range u.Parts {
		parts[p.What] = p.Allocated
		all += p.Allocated
	}
	for _, m := range u.Machines {
		machines += m.Allocated
	}
	for _, l := range u.Layers {
		layers += l.Allocated
	}
	for _, g := range u.Orphans {
		orphans += g.Bytes
	}
	if all != u.Allocated {
		t.Errorf("the parts take %d, all of it %d", all, u.Allocated)
	}
	if want := parts["heads"] + parts["seeds"] + parts["NVRAM"] + parts["logs"] + parts["other files of machines"]; machines != want {
		t.Errorf("machines take %d, their parts %d", machines, want)
	}
	if want := parts["layers"] + parts["snapshots"]; layers != want {
		t.Errorf("layers take %d, their parts %d", layers, want)
	}
	if orphans != parts["orphans"] || len(u.Orphans) != 3 {
		t.Errorf("orphans take %d, their part is %d, want three of the same: %+v", orphans, parts["orphans"], u.Orphans)
	}
	for _, what := range []string{"heads", "layers", "snapshots", "seeds", "NVRAM", "logs", "database", "keys", "orphans", "directories", "warm"} {
		if parts[what] == 0 {
			t.Errorf("nothing is said of %s: %v", what, parts)
		}
	}
}

// TestUsageWhileOthersWork: what a living operation builds is nobody's garbage.
func TestUsageWhileOthersWork(t *testing.T) {
	h, dir := furnished(t)
	lock := filepath.Join(dir, "tmp", "clone-dead", "lock")
	cmd := exec.Command("flock", lock, "sh", "-c", "echo held; cat")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = out.Read(make([]byte, 5))
	u := usage(t, h)
	in.Close()
	_ = cmd.Wait()
	building := clade.Bytes(0)
	for _, p := range u.Parts {
		if p.What == "being built" {
			building = p.Allocated
		}
	}
	if len(u.Orphans) != 2 || building < 13<<10 {
		t.Errorf("orphans = %+v, being built = %v; want two, and the operation that lives", u.Orphans, building)
	}
}

// TestFreed removes everything of a home in several orders: each removal frees, to
// the byte, what was said before, and layers that others need stay.
func TestFreed(t *testing.T) {
	for seed, order := range [][]string{
		{"rm a", "rm m", "rm d", "rm b", "rm c", "untemplate t:1", "untemplate t:2"},
		{"untemplate t:2", "untemplate t:1", "rm d", "rm m", "unsnapshot a s2", "unsnapshot a s", "rm b", "rm a", "rm c"},
		{"rm c", "rm b", "rm d", "unsnapshot a s", "untemplate t:1", "rm m", "rm a", "untemplate t:2"},
	} {
		h, dir := furnished(t)
		must(t, h, "kill b")
		must(t, h, "build sweeps-the-orphans")
		plan, err := h.PlanRemoval(ctx, goingOf(order))
		if err != nil && seed == 0 { // the others take snapshots before machines
			t.Fatal(err)
		}
		var told clade.Bytes
		for i, act := range order {
			alone, err := h.PlanRemoval(ctx, goingOf([]string{act}))
			if err != nil {
				t.Fatal(err)
			}
			u := usage(t, h)
			was := taken(t, dir)
			r := remove(t, h, act)
			told += r.Freed
			if freed := was - taken(t, dir); r.Freed != freed || alone[0].Freed != freed {
				t.Errorf("order %d, %s: planned %d, told %d, freed %d", seed, act, alone[0].Freed, r.Freed, freed)
			}
			if want := freedOf(u, act); want >= 0 && want != r.Freed {
				t.Errorf("order %d, %s: du said it frees %d, it freed %d", seed, act, want, r.Freed)
			}
			if fmt.Sprint(r.Kept) != fmt.Sprint(alone[0].Kept) {
				t.Errorf("order %d, %s: kept %v, planned %v", seed, act, r.Kept, alone[0].Kept)
			}
			for _, k := range r.Kept {
				if len(k.Needed) == 0 || k.Bytes == 0 {
					t.Errorf("order %d, %s: layer %s stays for nobody", seed, act, k.Layer)
				}
			}
			if i == len(order)-1 && len(usage(t, h).Layers) != 0 {
				t.Errorf("order %d: layers are left: %+v", seed, usage(t, h).Layers)
			}
		}
		if got := sum(plan); seed == 0 && got != told {
			t.Errorf("one plan for all frees %d, one after the other freed %d", got, told)
		}
		clean(t, h, dir)
	}
}

func sum(plan []*clade.Removal) (n clade.Bytes) {
	for _, r := range plan {
		n += r.Freed
	}
	return n
}

// taken is what machines and layers take, without the directories they lie in, which
// a file system may not make smaller.
func taken(t *testing.T, dir string) (n clade.Bytes) {
	for _, sub := range []string{"machines", "layers"} {
		for _, name := range list(t, dir, sub) {
			n += du(t, filepath.Join(dir, sub, name))
		}
	}
	return n
}

func goingOf(acts []string) (g clade.Going) {
	for _, act := range acts {
		words := strings.Fields(act)
		switch words[0] {
		case "rm":
			g.Machines = append(g.Machines, clade.Name(words[1]))
		case "untemplate":
			ref, _ := clade.ParseRef(words[1])
			g.Templates = append(g.Templates, ref)
		case "unsnapshot":
			g.Snapshots = append(g.Snapshots, clade.GoingSnapshot{Machine: clade.Name(words[1]), Name: clade.Name(words[2])})
		}
	}
	return g
}

func remove(t *testing.T, h *host.Host, act string) (r *clade.Removal) {
	t.Helper()
	g, err := goingOf([]string{act}), error(nil)
	switch {
	case g.Machines != nil:
		r, err = h.Remove(ctx, g.Machines[0])
	case g.Templates != nil:
		r, err = h.RemoveTemplate(ctx, g.Templates[0])
	default:
		r, err = h.RemoveSnapshot(ctx, g.Snapshots[0].Machine, g.Snapshots[0].Name)
	}
	if err != nil {
		t.Fatalf("%s: %v", act, err)
	}
	return r
}

// freedOf is what du said that an act frees, or -1 where du says nothing of it.
func freedOf(u *clade.Usage, act string) clade.Bytes {
	g := goingOf([]string{act})
	for _, m := range u.Machines {
		if g.Machines != nil && m.Name == g.Machines[0] {
			return m.Freed
		}
	}
	for _, one := range u.Templates {
		if g.Templates != nil && one.Template == g.Templates[0].String() {
			return one.Freed
		}
	}
	return -1
}

// TestPlanRemoval takes several at once: what only they share goes with the last,
// and what stays is named with who needs it.
func TestPlanRemoval(t *testing.T) {
	h, _ := home(t)
	must(t, h, "linked t a")
	must(t, h, "linked t b")
	plan, err := h.PlanRemoval(ctx, clade.Going{Machines: []clade.Name{"m", "a"}, Templates: []clade.Ref{{Name: "t"}}})
	if err != nil || len(plan) != 3 {
		t.Fatalf("PlanRemoval = %v, %v; want three removals", plan, err)
	}
	if got := fmt.Sprint(plan[2].Kept[0].Needed); plan[2].Freed != 0 || got != "[machine b]" {
		t.Errorf("the template frees %v, its layer stays for %s; want nothing, and [machine b]", plan[2].Freed, got)
	}
	if got := fmt.Sprint(plan[0].Kept[0].Needed); got != "[template t:1 machine a machine b]" {
		t.Errorf("the layer of m stays for %s", got)
	}
	_, err = h.PlanRemoval(ctx, clade.Going{Machines: []clade.Name{"nobody"}})
	if clade.KindOf(err) != clade.NotFound {
		t.Errorf("PlanRemoval of nobody: %v, want %v", err, clade.NotFound)
	}
	if l, err := h.Lineage(ctx); err != nil || len(l.Machines) != 3 {
		t.Errorf("a plan changed the home: %v, %v", l, err)
	}
}

// TestUsageHoldsAfterwards: what a command says of the home is so when it has ended;
// the database's own files do not come and go with it.
func TestUsageHoldsAfterwards(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h := open(t, dir)
		u := usage(t, h)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if want := du(t, dir); u.Allocated != want {
			t.Errorf("the command said %d, when it had ended du says %d", u.Allocated, want)
		}
	}
}
