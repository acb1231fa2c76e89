//go:build integration

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// worked runs a program and returns what it took of the processors, with all it ran.
func worked(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v (apt-get install qemu-utils tar zstd)\n%s", name, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// BenchmarkMove exports a template of 470 MiB to a bundle and imports it in another
// home, against qemu-img convert and tar with zstd, and unpacking that. The numbers are
// of the processors' time: what else the computer does changes that least.
func BenchmarkMove(b *testing.B) {
	h := newHome(b)
	layers, err := filepath.Glob(filepath.Join(h.dir, "layers", "*", "*"))
	if err != nil || len(layers) != 1 {
		b.Fatalf("layers = %v, %v; want one", layers, err)
	}
	names := []string{"clade-export", "tar-export", "clade-import", "tar-import"}
	took := make([][]time.Duration, len(names))
	for b.Loop() {
		dir := b.TempDir()
		bundle, archive, unpacked := filepath.Join(dir, "t.clade"), filepath.Join(dir, "t.tar.zst"), filepath.Join(dir, "unpacked")
		if err := os.Mkdir(unpacked, 0o700); err != nil {
			b.Fatal(err)
		}
		export := worked(b, h.clade, "--home", h.dir, "-q", "export", "t", bundle)
		convert := worked(b, "qemu-img", "convert", "-O", "qcow2", layers[0], filepath.Join(dir, "t.qcow2"))
		pack := worked(b, "tar", "--zstd", "-C", dir, "-cf", archive, "t.qcow2")
		enter := worked(b, h.clade, "--home", filepath.Join(dir, "home"), "-q", "import", bundle, "--trust")
		unpack := worked(b, "tar", "--zstd", "-C", unpacked, "-xf", archive)
		for i, d := range []time.Duration{export, convert + pack, enter, unpack} {
			took[i] = append(took[i], d)
		}
	}
	for i, name := range names {
		slices.Sort(took[i])
		b.ReportMetric(median(took[i]).Seconds()*1e3, name+"-ms")
	}
}
