//go:build integration

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
)

// program builds clade as `make build` does.
func program(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "clade")
	cmd := exec.Command("go", "build", "-o", path, "../cmd/clade")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return path
}

// A homeful runs whole commands on a home with a master m and a template t:1.
type homeful struct {
	*testing.B
	clade, dir string
}

func newHome(b *testing.B) *homeful {
	h := &homeful{b, program(b), b.TempDir()}
	h.run("import", "m", fragmented(b))
	h.run("template", "create", "t", "--from", "m", "--skip-generalize")
	return h
}

func (h *homeful) run(args ...string) time.Duration {
	h.Helper()
	began := time.Now()
	tool(h.B, h.clade, append([]string{"--home", h.dir, "-q"}, args...)...)
	return time.Since(began)
}

// report gives the medians of both sides and their ratio; above 1 ours is faster.
func report(b *testing.B, count int, ours, theirs []time.Duration, other string) {
	slices.Sort(ours)
	slices.Sort(theirs)
	b.ReportMetric(median(ours).Seconds()*1e3/float64(count), "clade-ms/clone")
	b.ReportMetric(median(theirs).Seconds()*1e3/float64(count), other+"-ms/clone")
	b.ReportMetric(median(theirs).Seconds()/median(ours).Seconds(), "times-faster")
}

// BenchmarkLinkedClones makes 100 linked clones with one command, disks,
// identities and records, against a loop of qemu-img create that makes disks only.
func BenchmarkLinkedClones(b *testing.B) {
	const count = 100
	h := newHome(b)
	layers, err := filepath.Glob(filepath.Join(h.dir, "layers", "*", "*"))
	if err != nil || len(layers) != 1 {
		b.Fatalf("layers = %v, %v; want one", layers, err)
	}
	var ours, theirs []time.Duration
	round := 0
	for b.Loop() {
		round++
		tool(b, "sync", "-f", h.dir)
		ours = append(ours, h.run("clone", "t", "-n", fmt.Sprint(count), "--name", fmt.Sprintf("r%d-{n}", round), "--accept-twins", "all"))
		dir := b.TempDir()
		tool(b, "sync", "-f", dir)
		began := time.Now()
		for i := range count {
			tool(b, "qemu-img", "create", "-q", "-f", "qcow2", "-b", layers[0], "-F", "qcow2", filepath.Join(dir, fmt.Sprint(i)))
		}
		theirs = append(theirs, time.Since(began))
	}
	report(b, count, ours, theirs, "qemu-img")
	heads, err := filepath.Glob(filepath.Join(h.dir, "machines", "*", "disk*"))
	if err != nil || len(heads) < count {
		b.Fatalf("%d heads, %v", len(heads), err)
	}
	n, err := image.Allocated(heads[0])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n)/float64(clade.KiB), "clade-KiB/clone")
}

// BenchmarkFullClone makes a full clone of the master with one command, against cp.
func BenchmarkFullClone(b *testing.B) {
	h := newHome(b)
	h.run("import", "solid", fragmented(b))
	var head string
	for _, path := range must(filepath.Glob(filepath.Join(h.dir, "machines", "*", "disk*"))) {
		if n, _ := image.Allocated(path); n > 100*clade.MiB {
			head = path
		}
	}
	var ours, theirs []time.Duration
	round := 0
	for b.Loop() {
		round++
		name := fmt.Sprintf("full-%d", round)
		tool(b, "sync", "-f", h.dir)
		ours = append(ours, h.run("clone", "solid", name, "--full", "--accept-twins", "all"))
		h.run("rm", "--yes", name)
		copied := filepath.Join(b.TempDir(), "copy")
		tool(b, "sync", "-f", h.dir)
		began := time.Now()
		tool(b, "cp", "--sparse=always", head, copied)
		tool(b, "sync", copied) // a clone is on the disk when the command ends
		theirs = append(theirs, time.Since(began))
		if err := os.Remove(copied); err != nil {
			b.Fatal(err)
		}
	}
	report(b, 1, ours, theirs, "cp")
}

// BenchmarkList lists, draws and adds up homes with 1,000 and 10,000 machines, each
// with whole commands, and tells what they took by the clock and of the processors.
func BenchmarkList(b *testing.B) {
	for _, count := range []int{1000, 10000} {
		h := newHome(b)
		h.run("clone", "t", "-n", fmt.Sprint(count), "--name", "m-{n}", "--accept-twins", "all")
		for _, verb := range []string{"ls", "tree", "du"} {
			b.Run(fmt.Sprintf("%s-%d", verb, count), func(b *testing.B) {
				var times, worked []time.Duration
				for b.Loop() {
					cmd := exec.Command(h.clade, "--home", h.dir, verb)
					began := time.Now()
					if _, err := cmd.Output(); err != nil {
						b.Fatal(err)
					}
					times = append(times, time.Since(began))
					worked = append(worked, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
				}
				slices.Sort(times)
				slices.Sort(worked)
				b.ReportMetric(median(times).Seconds()*1e3, "median-ms")
				b.ReportMetric(median(worked).Seconds()*1e3, "processor-ms")
			})
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
