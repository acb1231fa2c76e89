//go:build integration

package host_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/recipe"
)

// attacked is the configuration of homes that are compared with a model: masters
// of two sizes, an appliance that leaves its trace on the disk, and a driver that
// can promote a running machine.
func attacked(dir string) host.Config {
	c := config(dir)
	c.Driver, c.Appliance = copying{fake.New()}, eraser{}
	c.BuildDisk = func(_ context.Context, r *recipe.Recipe, dst string, _ clade.Progress) error {
		return qcow2.WriteOverlay(dst, qcow2.Overlay{Virtual: r.Size})
	}
	return c
}

// copying adds to the fake driver what QEMU's block-stream does, by qemu-img.
type copying struct{ *fake.Driver }

var _ hypervisor.Streamer = copying{}

func (d copying) Stream(ctx context.Context, p hypervisor.Place, onto []hypervisor.Rest, _ clade.Bytes, tell func(done, total int64)) error {
	heads, err := d.Heads(ctx, p)
	if err != nil {
		return err
	}
	for slot, rest := range onto {
		if rest.Below == 1 {
			continue
		}
		args := []string{"rebase", "-f", "qcow2", "-b", rest.Name, heads[slot]}
		if rest.Name != "" {
			args = append([]string{"rebase", "-F", "qcow2"}, args[1:]...)
		}
		rebase := exec.CommandContext(ctx, "qemu-img", args...)
		rebase.Stderr = os.Stderr // whoever waits for a killed command waits for this one too
		if err := rebase.Run(); err != nil {
			return err
		}
		tell(1, 1)
	}
	return nil
}

// eraser stands for the appliance: it erases the first block, and says so.
type eraser struct{ vm }

func (e eraser) Generalize(ctx context.Context, disks []appliance.Disk, o appliance.Options, p clade.Progress) (*generalize.Report, error) {
	for _, d := range disks {
		out, err := exec.CommandContext(ctx, "qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -P %d 0 %d", erased, blockSize), d.Path).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "wrote") {
			return nil, fmt.Errorf("qemu-io: %w: %s", err, out)
		}
	}
	return e.vm.Generalize(ctx, disks, o, p)
}

// Merge stands for the appliance too: it leaves a trace of what the clone changed.
func (e eraser) Merge(ctx context.Context, t appliance.Trio, p clade.Progress) (*clade.Merge, bool, error) {
	if t.Apply {
		out, err := exec.CommandContext(ctx, "qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -P %d %d %d", changed, blockSize, blockSize), t.Next[0].Path).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "wrote") {
			return nil, false, fmt.Errorf("qemu-io: %w: %s", err, out)
		}
	}
	return &clade.Merge{}, t.Apply, nil
}

// spare is a copy of a layer's file, beside the home, that a repair is done from.
const spare = "spare.qcow2"

// repair damages the layer that a machine rests on, as a disk does, and has it restored
// from a copy. Done again after a kill it goes on.
func repair(ctx context.Context, h *host.Host, name clade.Name) error {
	m, err := h.Machine(ctx, name)
	if err != nil || m.Disks[0].Layer == "" {
		return err
	}
	copied, path := filepath.Join(h.Cache, spare), filepath.Join(h.Dir, "layers", m.Disks[0].Layer, "layer.qcow2")
	if _, err := os.Stat(copied); err != nil {
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(copied+".part", text, 0o600)
		}
		if err := errors.Join(err, os.Rename(copied+".part", copied)); err != nil {
			return err
		}
		if err := overwrite(path, int64(len(text)/2)); err != nil {
			return err
		}
	}
	if _, err := h.Verify(ctx, clade.VerifySpec{Names: []string{string(name)}, Repair: copied}, nil); err != nil {
		return err
	}
	return os.Remove(copied)
}

func overwrite(path string, at int64) error {
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("damaged"), at)
	return errors.Join(err, f.Close(), os.Chmod(path, 0o444))
}

