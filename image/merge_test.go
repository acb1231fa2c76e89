//go:build integration

package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// TestMerge merges the images of a chain above each of them, and all of them: what is
// read is the same, and rests on what was asked for.
func TestMerge(t *testing.T) {
	dir, head := stack(t)
	for _, base := range []string{"", "a", "b", "c"} {
		dst := filepath.Join(dir, "dst-"+base)
		o := qcow2.Overlay{Virtual: 96 * clade.MiB}
		below := ""
		if base != "" {
			o.Backing, o.BackingFormat, below = base, "qcow2", filepath.Join(dir, base)
		}
		if err := qcow2.WriteOverlay(dst, o); err != nil {
			t.Fatal(err)
		}
		var last clade.Event
		if err := Merge(t.Context(), head, below, dst, func(e clade.Event) { last = e }); err != nil {
			t.Errorf("above %q: %v", base, err)
			continue
		}
		if !last.End {
			t.Errorf("above %q: the last event is %+v", base, last)
		}
		same(t, head, QCOW2, dst)
		is, err := qcow2.InspectFile(dst)
		if err != nil || is.Backing != base || is.Virtual != 96*clade.MiB {
			t.Errorf("above %q: it is %+v, %v", base, is, err)
		}
		run(t, "qemu-img", "check", "-q", dst)
	}
}

// TestMergeGivesZeroesBack: what was written once and is zeroes, discarded or written
// over by now takes no room.
func TestMergeGivesZeroesBack(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, l := range [][2]string{{"a", ""}, {"b", "a"}, {"c", "b"}} {
		o := qcow2.Overlay{Virtual: 64 * clade.MiB}
		if l[1] != "" {
			o.Backing, o.BackingFormat = l[1], "qcow2"
		}
		if err := qcow2.WriteOverlay(at(l[0]), o); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "qemu-io", "-c", "write -P 1 0 8M", at("a"))
	run(t, "qemu-io", "-c", "write -P 2 0 24M", at("b"))
	run(t, "qemu-io", "-c", "write -P 0 0 16M", "-c", "discard 16M 4M", "-c", "write -P 3 20M 1M", at("c"))
	before, _ := Allocated(at("b"))
	if err := qcow2.WriteOverlay(at("dst"), qcow2.Overlay{Virtual: 64 * clade.MiB, Backing: "a", BackingFormat: "qcow2"}); err != nil {
		t.Fatal(err)
	}
	if err := Merge(t.Context(), at("c"), at("a"), at("dst"), nil); err != nil {
		t.Fatal(err)
	}
	same(t, at("c"), QCOW2, at("dst"))
	// 4 MiB of it are not zeroes: 20 to 24 MiB.
	if after, err := Allocated(at("dst")); err != nil || after > 5*clade.MiB || before < 24*clade.MiB {
		t.Errorf("it takes %v (%v), where b took %v; want 4 MiB and tables", after, err, before)
	}
}

func TestMergeRefuses(t *testing.T) {
	dir, head := stack(t)
	other := disk(t)
	for about, base := range map[string]string{"a stranger": other, "itself": head, "nothing": filepath.Join(dir, "none")} {
		dst := filepath.Join(t.TempDir(), "dst")
		if err := qcow2.WriteOverlay(dst, qcow2.Overlay{Virtual: 96 * clade.MiB}); err != nil {
			t.Fatal(err)
		}
		if err := Merge(t.Context(), head, base, dst, nil); !errors.Is(err, clade.Invalid) && !errors.Is(err, clade.NotFound) {
			t.Errorf("above %s: error %v, want one of kind %q or %q", about, err, clade.Invalid, clade.NotFound)
		}
		if n, err := os.Stat(dst); err != nil || n.Size() > 1<<20 {
			t.Errorf("above %s: something was written", about)
		}
	}
}
