package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor/fake"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/recipe"
)

// TestMain lets the test binary be the processes that tests kill: it is run again
// as "child DIR ACT STEP", which does the act and dies by SIGKILL after the step.
func TestMain(m *testing.M) {
	if len(os.Args) > 4 && os.Args[1] == "child" {
		os.Exit(child(os.Args[2], os.Args[3], os.Args[4]))
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "as-") {
		os.Exit(otherwise(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

func child(dir, act, step string) int {
	kill, _ := strconv.Atoi(step)
	c, d := config(dir), fake.New()
	c.AfterStep = func(string) {
		if kill--; kill == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	d.Halfway = func() { c.AfterStep("a machine stands still") }
	c.Driver = bareStream{d}
	h, err := host.Open(context.Background(), c)
	if err == nil {
		err = errors.Join(perform(context.Background(), h, act), h.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// perform does one act, given as words, on a home.
func perform(ctx context.Context, h *host.Host, act string) error {
	words := strings.Fields(act)
	name := clade.Name(words[1])
	var err error
	switch words[0] {
	case "build":
		_, err = h.Build(ctx, clade.BuildSpec{Recipe: "debian-12", Name: name, Options: alone}, nil)
	case "template":
		_, err = h.CreateTemplate(ctx, clade.TemplateSpec{Ref: clade.Ref{Name: "t"}, Machine: name}, nil)
	case "carry":
		_, err = h.CreateTemplate(ctx, clade.TemplateSpec{Ref: clade.Ref{Name: "t"}, Machine: name, WithData: true}, nil)
	case "linked", "full", "adopt", "data":
		spec := clade.CloneSpec{Source: words[1], Names: []clade.Name{clade.Name(words[2])}, Kind: clade.Linked, Options: alone}
		if words[0] == "full" {
			spec.Kind, spec.AcceptTwins = clade.Full, []string{clade.AllMarks}
		}
		spec.Generalize = words[0] == "adopt"
		if words[0] == "data" {
			spec.DataDisks = []clade.DataDisk{{Size: clade.GiB}}
		}
		_, err = h.Clone(ctx, spec, nil)
	case "warm":
		spec := clade.WarmSpec{Template: clade.Ref{Name: name}, Hardware: clade.Hardware{Memory: 64 * clade.MiB}}
		if len(words) > 2 {
			spec.Hardware.Memory = 128 * clade.MiB
		}
		_, err = h.WarmTemplate(ctx, spec, nil)
	case "cool":
		_, err = h.RemoveWarm(ctx, clade.Ref{Name: name})
	case "instant":
		_, err = h.Clone(ctx, instant(clade.Name(words[2])), nil)
	case "start":
		err = h.Start(ctx, name, clade.StartOptions{}, nil)
	case "kill":
		err = h.Kill(ctx, name)
	case "generalize":
		_, err = h.Generalize(ctx, clade.GeneralizeSpec{Machine: name}, nil)
	case "mend":
		_, err = h.Mend(ctx, name, nil)
	case "snapshot":
		_, err = h.CreateSnapshot(ctx, clade.SnapshotSpec{Machine: name, Name: clade.Name(words[2])}, nil)
	case "memory":
		_, err = h.CreateSnapshot(ctx, clade.SnapshotSpec{Machine: name, Name: clade.Name(words[2]), Memory: true}, nil)
	case "restore":
		_, err = h.RestoreSnapshot(ctx, clade.RestoreSpec{Machine: name, Name: clade.Name(words[2]), DiskOnly: len(words) > 3}, nil)
	case "unsnapshot":
		_, err = h.RemoveSnapshot(ctx, name, clade.Name(words[2]))
	case "reset":
		_, err = h.Reset(ctx, name, nil)
	case "rebase":
		_, err = h.Rebase(ctx, clade.RebaseSpec{Machine: name, To: clade.Ref{Name: clade.Name(words[2])}}, nil)
	case "keep": // over to the newest version, and take the clone's side
		_, err = h.Rebase(ctx, clade.RebaseSpec{Machine: name, To: clade.Ref{Name: clade.Name(words[2])}, Keep: true, Conflicts: clade.CloneSide}, nil)
	case "undo":
		_, err = h.UndoRebase(ctx, name, nil)
	case "confirm":
		_, err = h.ConfirmRebase(ctx, name)
	case "export":
		_, err = h.Export(ctx, clade.ExportSpec{Source: words[1], File: words[2], AcceptTwins: words[3:]}, nil)
	case "import":
		_, err = h.ImportBundle(ctx, words[2], clade.Arrival{As: clade.Ref{Name: name}}, nil)
	case "failing": // an import of a bundle that lacks its end
		short := words[2] + ".short"
		if err := cutLastLayer(words[2], short); err != nil {
			return err
		}
		if _, err := h.ImportBundle(ctx, short, clade.Arrival{}, nil); err == nil {
			return errors.New("a bundle that is cut off was imported")
		}
		return nil
	case "repair": // NAME FROM
		_, err = h.Verify(ctx, clade.VerifySpec{Names: words[1:2], Repair: words[2]}, nil)
	case "verify":
		_, err = h.Verify(ctx, clade.VerifySpec{Names: words[1:2]}, nil)
	case "push": // NAME TO
		_, err = h.Push(ctx, clade.Ref{Name: name}, words[2], clade.RegistryOptions{}, nil)
	case "pull":
		_, err = h.Pull(ctx, words[1], clade.Arrival{}, clade.RegistryOptions{}, nil)
	case "take": // NAME FROM
		_, err = h.Import(ctx, clade.ImportSpec{Name: name, From: words[2], Options: alone}, nil)
	case "network":
		_, err = h.CreateNetwork(ctx, clade.NetworkSpec{Name: name})
	case "unnetwork":
		err = h.RemoveNetwork(ctx, name)
	case "compact":
		_, err = h.Compact(ctx, name, false, nil)
	case "promote":
		_, err = h.Promote(ctx, name, nil)
	case "rm":
		_, err = h.Remove(ctx, name)
	case "untemplate":
		_, err = h.RemoveTemplate(ctx, clade.Ref{Name: name})
	default:
		return performPool(ctx, h, act)
	}
	return err
}

// performPool does those acts that are of pools.
func performPool(ctx context.Context, h *host.Host, act string) (err error) {
	words := strings.Fields(act)
	name := clade.Name(words[1])
	switch words[0] {
	case "pool":
		spec := clade.PoolSpec{Name: name, Template: clade.Ref{Name: "t", Version: "1"}, Size: 1, Policy: clade.Policy(words[2]), Network: "none"}
		if len(words) > 3 {
			spec.Kind = clade.CloneKind(words[3])
		}
		_, err = h.CreatePool(ctx, spec)
	case "reconcile":
		_, err = h.Reconcile(ctx, name, nil)
	case "settle":
		for r := (&clade.Reconciliation{}); err == nil && !r.Settled; {
			r, err = h.Reconcile(ctx, name, nil)
		}
	case "claim":
		_, err = h.Claim(ctx, clade.ClaimSpec{Pool: name, Person: words[2]})
	case "release":
		_, err = h.Release(ctx, name, words[2])
	case "update":
		_, err = h.UpdatePool(ctx, clade.PoolUpdate{Pool: name, To: clade.Ref{Name: "t", Version: words[2]}, Deadline: 1})
	case "control":
		err = h.Control(ctx, nil)
	case "unpool":
		_, err = h.RemovePool(ctx, name, true, nil)
	default:
		err = fmt.Errorf("no such act: %s", act)
	}
	return err
}

var ctx = context.Background()

// alone keeps machines off networks, whose switches would need real machines.
var alone = clade.Options{Network: "none"}

// vm stands for the appliance: it proves whatever it is given, and finds the marks
// that a test planted in a file.
type vm struct {
	left  string              // the mark that it cannot erase
	clash int                 // conflicts that it finds
	marks map[string]string   // machine-ids by the directory or file of a disk
	asked *[][]appliance.Disk // what was to be read, where it is noted
	of    *identity.Extent    // and to what extent
}

func (v vm) Generalize(_ context.Context, disks []appliance.Disk, o appliance.Options, _ clade.Progress) (*generalize.Report, error) {
	for _, disk := range disks {
		if disk.Format != appliance.Qcow2 {
			continue
		}
		if name, _, err := qcow2.Backing(disk.Path); err != nil {
			return nil, err
		} else if name != "" {
			if _, err := os.Stat(filepath.Join(filepath.Dir(disk.Path), name)); err != nil {
				return nil, fmt.Errorf("what %s rests on cannot be found: %w", disk.Path, err)
			}
		}
	}
	marks, err := generalize.Select(o.Enable, o.Disable)
	if err != nil {
		return nil, err
	}
	if v.left != "" {
		return nil, &clade.Error{Op: "verify", On: "the marks", Kind: clade.Unproven, Err: errors.New(v.left + " is still there")}
	}
	r := &generalize.Report{Tool: "test", Verified: true}
	for _, m := range marks {
		r.Marks = append(r.Marks, generalize.Step{Mark: m.Name, Kind: m.Kind, Erased: true})
	}
	return r, nil
}

// carried is what Merge leaves in the heads that it fills.
const carried = "what the clone changed"

func (v vm) Merge(_ context.Context, t appliance.Trio, _ clade.Progress) (*clade.Merge, bool, error) {
	r := &clade.Merge{Conflict: v.clash}
	if v.clash > 0 {
		r.Took = t.Take
	}
	for _, disk := range slices.Concat(t.Old, t.Mine, t.Next) {
		name, _, err := qcow2.Backing(disk.Path)
		if err == nil && name != "" {
			_, err = os.Stat(filepath.Join(filepath.Dir(disk.Path), name))
		}
		if err != nil {
			return nil, false, err
		}
	}
	if !t.Apply || r.Open() {
		return r, false, nil
	}
	for _, disk := range t.Next {
		f, err := os.OpenFile(disk.Path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return nil, false, err
		}
		if _, err := f.WriteString(carried); err != nil {
			return nil, false, err
		}
		if err := f.Close(); err != nil {
			return nil, false, err
		}
	}
	return r, true, nil
}

func (v vm) Read(_ context.Context, machines [][]appliance.Disk, extent identity.Extent, _ clade.Progress) ([]appliance.Result, error) {
	if v.of != nil {
		*v.of = extent
	}
	if v.asked != nil {
		*v.asked = append(*v.asked, machines...)
	}
	results := make([]appliance.Result, len(machines))
	for i, disks := range machines {
		path := disks[0].Path
		id := v.marks[path]
		if id == "" {
			id = v.marks[filepath.Base(filepath.Dir(path))]
		}
		if id != "" {
			results[i].Findings = []identity.Finding{{Mark: "machine-id", Path: "etc/machine-id", Value: id}}
			if extent == identity.Outline { // residue is of no interest to the other tests
				results[i].Findings = append(results[i].Findings, identity.Finding{Mark: "logs", Path: "var/log"})
			}
		}
	}
	return results, nil
}

func config(dir string) host.Config {
	return host.Config{
		Dir: dir, Run: filepath.Join(dir, "run"), Cache: filepath.Join(dir, "cache"),
		Driver: bareStream{fake.New()}, Appliance: vm{},
		Accelerator: func(context.Context, clade.Progress) (string, error) { return "tcg", nil },
		BuildDisk: func(_ context.Context, _ *recipe.Recipe, dst string, _ clade.Progress) error {
			return qcow2.WriteOverlay(dst, qcow2.Overlay{Virtual: clade.GiB})
		},
		Self: []string{"/bin/false"},
	}
}

// home opens a new home with a master machine m; template t:1 is made from it.
func home(t *testing.T) (*host.Host, string) {
	t.Helper()
	dir := t.TempDir()
	h := open(t, dir)
	for _, act := range []string{"build m", "template m"} {
		must(t, h, act)
	}
	return h, dir
}

func open(t *testing.T, dir string) *host.Host {
	t.Helper()
	h, err := host.Open(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		machines, err := h.Machines(ctx)
		for _, m := range machines {
			err = errors.Join(err, h.Kill(ctx, m.Name))
		}
		if err = errors.Join(err, h.Close()); err != nil && !strings.Contains(err.Error(), "closed") {
			t.Error(err)
		}
	})
	return h
}

func must(t *testing.T, h *host.Host, act string) {
	t.Helper()
	if err := perform(t.Context(), h, act); err != nil {
		t.Fatalf("%s: %v", act, err)
	}
}

func contextWithSeconds(n int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(n)*time.Second)
}