// enact does one act, given in the words of the model, on a home.
func enact(ctx context.Context, h *host.Host, act string) error {
	words := strings.Fields(act)
	name := clade.Name(words[1])
	clone := func(kind clade.CloneKind, generalize bool, twins ...string) error {
		spec := clade.CloneSpec{Source: words[1], Kind: kind, Generalize: generalize, AcceptTwins: twins, Options: alone}
		for _, name := range words[2:] {
			spec.Names = append(spec.Names, clade.Name(name))
		}
		_, err := h.Clone(ctx, spec, nil)
		return err
	}
	template := func(skip bool) error {
		ref, err := clade.ParseRef(words[2])
		if err == nil {
			_, err = h.CreateTemplate(ctx, clade.TemplateSpec{Ref: ref, Machine: name, SkipGeneralize: skip}, nil)
		}
		return err
	}
	var err error
	switch words[0] {
	case "build":
		size := clade.GiB
		if words[2] != fmt.Sprint(smallDisk*regionBlocks) {
			size = 2 * clade.GiB
		}
		_, err = h.Build(ctx, clade.BuildSpec{Recipe: "debian-12", Name: name, Size: size, Options: alone}, nil)
	case "linked":
		err = clone(clade.Linked, false)
	case "twins":
		err = clone(clade.Linked, false, clade.AllMarks)
	case "adopt":
		err = clone(clade.Linked, true)
	case "full":
		err = clone(clade.Full, false, clade.AllMarks)
	case "template":
		err = template(false)
	case "untested":
		err = template(true)
	case "untemplate":
		ref, _ := clade.ParseRef(words[1])
		_, err = h.RemoveTemplate(ctx, ref)
	case "rebase":
		ref, _ := clade.ParseRef(words[2])
		_, err = h.Rebase(ctx, clade.RebaseSpec{Machine: name, To: ref}, nil)
	case "carry":
		ref, _ := clade.ParseRef(words[2])
		_, err = h.Rebase(ctx, clade.RebaseSpec{Machine: name, To: ref, Keep: true}, nil)
	case "repair":
		err = repair(ctx, h, name)
	case "export":
		_, err = h.Export(ctx, clade.ExportSpec{Source: words[1], File: filepath.Join(h.Dir, "cache", words[2])}, nil)
	case "import":
		_, err = h.ImportBundle(ctx, filepath.Join(h.Dir, "cache", words[2]), clade.Arrival{As: clade.Ref{Name: name}, Trust: true}, nil)
	case "delete": // the user's act on a file, which may be gone
		_ = os.Remove(filepath.Join(h.Dir, "cache", words[1]))
	case "collect":
		_, err = h.Collect(ctx, false)
	case "verify":
		_, err = h.Verify(ctx, clade.VerifySpec{}, nil)
	default:
		err = perform(ctx, h, act)
	}
	return err
}

