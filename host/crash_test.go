package host_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
)

// A deed is an act that is disturbed, and how to tell whether it happened.
type deed struct {
	before []string // what is done first
	act    string
	happen func(*host.Host) bool // whether the act happened
	least  int                   // steps the act has at least, so that none goes unseen
}

var deeds = map[string]deed{
	"build":               {nil, "build x", hasMachine("x"), 4},
	"template":            {[]string{"start m", "kill m"}, "template m", hasTemplates(2), 5},
	"template of running": {[]string{"start m"}, "template m", hasTemplates(2), 9},
	"linked clone":        {nil, "linked t c", hasMachine("c"), 4},
	"full clone":          {[]string{"build x"}, "full x c", hasMachine("c"), 4},
	"clone of machine":    {[]string{"start m"}, "adopt m c", hasMachine("c"), 10},
	"clone with data":     {nil, "data t c", hasMachine("c"), 4},
	"template with data":  {[]string{"data t c", "start c"}, "carry c", hasTemplates(2), 12},
	"start":               {nil, "start m", runs("m"), 2},
	"generalize":          {nil, "generalize m", headOf("m", 2), 5},
	"mend":                {[]string{"linked t c"}, "mend c", headOf("c", 1), 5},
	"snapshot":            {[]string{"linked t c", "start c"}, "snapshot c s", hasSnapshots(1), 7},
	"memory":              {[]string{"linked t c", "start c"}, "memory c s", hasSnapshots(1), 10},
	"memory of data":      {[]string{"data t c", "start c"}, "memory c s", hasSnapshots(1), 12},
	"resume":              {[]string{"data t c", "start c", "memory c s", "kill c"}, "restore c s", headOf("c", 2), 6},
	"forget memory":       {[]string{"linked t c", "start c", "memory c s", "kill c", "reset c"}, "unsnapshot c s", hasSnapshots(0), 3},
	"restore":             {[]string{"linked t c", "snapshot c s", "start c", "snapshot c s2", "kill c"}, "restore c s", headOf("c", 2), 4},
	"remove snapshot":     {[]string{"linked t c", "start c", "snapshot c s", "kill c", "reset c"}, "unsnapshot c s", hasSnapshots(0), 2},
	"reset with data":     {[]string{"data t c", "start c", "snapshot c s", "kill c"}, "reset c", headOf("c", 2), 4},
	"reset":               {[]string{"linked t c", "start c", "snapshot c s", "kill c"}, "reset c", headOf("c", 2), 4},
	"rebase":              {[]string{"linked t c", "template m"}, "rebase c t", headOf("c", 1), 4},
	"keep changes":        {[]string{"linked t c", "start c", "snapshot c s", "kill c", "template m"}, "keep c t", headOf("c", 2), 6},
	"undo rebase":         {[]string{"linked t c", "template m", "rebase c t"}, "undo c", headOf("c", 2), 4},
	"promote":             {[]string{"linked t c"}, "promote c", headOf("c", 1), 4},
	"promote running":     {[]string{"linked t c", "start c"}, "promote c", restsOnNothing("c"), 3},
	"compact":             {ownLayer, "compact c", restsOnBase("c"), 5},
	"compact running":     {append(ownLayer[:len(ownLayer):len(ownLayer)], "start c"), "compact c", restsOnBase("c"), 4},
	"warm":                {nil, "warm t", isWarm, 9},
	"warm again":          {[]string{"warm t"}, "warm t 128", warmWith(128 * clade.MiB), 9},
	"cool":                {[]string{"warm t"}, "cool t", func(h *host.Host) bool { return !isWarm(h) }, 2},
	"instant clone":       {[]string{"warm t"}, "instant t c", hasMachine("c"), 6},
	"wake":                {[]string{"warm t", "instant t c", "kill c", "reset c"}, "start c", isAwake("c"), 3},
	"remove machine":      {[]string{"linked t c"}, "rm c", lacksMachine("c"), 2},
	"export":              {nil, "export t DIR/file", hasFile("file"), 2},
	"import":              {[]string{"start m", "kill m", "template m", "export t DIR/file", "untemplate t", "untemplate t", "rm m"}, "import t DIR/file", hasTemplates(1), 7},
	"import again":        {[]string{"export t DIR/file", "untemplate t", "rm m", "failing t DIR/file"}, "import t DIR/file", hasTemplates(1), 7},
	"pool":                {nil, "pool p reset", hasPool(true), 1},
	"pool's machine":      {[]string{"pool p reset"}, "reconcile p", hasMachine("p-1"), 6},
	"claim":               {[]string{"pool p reset", "settle p"}, "claim p anna", hasClaims(1), 1},
	"release":             {[]string{"pool p reset", "settle p", "claim p anna"}, "release p anna", hasClaims(0), 1},
	"reset of released":   {[]string{"pool p reset", "settle p", "claim p anna", "release p anna"}, "reconcile p", lacksPhase(clade.Resetting), 7},
	"replace released":    {[]string{"pool p recreate", "settle p", "claim p anna", "release p anna"}, "reconcile p", lacksPhase(clade.Leaving), 8},
	"instant pool":        {[]string{"warm t", "pool p reset instant"}, "reconcile p", hasMachine("p-1"), 7},
	"reset of instant":    {[]string{"warm t", "pool p reset instant", "settle p", "claim p anna", "release p anna"}, "reconcile p", lacksPhase(clade.Resetting), 9},
	"wake of ended":       {[]string{"warm t", "pool p recreate instant", "settle p", "kill p-1"}, "reconcile p", isAwake("p-1"), 9},
	"update of free":      {[]string{"pool p reset", "settle p", "template m", "update p 2"}, "reconcile p", outdated(0), 9},
	"update of claimed":   {[]string{"pool p reset", "settle p", "template m", "claim p anna", "update p 2"}, "reconcile p", outdated(0), 7},
	"remove pool":         {[]string{"pool p reset", "settle p"}, "unpool p", hasPool(false), 4},
	"remove template":     {[]string{"rm m"}, "untemplate t", hasTemplates(0), 3},
}

