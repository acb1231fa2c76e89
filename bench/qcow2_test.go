//go:build integration

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
)

// tool runs a program and fails the benchmark unless it ends well.
func tool(b *testing.B, name string, args ...string) {
	b.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v (apt-get install qemu-utils coreutils)\n%s", name, err, out)
	}
}

// A way makes what is measured, below a folder that is empty.
type way struct {
	name string
	do   func(dir string)
}

// compare runs both ways in turn, each from a settled disk, so that what else the
// computer does meets both. It reports the median times, their ratio (above 1
// ours is faster), and the space that each took for one of count files.
func compare(b *testing.B, count int, ours, theirs way) {
	var times [2][]time.Duration
	var bytes [2]clade.Bytes
	for b.Loop() {
		for i, w := range []way{ours, theirs} {
			dir, err := os.MkdirTemp(b.TempDir(), "")
			if err != nil {
				b.Fatal(err)
			}
			tool(b, "sync", "-f", dir)
			start := time.Now()
			w.do(dir)
			times[i] = append(times[i], time.Since(start))
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(files) != count {
				b.Fatalf("%s made %d files, want %d (%v)", w.name, len(files), count, err)
			}
			if bytes[i], err = image.Allocated(files[0]); err != nil {
				b.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				b.Fatal(err)
			}
		}
	}
	for i, w := range []way{ours, theirs} {
		slices.Sort(times[i])
		b.ReportMetric(median(times[i]).Seconds()*1e3/float64(count), w.name+"-ms/file")
		b.ReportMetric(float64(bytes[i])/float64(clade.KiB), w.name+"-KiB/file")
	}
	b.ReportMetric(median(times[1]).Seconds()/median(times[0]).Seconds(), "times-faster")
}

func median(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

// BenchmarkOverlays makes 1000 linked heads, by clade's writer and by the loop of
// qemu-img processes that everybody else runs.
func BenchmarkOverlays(b *testing.B) {
	const count = 1000
	base := filepath.Join(b.TempDir(), "base.qcow2")
	if err := qcow2.WriteOverlay(base, qcow2.Overlay{Virtual: 10 * clade.GiB}); err != nil {
		b.Fatal(err)
	}
	all := func(dir string, one func(path string)) {
		for i := range count {
			one(filepath.Join(dir, fmt.Sprintf("%d.qcow2", i)))
		}
	}
	compare(b, count,
		way{"clade", func(dir string) {
			t, err := qcow2.Overlay{Virtual: 10 * clade.GiB, Backing: base, BackingFormat: "qcow2"}.Render()
			if err != nil {
				b.Fatal(err)
			}
			all(dir, func(path string) {
				if err := t.Write(path); err != nil {
					b.Fatal(err)
				}
			})
		}},
		way{"qemu-img", func(dir string) {
			all(dir, func(path string) {
				tool(b, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", path)
			})
		}})
}

// fragmented makes a qcow2 image of about 500 MB of data with holes between.
func fragmented(b *testing.B) string {
	path := filepath.Join(b.TempDir(), "master.qcow2")
	if err := qcow2.WriteOverlay(path, qcow2.Overlay{Virtual: 4 * clade.GiB}); err != nil {
		b.Fatal(err)
	}
	var script strings.Builder
	for i, at := 0, 0; i < 400; i++ {
		length := (i*37%600 + 4) * 4096
		fmt.Fprintf(&script, "write -q -P %d %d %d\n", i%255+1, at, length)
		at += length + i*61%1000*4096
	}
	cmd := exec.Command("qemu-io", "-f", "qcow2", path)
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("qemu-io: %v (apt-get install qemu-utils)\n%s", err, out)
	}
	return path
}

// BenchmarkFullCopy copies a master's disk.
func BenchmarkFullCopy(b *testing.B) {
	src := fragmented(b)
	compare(b, 1,
		way{"clade", func(dir string) {
			if _, err := image.Copy(b.Context(), src, filepath.Join(dir, "copy"), nil); err != nil {
				b.Fatal(err)
			}
		}},
		way{"cp", func(dir string) { tool(b, "cp", "--sparse=always", src, filepath.Join(dir, "copy")) }})
}

// BenchmarkFlatten makes one file of a master and a small overlay on it.
func BenchmarkFlatten(b *testing.B) {
	src := fragmented(b)
	head := filepath.Join(filepath.Dir(src), "head.qcow2")
	if err := qcow2.WriteOverlay(head, qcow2.Overlay{Virtual: 4 * clade.GiB, Backing: src, BackingFormat: "qcow2"}); err != nil {
		b.Fatal(err)
	}
	tool(b, "qemu-io", "-f", "qcow2", "-c", "write -P 7 100M 5M", "-c", "write -P 8 1G 64k", head)
	compare(b, 1,
		way{"clade", func(dir string) {
			if _, err := image.Flatten(b.Context(), head, filepath.Join(dir, "copy"), nil); err != nil {
				b.Fatal(err)
			}
		}},
		way{"qemu-img", func(dir string) {
			tool(b, "qemu-img", "convert", "-W", "-m", "16", "-f", "qcow2", "-O", "qcow2",
				"-o", "cluster_size=128k,extended_l2=on", head, filepath.Join(dir, "copy"))
		}})
}
