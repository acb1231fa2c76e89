//go:build integration

package host_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qcow2"
	"golang.org/x/sys/unix"
)

// A sequence that fails is printed with its seed, and done again by
//
//	go test -tags integration -run TestModel ./host -seed N -sequences 1
var (
	modelSeed      = flag.Uint64("seed", 1, "the seed of the first random sequence; each next one has the next number")
	modelSequences = flag.Int("sequences", 80, "how many random sequences are done")
	modelSteps     = flag.Int("steps", 30, "how many acts a sequence has")
)

// TestModel does random sequences of acts on real homes and on the model. After
// each act the machine it touched reads what the model says, and at the end of a
// sequence, and now and then in it, so does everything, every image is clean by
// qemu-img check, the accounts add up, and there is no garbage.
func TestModel(t *testing.T) {
	var next atomic.Uint64
	next.Store(*modelSeed)
	last := *modelSeed + uint64(*modelSequences)
	var acts atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		disk := newDrive(t)
		workers.Go(func() {
			for seed := next.Add(1) - 1; seed < last && !t.Failed(); seed = next.Add(1) - 1 {
				steps := numbersFor(seed, *modelSteps)
				done, err := sequence(t, disk, steps)
				acts.Add(int64(len(done)))
				if err != nil {
					t.Errorf("seed %d, %d steps: %v\nafter\n\t%s", seed, *modelSteps, err, strings.Join(shrunk(t, disk, steps[:len(done)]), "\n\t"))
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d acts in %d sequences from seed %d on", acts.Load(), *modelSequences, *modelSeed)
}

// shrunk leaves out of a failing sequence what it fails without.
func shrunk(t *testing.T, disk *drive, steps [][4]uint32) []string {
	for i := len(steps) - 2; i >= 0; i-- {
		fewer := slices.Delete(slices.Clone(steps), i, i+1)
		if done, err := sequence(t, disk, fewer); err != nil {
			steps = fewer[:len(done)]
			i = min(i, len(steps)-1)
		}
	}
	acts, err := sequence(t, disk, steps)
	return append(acts, fmt.Sprint(err))
}

// opening is what each sequence begins with, so that most acts can be done.
var opening = []string{"build m1 96", "write m1 3 20 7", "template m1 t:1", "write m1 0 30 8", "template m1 t:2", "linked t:1 c1 c2", "data t:1 c3"}

// sequence does one sequence in a new home. It returns the acts, the last of which
// is the one that failed.
func sequence(t *testing.T, disk *drive, steps [][4]uint32) (acts []string, err error) {
	r, err := newRig(t, disk)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, act := range opening {
		if err := r.step(act); err != nil {
			return []string{act}, err
		}
	}
	for i, numbers := range steps {
		act := choose(r.model, numbers)
		acts = append(acts, act)
		if err := r.step(act); err != nil {
			return acts, fmt.Errorf("%s: %w", act, err)
		}
		if i%10 == 9 || i == len(steps)-1 {
			if err := r.same(r.model); err != nil {
				return acts, err
			}
		}
	}
	return acts, nil
}

// A rig is a real home, a model of it, and QEMU's own eyes.
type rig struct {
	dir   string
	h     *host.Host
	disk  *drive
	model *world
	seen  map[string]string // what was read of files that have not changed since, by path, inode and times
	sums  map[string]string // the digests of layers by id
	looks int               // at the whole home: at every eighth, digests are taken
}

func newRig(t testing.TB, disk *drive) (*rig, error) {
	dir, err := os.MkdirTemp(scratch(t), "home")
	if err != nil {
		return nil, err
	}
	h, err := host.Open(t.Context(), attacked(dir))
	return &rig{dir: dir, h: h, disk: disk, model: newWorld(), seen: map[string]string{}, sums: map[string]string{}}, err
}

// rigged is a new rig that is closed with the test.
func rigged(t testing.TB, disk *drive) *rig {
	t.Helper()
	r, err := newRig(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// close ends all machines and removes the home.
func (r *rig) close() error {
	machines, err := r.h.Machines(ctx)
	for _, m := range machines {
		err = errors.Join(err, r.h.Kill(ctx, m.Name))
	}
	return errors.Join(err, r.h.Close(), os.RemoveAll(r.dir))
}

// step does one act on both sides, and looks at the machines it names.
func (r *rig) step(act string) error {
	want := r.model.apply(act)
	err := r.do(act)
	if got := clade.KindOf(err); got != want {
		return fmt.Errorf("its kind is %q, the model says %q: %w", got, want, err)
	}
	if err := r.learn(r.model); err != nil {
		return err
	}
	for _, word := range strings.Fields(act)[1:] {
		if m := r.model.machines[clade.Name(word)]; m != nil {
			if err := r.machineReads(clade.Name(word), m); err != nil {
				return err
			}
		}
	}
	return nil
}

// do does one act on the home. What a machine writes is QEMU's to write.
func (r *rig) do(act string) error {
	words := strings.Fields(act)
	disk, writes := map[string]int{"write": 0, "pour": 1}[words[0]]
	if !writes {
		return enact(ctx, r.h, act)
	}
	head, err := r.head(clade.Name(words[1]), disk)
	if err != nil {
		return err
	}
	block, count, value := numbers(words[2:])
	return r.disk.write(head, block, count, byte(value))
}

// machineReads checks what a machine's disks read.
func (r *rig) machineReads(name clade.Name, m *modelMachine) error {
	for i, want := range []content{m.disk, m.data} {
		if i == 1 && want == nil {
			continue
		}
		head, err := r.head(name, i)
		if err == nil {
			err = r.reads(head, want)
		}
		if err != nil {
			return fmt.Errorf("disk %d of machine %s: %w", i, name, err)
		}
	}
	return nil
}

// head is the file that a machine writes a disk to: of a running one, that which its
// hypervisor has; of another, the only one there is.
func (r *rig) head(name clade.Name, disk int) (string, error) {
	m, err := r.h.Machine(ctx, name)
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(r.dir, "machines", m.ID, fmt.Sprintf("disk%d-*.qcow2", disk)))
	if err == nil && len(files) != 1 {
		return "", fmt.Errorf("machine %s has the heads %v", name, files)
	}
	if err == nil && m.State == clade.Running {
		place := hypervisor.Place{Dir: filepath.Join(r.dir, "machines", m.ID), Run: filepath.Join(r.dir, "run", m.ID)}
		var all []string
		if all, err = r.h.Driver.(copying).Heads(ctx, place); err == nil && (len(all) <= disk || !strings.HasPrefix(all[disk], place.Dir)) {
			return "", fmt.Errorf("machine %s runs on %v", name, all)
		}
		if err == nil {
			files = all[disk:]
		}
	}
	if err != nil {
		return "", err
	}
	return files[0], nil
}

// same checks that the home is what a world says: machines, templates and
// snapshots, what each of them reads, and no file more.
func (r *rig) same(w *world) error {
	if err := r.learn(w); err != nil {
		return err
	}
	if err := r.alike(w); err != nil {
		return err
	}
	for name, m := range w.machines {
		if err := r.machineReads(name, m); err != nil {
			return err
		}
	}
	templates, err := r.h.Templates(ctx)
	if err != nil {
		return err
	}
	for _, t := range templates {
		if err := r.reads(r.layer(t.Disks[0].Layer), w.templates[t.Ref().String()].disk); err != nil {
			return fmt.Errorf("template %s: %w", t.Ref(), err)
		}
	}
	snapshots, err := r.h.Snapshots(ctx, "")
	if err != nil {
		return err
	}
	for _, s := range snapshots {
		if err := r.reads(r.layer(s.Disks[0].Layer), w.machines[s.Machine].kept[s.Name].disk); err != nil {
			return fmt.Errorf("snapshot %s of %s: %w", s.Name, s.Machine, err)
		}
	}
	return r.accounts()
}

// learn tells the model which machines rest on nothing since they were compacted:
// layers that only one machine needs are merged into its head, and the model has none.
func (r *rig) learn(w *world) error {
	machines, err := r.h.Machines(ctx)
	for _, is := range machines {
		if m := w.machines[is.Name]; m != nil && m.vague {
			m.rests = restsOnAny(is)
		}
	}
	return err
}

func restsOnAny(m *clade.Machine) bool {
	return slices.ContainsFunc(m.Disks, func(d clade.Disk) bool { return d.Layer != "" })
}

// alike compares all but the contents.
func (r *rig) alike(w *world) error {
	var got, want []string
	machines, err1 := r.h.Machines(ctx)
	for _, m := range machines {
		got = append(got, fmt.Sprintf("machine %s %s %v based=%v rests=%v %v", m.Name, m.State, m.Clone, m.Disks[0].Base != "", restsOnAny(m), m.Disks[0].Virtual))
	}
	templates, err2 := r.h.Templates(ctx)
	for _, t := range templates {
		got = append(got, fmt.Sprintf("template %s %v", t.Ref(), t.Generalized))
	}
	snapshots, err3 := r.h.Snapshots(ctx, "")
	for _, s := range snapshots {
		got = append(got, fmt.Sprintf("snapshot %s %s %s memory=%v", s.Machine, s.Name, s.Clone, s.Memory != nil))
	}
	for _, file := range listed(filepath.Join(r.dir, "cache")) {
		if strings.HasPrefix(file, "b") {
			got = append(got, "bundle "+file)
		}
	}
	for file := range w.bundles {
		want = append(want, "bundle "+file)
	}
	for name, m := range w.machines {
		state, size := clade.Stopped, clade.GiB
		if m.runs {
			state = clade.Running
		}
		if len(m.disk) > smallDisk*regionBlocks {
			size = 2 * clade.GiB
		}
		want = append(want, fmt.Sprintf("machine %s %s %v based=%v rests=%v %v", name, state, m.kind, m.based, m.rests, size))
		for kept, s := range m.kept {
			want = append(want, fmt.Sprintf("snapshot %s %s %s memory=%v", name, kept, s.kind, s.lives))
		}
	}
	for ref, t := range w.templates {
		want = append(want, fmt.Sprintf("template %s %v", ref, t.generalized))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the home has\n\t%s\nthe model says\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	return errors.Join(err1, err2, err3)
}

func (r *rig) layer(id string) string { return filepath.Join(r.dir, "layers", id, "layer.qcow2") }

// reads checks what an image reads, and that qemu-img finds no damage in it; once
// for each state of its file. What it rests on is proven by digests.
func (r *rig) reads(path string, want content) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	state := fmt.Sprint(path, st.Ino, st.Size, st.Mtim, st.Ctim)
	if r.seen[state] == string(want) {
		return nil
	}
	if err := errors.Join(r.disk.holds(path, want), check(path)); err != nil {
		return err
	}
	r.seen[state] = string(want)
	return nil
}

// accounts checks that files and records are each other's, that layers are sealed
// and what was sealed, and that what they are said to take is what they take.
func (r *rig) accounts() error {
	if garbage, err := r.h.Collect(ctx, true); err != nil || len(garbage) > 0 {
		return fmt.Errorf("garbage: %v, %w", garbage, err)
	}
	if r.looks++; r.looks%8 == 0 {
		if verdicts, err := r.h.Verify(ctx, clade.VerifySpec{}, nil); err != nil {
			return fmt.Errorf("verify: %v, %w", verdicts, err)
		}
	}
	lineage, err := r.h.Lineage(ctx)
	if err != nil {
		return err
	}
	var layers, machines, errs = []string{}, []string{}, []error{}
	for _, l := range lineage.Layers {
		layers = append(layers, l.ID)
		if !l.Sealed {
			errs = append(errs, fmt.Errorf("layer %s is not sealed", l.ID))
		}
		if was := r.sums[l.ID]; was != "" && was != l.Digest {
			errs = append(errs, fmt.Errorf("layer %s changed from %s to %s", l.ID, was, l.Digest))
		}
		r.sums[l.ID] = l.Digest
		var st unix.Stat_t
		err := unix.Stat(r.layer(l.ID), &st)
		if err != nil || st.Ino != l.Inode || st.Size != int64(l.Size) || st.Mtim.Nano() != l.Modified || st.Ctim.Nano() != l.Changed {
			errs = append(errs, fmt.Errorf("layer %s is not what was sealed (%w)", l.ID, err))
		}
		errs = append(errs, r.restsOn(r.layer(l.ID), l.Parent))
	}
	for _, m := range lineage.Machines {
		machines = append(machines, m.ID)
		files, _ := filepath.Glob(filepath.Join(r.dir, "machines", m.ID, "disk*.qcow2"))
		if len(files) != len(m.Disks) {
			errs = append(errs, fmt.Errorf("machine %s has the files %v", m.Name, files))
			continue
		}
		for i, d := range m.Disks {
			errs = append(errs, r.restsOn(files[i], d.Layer))
		}
	}
	for dir, want := range map[string][]string{"tmp": {}, "layers": layers, "machines": machines} {
		if got := listed(filepath.Join(r.dir, dir)); !equal(got, want) {
			errs = append(errs, fmt.Errorf("%s has %v, the records %v", dir, got, want))
		}
	}
	return errors.Join(append(errs, r.adds())...)
}

// adds compares the accounts with what the file system says of all files.
func (r *rig) adds() error {
	u, err := r.h.Usage(ctx)
	if err != nil {
		return err
	}
	var files, parts clade.Bytes
	seen := map[uint64]bool{}
	err = filepath.WalkDir(r.dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err = errors.Join(err, unix.Lstat(path, &st)); err == nil && !seen[st.Ino] {
			seen[st.Ino] = true
			files += clade.Bytes(st.Blocks * 512)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, part := range u.Parts {
		parts += part.Allocated
	}
	if u.Allocated != files || parts != files {
		return fmt.Errorf("the home is said to take %d bytes, its parts %d, its files take %d: %+v", u.Allocated, parts, files, u.Parts)
	}
	return nil
}

func (r *rig) restsOn(path, layer string) error {
	name, _, err := qcow2.Backing(path)
	want := ""
	if layer != "" {
		want = "../../layers/" + layer + "/layer.qcow2"
	}
	if err != nil || name != want {
		return fmt.Errorf("%s rests on %q, its record says %q (%w)", path, name, want, err)
	}
	return nil
}

func listed(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func equal(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