// TestKilledAfterEachStep kills a command after its first step, its second, and
// so on until it comes through, each time in a new home. Whatever the step, the
// next command must find a clean home in which the act happened or did not.
func TestKilledAfterEachStep(t *testing.T) {
	for name, test := range deeds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for step := 1; ; step++ {
				if killed(t, test.before, test.act, test.happen, step) {
					continue
				}
				if step <= test.least {
					t.Errorf("the act came through after %d steps, want at least %d to be killed at", step-1, test.least)
				}
				return
			}
		})
	}
}

// killed runs act in a process that dies after step, and checks what is found.
// It returns false when the act had fewer steps.
func killed(t *testing.T, before []string, act string, happened func(*host.Host) bool, step int) bool {
	t.Helper()
	h, dir := home(t)
	for _, b := range before {
		must(t, h, strings.ReplaceAll(b, "DIR", dir))
	}
	act = strings.ReplaceAll(act, "DIR", dir)
	bottom := digests(t, h)
	source := strings.Fields(act)[1]
	cmd := exec.Command(os.Args[0], "child", dir, act, strconv.Itoa(step))
	out, err := cmd.CombinedOutput()
	exit, _ := errors.AsType[*exec.ExitError](err)
	died := exit != nil && exit.Sys().(syscall.WaitStatus).Signaled()
	if err != nil && !died {
		t.Fatalf("step %d: %s: %v\n%s", step, act, err, out)
	}
	if !died && !happened(h) {
		t.Errorf("%s came through but did not happen", act)
	}
	next := open(t, dir)
	after := happened(next)
	must(t, next, "build next") // any next command cleans up
	held, _ := next.Claims(t.Context(), "")
	if strings.HasSuffix(act, " p") && act != "unpool p" {
		must(t, next, "settle p") // the next controller ends what this one began
		if now, _ := next.Claims(t.Context(), ""); len(now) != len(held) {
			t.Errorf("step %d: %s: %d claims before, %d after", step, act, len(held), len(now))
		}
	}
	if got := happened(next); got != after && !strings.HasPrefix(act, "reconcile") {
		t.Errorf("step %d: %s: happened = %v before the next command, %v after", step, act, after, got)
	}
	clean(t, next, dir)
	if _, err := next.Collect(t.Context(), false); err != nil {
		t.Error(err)
	}
	if left := list(t, dir, "arrived"); len(left) != 0 {
		t.Errorf("step %d: %s: after gc layers are kept for the next try: %v", step, act, left)
	}
	whole(t, next, dir)
	for id, digest := range digests(t, next) {
		if was, is := bottom[id], digest; was != "" && was != is {
			t.Errorf("step %d: %s: layer %s changed", step, act, id)
		}
	}
	if strings.HasPrefix(act, "template") || strings.HasPrefix(act, "adopt") || strings.HasPrefix(act, "carry") {
		must(t, next, "kill "+source)
		must(t, next, "start "+source) // its source goes on
	}
	return died
}

