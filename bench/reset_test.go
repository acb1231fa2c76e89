//go:build integration

package bench

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkReset brings a stopped clone that has written 64 MiB back to what it was
// made on, with one command.
func BenchmarkReset(b *testing.B) {
	h := newHome(b)
	h.run("clone", "t", "c", "--accept-twins", "all")
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		heads, err := filepath.Glob(filepath.Join(h.dir, "machines", "*", "disk0-*.qcow2"))
		if err != nil {
			b.Fatal(err)
		}
		for _, head := range heads {
			tool(b, "qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64M", head)
		}
		b.StartTimer()
		took = append(took, h.run("reset", "c"))
	}
	slices.Sort(took)
	b.ReportMetric(median(took).Seconds()*1e3, "ms/reset")
}
