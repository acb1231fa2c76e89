//go:build integration

package bundle

import (
	"bytes"
	"os"
	"os/exec"
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

// seal records an image that QEMU has written.
func (h *home) seal(l Layer) Layer {
	h.t.Helper()
	f, err := os.Open(h.path(l))
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	if l.Digest, l.Size, err = Sum(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
	if !l.Head {
		h.records[l.ID] = l.Record()
	}
	return l
}

// TestQEMUReadsWhatArrived sends a machine with a chain that QEMU wrote into another
// home, and reads it there through its backing names.
func TestQEMUReadsWhatArrived(t *testing.T) {
	from, to := newHome(t), newHome(t)
	base := Layer{ID: "aaaa234567", Virtual: 64 * clade.MiB}
	over := Layer{ID: "bbbb234567", Virtual: 64 * clade.MiB, Parent: base.ID}
	head := Layer{ID: headID(0), Virtual: 96 * clade.MiB, Parent: over.ID, Head: true}
	for _, step := range []struct {
		layer  Layer
		writes []string
	}{
		{base, []string{"write -P 1 0 20M", "write -P 2 63M 1M"}},
		{over, []string{"write -P 3 1M 300k", "write -z 10M 5M"}},
		{head, []string{"write -P 4 70M 9M", "discard 72M 4M", "write -P 5 0 512"}},
	} {
		from.make(step.layer, 0)
		args := []string{"-f", "qcow2", "-d", "unmap"}
		for _, w := range step.writes {
			args = append(args, "-c", w)
		}
		tool(t, "qemu-io", append(args, from.path(step.layer))...)
		step.layer = from.seal(step.layer)
		if step.layer.Head {
			head = step.layer
		}
	}
	m := OfMachine(&clade.Machine{Name: "web"})
	m.AddDisk(0, from.chain(over.ID), &head)
	var file bytes.Buffer
	if err := Write(t.Context(), &file, m, from.open, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(t, file.Bytes(), to.target()); err != nil {
		t.Fatal(err)
	}
	mustHold(t, to, from)
	for _, l := range m.Layers {
		if out := tool(t, "qemu-img", "check", "-f", "qcow2", to.path(l)); !strings.Contains(out, "No errors were found") {
			t.Errorf("layer %s: qemu-img check says %s", l.ID, out)
		}
		if got, was := allocated(t, to.path(l)), allocated(t, from.path(l)); got > was+64<<10 {
			t.Errorf("layer %s takes %d bytes, where it came from %d", l.ID, got, was)
		}
	}
	tool(t, "qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", from.path(head), to.path(head))
	tool(t, "qemu-io", "-f", "qcow2", "-r", "-c", "read -P 5 0 512", "-c", "read -P 3 1M 300k", "-c", "read -P 0 10M 5M",
		"-c", "read -P 2 63M 1M", "-c", "read -P 4 70M 2M", "-c", "read -P 0 72M 4M", to.path(head))
}