// ownLayer gives c a layer that nobody else needs.
var ownLayer = []string{"linked t c", "start c", "snapshot c s", "kill c", "unsnapshot c s"}

// headSays tells what a machine's first head says it rests on: the fact that a record
// follows, where a running machine copies it from below.
func headSays(h *host.Host, name clade.Name) string {
	m := recordOf(h, name)
	if m == nil {
		return "no machine"
	}
	below, _, err := qcow2.Backing(filepath.Join(h.Dir, "machines", m.ID, m.Heads[0]))
	if err != nil {
		return err.Error()
	}
	return below
}

func restsOnNothing(name clade.Name) func(*host.Host) bool {
	return func(h *host.Host) bool { return headSays(h, name) == "" }
}

// restsOnBase tells whether nothing lies between a machine and what it was made on.
func restsOnBase(name clade.Name) func(*host.Host) bool {
	return func(h *host.Host) bool {
		m := recordOf(h, name)
		return m != nil && headSays(h, name) == "../../layers/"+m.Disks[0].Base+"/layer.qcow2"
	}
}

// recordOf is what the home's database says of a machine; nil for nothing.
func recordOf(h *host.Host, name clade.Name) (m *store.Machine) {
	db, err := store.Open(ctx, filepath.Join(h.Dir, "clade.db"))
	if err != nil {
		return nil
	}
	defer db.Close()
	_ = db.Read(ctx, func(tx *store.Tx) (err error) {
		m, err = tx.Machine(name)
		return err
	})
	return m
}

func digests(t *testing.T, h *host.Host) map[string]string {
	t.Helper()
	l, err := h.Lineage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for _, layer := range l.Layers {
		sums[layer.ID] = layer.Digest
	}
	return sums
}

// clean checks that the home holds what its records say and nothing else, and
// that every layer is sealed and intact.
func clean(t *testing.T, h *host.Host, dir string) {
	t.Helper()
	l, err := h.Lineage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := list(t, dir, "tmp"); len(got) != 0 {
		t.Errorf("tmp holds %v, want nothing", got)
	}
	var layers, machines []string
	for _, layer := range l.Layers {
		layers = append(layers, layer.ID)
		rests(t, filepath.Join(dir, "layers", layer.ID, "layer.qcow2"), layer.Parent)
		if !layer.Sealed {
			t.Errorf("layer %s is not sealed", layer.ID)
		}
	}
	for _, m := range l.Machines {
		machines = append(machines, m.ID)
		heads, _ := filepath.Glob(filepath.Join(dir, "machines", m.ID, "disk*"))
		if len(heads) != len(m.Disks) {
			t.Errorf("machine %s has the files %v for %d disks", m.Name, heads, len(m.Disks))
		}
		for _, head := range heads {
			var slot, generation int
			_, _ = fmt.Sscanf(filepath.Base(head), "disk%d-%d", &slot, &generation)
			rests(t, head, m.Disks[slot].Layer)
		}
	}
	slices.Sort(layers)
	slices.Sort(machines)
	if got := list(t, dir, "layers"); !slices.Equal(got, layers) {
		t.Errorf("layers holds %v, records say %v", got, layers)
	}
	var warm []string
	for _, w := range l.Warm {
		warm = append(warm, w.ID)
	}
	slices.Sort(warm)
	if got := list(t, dir, "warm"); !slices.Equal(got, warm) {
		t.Errorf("warm holds %v, records say %v", got, warm)
	}
	if got := list(t, dir, "machines"); !slices.Equal(got, machines) {
		t.Errorf("machines holds %v, records say %v", got, machines)
	}
	if verdicts, err := h.Verify(t.Context(), clade.VerifySpec{}, nil); err != nil {
		t.Errorf("Verify = %v, %v", verdicts, err)
	}
}