// choose returns an act that could be done in this world, mostly, by three random
// numbers: the same ones choose something else when the world is another.
func choose(w *world, r [4]uint32) string {
	pick := func(list []string, by uint32) string {
		if len(list) == 0 {
			return "nobody"
		}
		return list[int(by)%len(list)]
	}
	machines, templates := text(sorted(w.machines)), sorted(w.templates)
	m, t, c := pick(machines, r[1]), pick(templates, r[2]), fmt.Sprintf("c%d", r[3]%8)
	if len(machines) < 2 {
		return fmt.Sprintf("build m%d %d", r[3]%4, []int{smallDisk, largeDisk}[r[1]%2]*regionBlocks)
	}
	// Three times in four a machine with which the act goes well, if there is one.
	likely := func(fits func(m *modelMachine) bool) string {
		var list []string
		for _, name := range machines {
			if fits(w.machines[clade.Name(name)]) {
				list = append(list, name)
			}
		}
		if len(list) == 0 || r[2]%4 == 0 {
			return m
		}
		return pick(list, r[1])
	}
	runs := likely(func(m *modelMachine) bool { return m.runs })
	based := likely(func(m *modelMachine) bool { return m.based && !m.runs })
	moved := likely(func(m *modelMachine) bool { _, is := m.kept["before-rebase"]; return is && !m.runs })
	back := likely(func(m *modelMachine) bool { return len(m.kept) > 0 && !m.runs })
	rests := likely(func(m *modelMachine) bool { return m.rests })
	lasts := likely(func(m *modelMachine) bool { return m.data != nil })
	kept := []string{"none"}
	if machine := w.machines[clade.Name(back)]; machine != nil {
		kept = append(kept, text(sorted(machine.kept))...)
	}
	if proven := slices.DeleteFunc(slices.Clone(templates), func(t string) bool { return !w.templates[t].generalized }); len(proven) > 0 && r[3]%4 != 0 {
		t = pick(proven, r[2])
	}
	bundle := fmt.Sprintf("b%d.clade", r[3]%4)
	return pick([]string{
		writing(m, r), writing(m, r), writing(based, r), writing(m, r), writing(runs, r), writing(m, r),
		fmt.Sprintf("template %s t:%d", m, r[3]%5), fmt.Sprintf("template %s t:%d", m, r[3]%5), fmt.Sprintf("untested %s u:%d", m, r[3]%2),
		"linked " + t + " " + c, fmt.Sprintf("linked %s %s d%d e%d", t, c, r[3]%5, r[3]%7), "linked " + t + " " + c,
		"data " + t + " " + c, "data " + t + " " + c, pouring(w, lasts, r), pouring(w, lasts, r), "repair " + rests,
		"twins " + m + " " + c, "twins " + t + " " + c, "adopt " + m + " " + c, "full " + m + " " + c, "full " + t + " " + c,
		starting(m), starting(lasts), "kill " + runs, "kill " + m,
		fmt.Sprintf("snapshot %s s%d", m, r[3]%3), fmt.Sprintf("memory %s s%d", runs, r[3]%3), fmt.Sprintf("memory %s s%d", runs, r[3]%3),
		"restore " + back + " " + pick(kept, r[3]), "restore " + back + " " + pick(kept, r[3]), "unsnapshot " + back + " " + pick(kept, r[3]),
		"reset " + based, "reset " + lasts, "rebase " + based + " " + t, "rebase " + based + " " + t, "carry " + based + " " + t, "carry " + based + " " + t,
		"undo " + moved, "confirm " + moved,
		"promote " + rests, "promote " + m, "compact " + m, "compact " + lasts, "generalize " + m,
		exporting(w, m) + " " + bundle, "export " + t + " " + bundle, fmt.Sprintf("import i%d %s", r[2]%4, bundle), fmt.Sprintf("import i%d %s", r[2]%4, bundle),
		"rm " + m, "rm " + m, "untemplate " + t, "collect home", "verify home",
	}, r[0])
}

// starting starts machines that are on no network, whose switch would be another command.
func starting(m string) string {
	if strings.HasPrefix(m, "i") {
		return "kill " + m
	}
	return "start " + m
}

// exporting exports machines of which the model knows what an import goes back to, and
// without data disks, of which a bundle has what it is asked for.
func exporting(w *world, m string) string {
	if machine := w.machines[clade.Name(m)]; machine != nil && (machine.vague || machine.data != nil) {
		return "kill " + m
	}
	return "export " + m
}

func writing(m string, r [4]uint32) string {
	block := int(r[2]) % (smallDisk * regionBlocks)
	return fmt.Sprintf("write %s %d %d %d", m, block, 1+int(r[3])%min(12, smallDisk*regionBlocks-block), 1+r[3]%250)
}

// pouring writes to a machine's data disk, where it has one.
func pouring(w *world, m string, r [4]uint32) string {
	if machine := w.machines[clade.Name(m)]; machine == nil || machine.data == nil {
		return writing(m, r)
	}
	return strings.Replace(writing(m, r), "write", "pour", 1)
}

func text[T ~string](list []T) []string {
	words := make([]string, len(list))
	for i, word := range list {
		words[i] = string(word)
	}
	return words
}

// numbersFor are the random numbers of one sequence.
func numbersFor(seed uint64, steps int) [][4]uint32 {
	r := rand.New(rand.NewPCG(seed, 0xc1ade))
	list := make([][4]uint32, steps)
	for i := range list {
		list[i] = [4]uint32{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}
	}
	return list
}

// scratch makes a directory that goes with the test: in memory where there is one,
// since what is tested is order and content, and not the disk. TMPDIR decides
// where it is set.
func scratch(t testing.TB) string {
	t.Helper()
	if os.Getenv("TMPDIR") != "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "clade-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
