//go:build integration

package qcow2

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// tool runs one of QEMU's tools and fails the test unless it ends well.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: apt-get install qemu-utils", err)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "verification failed") {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestQEMUChecksClean(t *testing.T) {
	for _, size := range []clade.Bytes{512, clade.MiB, 20 * clade.GiB, 2*clade.TiB - 512, 8 * clade.TiB, MaxVirtual} {
		for _, o := range []Overlay{{}, {PlainL2: true}, {ClusterBits: 14}, {ClusterBits: 16, PlainL2: true}, {ClusterBits: 21}} {
			o.Virtual = size
			path := filepath.Join(t.TempDir(), "o.qcow2")
			if err := WriteOverlay(path, o); err != nil {
				t.Fatal(err)
			}
			if out := tool(t, "qemu-img", "check", "-f", "qcow2", path); !strings.Contains(out, "No errors were found") {
				t.Errorf("%+v: qemu-img check says %s", o, out)
			}
			end := fmt.Sprint(int64(size) - 512)
			tool(t, "qemu-io", "-f", "qcow2", "-c", "write -P 7 0 512", "-c", "write -P 8 "+end+" 512",
				"-c", "read -P 8 "+end+" 512", path)
			if out := tool(t, "qemu-img", "check", "-f", "qcow2", path); !strings.Contains(out, "No errors were found") {
				t.Errorf("%+v: after writing, qemu-img check says %s", o, out)
			}
		}
	}
}

func TestQEMUWorksThroughOverlay(t *testing.T) {
	dir := t.TempDir()
	base, over, want := filepath.Join(dir, "base.qcow2"), filepath.Join(dir, "over.qcow2"), filepath.Join(dir, "want.raw")
	tool(t, "qemu-img", "create", "-q", "-f", "qcow2", base, "64M")
	tool(t, "qemu-io", "-f", "qcow2", "-c", "write -P 1 0 3M", "-c", "write -P 2 63M 1M", base)
	if err := WriteOverlay(over, Overlay{Virtual: 64 * clade.MiB, Backing: "base.qcow2", BackingFormat: "qcow2"}); err != nil {
		t.Fatal(err)
	}
	tool(t, "qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", base, over)
	if out := tool(t, "qemu-img", "info", "-f", "qcow2", over); !strings.Contains(out, "backing file format: qcow2") ||
		!strings.Contains(out, "extended l2: true") || !strings.Contains(out, "cluster_size: 131072") {
		t.Errorf("qemu-img info says\n%s", out)
	}
	tool(t, "qemu-io", "-f", "qcow2", "-c", "write -P 3 1M 4k", "-c", "write -z 2M 8k", "-c", "write -P 4 32M 9M",
		"-c", "read -P 1 0 1M", "-c", "read -P 2 63M 1M", "-c", "flush", over)
	tool(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", over, want)
	tool(t, "qemu-img", "commit", "-q", "-f", "qcow2", over)
	tool(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", base, want)
	for _, path := range []string{base, over} {
		if out := tool(t, "qemu-img", "check", "-f", "qcow2", path); !strings.Contains(out, "No errors were found") {
			t.Errorf("%s: qemu-img check says %s", path, out)
		}
	}
}

// TestInspectAgreesWithQEMU reads what qemu-img itself writes.
func TestInspectAgreesWithQEMU(t *testing.T) {
	for options, want := range map[string]Info{
		"compat=0.10":                           {Version: 2, ClusterBits: 16},
		"compat=1.1,cluster_size=512":           {Version: 3, ClusterBits: 9},
		"extended_l2=on,cluster_size=128k":      {Version: 3, ClusterBits: 17, ExtendedL2: true},
		"compression_type=zstd":                 {Version: 3, ClusterBits: 16},
		"lazy_refcounts=on":                     {Version: 3, ClusterBits: 16},
		"data_file=DIR/data.raw":                {Version: 3, ClusterBits: 16, External: true, DataFile: "DIR/data.raw"},
		"backing_file=DIR/base,backing_fmt=raw": {Version: 3, ClusterBits: 16, Backing: "DIR/base", BackingFormat: "raw"},
	} {
		dir := t.TempDir()
		place := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
		tool(t, "qemu-img", "create", "-q", "-f", "raw", place("DIR/base"), "1G")
		path := filepath.Join(dir, "image.qcow2")
		tool(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", place(options), path, "1G")
		want.Virtual, want.DataFile, want.Backing = clade.GiB, place(want.DataFile), place(want.Backing)
		got, err := InspectFile(path)
		if err != nil || *got != want {
			t.Errorf("%s: InspectFile = %+v, %v, want %+v", options, got, err, want)
		}
		if safe := got.Safe(); (safe == nil) != (want.Backing == "" && want.DataFile == "") {
			t.Errorf("%s: Safe() = %v", options, safe)
		}
	}
}