// rests checks that the image at path names the file of the layer it rests on, so
// that whoever opens the path finds it.
func rests(t *testing.T, path, layer string) {
	t.Helper()
	backing, _, err := qcow2.Backing(path)
	if err != nil {
		t.Error(err)
	}
	if layer == "" && backing == "" {
		return
	}
	file := filepath.Join(filepath.Dir(path), backing)
	if _, err := os.Stat(file); err != nil || filepath.Base(filepath.Dir(file)) != layer {
		t.Errorf("%s rests on %q, which leads to %s (%v); its record says layer %s", path, backing, file, err, layer)
	}
}

func list(t *testing.T, dir, sub string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, sub))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func hasFile(name string) func(*host.Host) bool {
	return func(h *host.Host) bool {
		_, err := os.Stat(filepath.Join(h.Dir, name))
		return err == nil
	}
}

func hasMachine(name clade.Name) func(*host.Host) bool {
	return func(h *host.Host) bool {
		_, err := h.Machine(ctx, name)
		return err == nil
	}
}

func lacksMachine(name clade.Name) func(*host.Host) bool {
	return func(h *host.Host) bool { return !hasMachine(name)(h) }
}

func hasTemplates(n int) func(*host.Host) bool {
	return func(h *host.Host) bool {
		list, err := h.Templates(ctx)
		return err == nil && len(list) == n
	}
}

func runs(name clade.Name) func(*host.Host) bool {
	return func(h *host.Host) bool {
		m, err := h.Machine(ctx, name)
		return err == nil && m.State == clade.Running
	}
}

// headOf tells whether the machine's record names the nth head of its first disk.
func headOf(name clade.Name, n int) func(*host.Host) bool {
	return func(h *host.Host) bool {
		m := recordOf(h, name)
		return m != nil && m.Heads[0] == fmt.Sprintf("disk0-%d.qcow2", n)
	}
}

func isAwake(name clade.Name) func(*host.Host) bool {
	return func(h *host.Host) bool {
		m, err := h.Machine(ctx, name)
		return err == nil && m.State == clade.Running && !m.Asleep
	}
}

func isWarm(h *host.Host) bool {
	t, err := h.Template(ctx, clade.Ref{Name: "t"})
	return err == nil && t.Warm != nil
}

// warmWith tells whether what the template keeps has so much memory.
func warmWith(memory clade.Bytes) func(*host.Host) bool {
	return func(h *host.Host) bool {
		t, err := h.Template(ctx, clade.Ref{Name: "t"})
		return err == nil && t.Warm != nil && t.Warm.Hardware.Memory == memory
	}
}

func hasSnapshots(n int) func(*host.Host) bool {
	return func(h *host.Host) bool {
		list, err := h.Snapshots(ctx, "")
		return err == nil && len(list) == n
	}
}

func hasPool(has bool) func(*host.Host) bool {
	return func(h *host.Host) bool {
		_, err := h.Pool(ctx, "p")
		return (err == nil) == has
	}
}

func hasClaims(n int) func(*host.Host) bool {
	return func(h *host.Host) bool {
		list, err := h.Claims(ctx, "p")
		return err == nil && len(list) == n
	}
}

// lacksPhase tells whether no member of the pool is in that phase.
func lacksPhase(phase clade.Phase) func(*host.Host) bool {
	return func(h *host.Host) bool {
		p, err := h.Pool(ctx, "p")
		return err == nil && !slices.ContainsFunc(p.Members, func(m clade.Member) bool { return m.Phase == phase })
	}
}

func outdated(n int) func(*host.Host) bool {
	return func(h *host.Host) bool {
		p, err := h.Pool(ctx, "p")
		return err == nil && p.Outdated == n
	}
}
