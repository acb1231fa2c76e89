//go:build integration

package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
)

// measured runs one command and says how long it took, how much of the processors'
// time it and its children used, and the most memory one of them had at once.
func measured(b *testing.B, name string, args ...string) (took, cpu time.Duration, memory clade.Bytes) {
	b.Helper()
	began := time.Now()
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	took = time.Since(began)
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), clade.Bytes(usage.Maxrss) * clade.KiB
}

// A contest is one way of making a machine independent of its layers, or a copy of
// it, against those that others have; all on the disk when they end.
type contest struct {
	ours, convert, cp []time.Duration
	memory            clade.Bytes
}

// rivals copies what a machine reads: qemu-img into one image, cp the files as they are.
func (c *contest) rivals(b *testing.B, head string, chain ...string) {
	dir := b.TempDir()
	out := filepath.Join(dir, "converted")
	tool(b, "sync", "-f", dir)
	began := time.Now()
	tool(b, "qemu-img", "convert", "-W", "-m", "16", "-O", "qcow2", head, out)
	tool(b, "sync", out)
	c.convert = append(c.convert, time.Since(began))
	tool(b, "rm", out)
	tool(b, "sync", "-f", dir)
	began = time.Now()
	for i, file := range append([]string{head}, chain...) {
		out := filepath.Join(dir, fmt.Sprint("copy", i))
		tool(b, "cp", "--sparse=always", file, out)
		tool(b, "sync", out)
	}
	c.cp = append(c.cp, time.Since(began))
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
}

func (c *contest) report(b *testing.B) {
	for _, times := range [][]time.Duration{c.ours, c.convert, c.cp} {
		slices.Sort(times)
	}
	ours := median(c.ours).Seconds()
	b.ReportMetric(ours*1e3, "clade-ms")
	b.ReportMetric(median(c.convert).Seconds()*1e3, "convert-ms")
	b.ReportMetric(median(c.cp).Seconds()*1e3, "cp-ms")
	b.ReportMetric(median(c.convert).Seconds()/ours, "times-convert")
	b.ReportMetric(median(c.cp).Seconds()/ours, "times-cp")
	b.ReportMetric(float64(c.memory)/float64(clade.MiB), "peak-MiB")
	if c.memory > 100*clade.MiB {
		b.Errorf("a process had %v of memory, want 100 MiB at most", c.memory)
	}
}

func (h *homeful) measured(args ...string) (took, cpu time.Duration, memory clade.Bytes) {
	h.Helper()
	return measured(h.B, h.clade, append([]string{"--home", h.dir, "-q"}, args...)...)
}

// head is the only file of a machine's disk.
func (h *homeful) head(name string) string {
	h.Helper()
	out, err := exec.Command(h.clade, "--home", h.dir, "show", name, "--json").Output()
	if err != nil {
		h.Fatal(err)
	}
	var m clade.Machine
	if err := json.Unmarshal(out, &m); err != nil {
		h.Fatal(err)
	}
	files := must(filepath.Glob(filepath.Join(h.dir, "machines", m.ID, "disk*")))
	if len(files) != 1 {
		h.Fatalf("machine %s has the heads %v", name, files)
	}
	return files[0]
}

// BenchmarkPromote makes a linked clone that has written 64 MiB full.
func BenchmarkPromote(b *testing.B) {
	h := newHome(b)
	layers := must(filepath.Glob(filepath.Join(h.dir, "layers", "*", "*.qcow2")))
	var c contest
	for b.Loop() {
		h.run("clone", "t", "linked", "--accept-twins", "all")
		head := h.head("linked")
		tool(b, "qemu-io", "-f", "qcow2", "-c", "write -q -P 7 100M 64M", head)
		c.rivals(b, head, layers...)
		tool(b, "sync", "-f", h.dir)
		took, _, memory := h.measured("promote", "linked")
		c.ours, c.memory = append(c.ours, took), max(c.memory, memory)
		h.run("rm", "--yes", "linked")
	}
	c.report(b)
}

// BenchmarkFullCloneOfChain makes a full clone of a clone that has written 64 MiB.
func BenchmarkFullCloneOfChain(b *testing.B) {
	h := newHome(b)
	layers := must(filepath.Glob(filepath.Join(h.dir, "layers", "*", "*.qcow2")))
	h.run("clone", "t", "linked", "--accept-twins", "all")
	head := h.head("linked")
	tool(b, "qemu-io", "-f", "qcow2", "-c", "write -q -P 7 100M 64M", head)
	var c contest
	for b.Loop() {
		c.rivals(b, head, layers...)
		tool(b, "sync", "-f", h.dir)
		took, _, memory := h.measured("clone", "linked", "full", "--full", "--accept-twins", "all")
		c.ours, c.memory = append(c.ours, took), max(c.memory, memory)
		h.run("rm", "--yes", "full")
	}
	c.report(b)
}

// BenchmarkThousandClones makes 1,000 linked clones with one command.
func BenchmarkThousandClones(b *testing.B) {
	h := newHome(b)
	var times, cpus []time.Duration
	var memory clade.Bytes
	var bytes float64
	round := 0
	for b.Loop() {
		round++
		before := used(b, h.dir)
		took, cpu, peak := h.measured("clone", "t", "-n", "1000", "--name", fmt.Sprintf("r%d-{n}", round), "--accept-twins", "all")
		times, cpus, memory = append(times, took), append(cpus, cpu), max(memory, peak)
		bytes = max(bytes, float64(used(b, h.dir)-before))
	}
	slices.Sort(times)
	slices.Sort(cpus)
	b.ReportMetric(median(times).Seconds()*1e3, "ms")
	b.ReportMetric(median(cpus).Seconds()*1e3, "cpu-ms")
	b.ReportMetric(bytes/1e6, "MB")
	b.ReportMetric(float64(memory)/float64(clade.MiB), "peak-MiB")
	if bytes > 20e6 {
		b.Errorf("1,000 clones took %.1f MB, want 20 at most", bytes/1e6)
	}
}

// used is what a directory takes on the disk, as du counts it.
func used(b *testing.B, dir string) (sum clade.Bytes) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		n, sizeErr := image.Allocated(path)
		sum += n
		if err == nil {
			err = sizeErr
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return sum
}
