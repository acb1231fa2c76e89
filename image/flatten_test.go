//go:build integration

package image

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// stack makes a chain in a folder: a base of 64 MiB, an overlay that is larger and
// one that is smaller again, each with its own data, zeros and discards. All but
// the head are sealed.
func stack(t *testing.T) (dir, head string) {
	t.Helper()
	dir = t.TempDir()
	layer := func(name, below string, size clade.Bytes, writes ...string) {
		o := qcow2.Overlay{Virtual: size}
		if below != "" {
			o.Backing, o.BackingFormat = below, "qcow2"
		}
		if err := qcow2.WriteOverlay(filepath.Join(dir, name), o); err != nil {
			t.Fatal(err)
		}
		args := []string{"-f", "qcow2"}
		for _, w := range writes {
			args = append(args, "-c", w)
		}
		run(t, "qemu-io", append(args, filepath.Join(dir, name))...)
		if err := os.Chmod(filepath.Join(dir, name), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	layer("a", "", 64*clade.MiB, "write -P 1 0 8M", "write -P 1 32M 1M", "write -P 1 63M 1M")
	layer("b", "a", 128*clade.MiB, "write -P 2 1M 4k", "write -z 2M 128k", "write -P 0 3M 64k", "write -P 2 100M 1M")
	layer("c", "b", 32*clade.MiB, "write -P 3 1M 2k", "discard 4M 1M", "write -P 3 16M 12k")
	layer("d", "c", 96*clade.MiB, "write -P 4 5M 512", "write -P 4 80M 1M")
	return dir, filepath.Join(dir, "d")
}

func TestFlatten(t *testing.T) {
	dir, _ := stack(t)
	sums := func() (all [4][32]byte) {
		for i, name := range []string{"a", "b", "c", "d"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all[i] = sha256.Sum256(b)
		}
		return all
	}
	before := sums()
	for _, name := range []string{"a", "b", "c", "d"} {
		src, dst := filepath.Join(dir, name), filepath.Join(t.TempDir(), "dst")
		var last clade.Event
		if _, err := Flatten(t.Context(), src, dst, func(e clade.Event) { last = e }); err != nil {
			t.Errorf("Flatten(%s) error = %v", name, err)
			continue
		}
		if !last.End {
			t.Errorf("Flatten(%s): the last event is %+v", name, last)
		}
		same(t, src, QCOW2, dst)
		was, err := qcow2.InspectFile(src)
		if err != nil {
			t.Fatal(err)
		}
		if is, err := qcow2.InspectFile(dst); err != nil || is.Backing != "" || is.Virtual != was.Virtual {
			t.Errorf("Flatten(%s) = %+v, %v, want %v resting on nothing", name, is, err, was.Virtual)
		}
	}
	if sums() != before {
		t.Error("Flatten changed an image of the chain")
	}
}

func TestFlattenOnRaw(t *testing.T) {
	raw, dir := disk(t), t.TempDir()
	head, dst := filepath.Join(dir, "head"), filepath.Join(dir, "dst")
	if err := qcow2.WriteOverlay(head, qcow2.Overlay{Virtual: 64 * clade.MiB, Backing: raw, BackingFormat: "raw"}); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 9 2M 4k", head)
	if _, err := Flatten(t.Context(), head, dst, nil); err != nil {
		t.Fatal(err)
	}
	same(t, head, QCOW2, dst)
}

func TestFlattenRefuses(t *testing.T) {
	dir, _ := stack(t)
	write := func(name, backing, format string) string {
		path := filepath.Join(dir, name)
		if format != "" {
			if err := qcow2.WriteOverlay(path, qcow2.Overlay{Virtual: clade.MiB, Backing: backing, BackingFormat: format}); err != nil {
				t.Fatal(err)
			}
			return path
		}
		run(t, "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-o", "compat=1.1", "-b", backing, "-F", "vmdk", path, "1M")
		return path
	}
	for head, kind := range map[string]clade.Kind{
		write("circle", "circle", "qcow2"):      clade.Corrupt,
		write("orphan", "gone", "qcow2"):        clade.NotFound,
		write("foreign", "a", ""):               clade.Unsupported,
		write("mistaken", "/dev/null", "qcow2"): clade.Invalid,
		filepath.Join(dir, "none"):              clade.NotFound,
	} {
		dst := filepath.Join(dir, "dst")
		if _, err := Flatten(t.Context(), head, dst, nil); !errors.Is(err, kind) {
			t.Errorf("Flatten(%s) error = %v, want kind %q", filepath.Base(head), err, kind)
		}
		mustBeAbsent(t, dst)
	}
}

func TestFlattenOnFullDisk(t *testing.T) {
	_, head := stack(t)
	dst := filepath.Join(t.TempDir(), "dst")
	// The copy of the lowest image fits, what is written over it does not.
	limitFileSize(t, 11<<20)
	if _, err := Flatten(t.Context(), head, dst, nil); !errors.Is(err, clade.NoSpace) {
		t.Errorf("Flatten error = %v, want kind NoSpace", err)
	}
	mustBeAbsent(t, dst)
}
