package host_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
)

// exported exports t:2, which rests on two layers, and returns the file.
func exported(t *testing.T) string {
	t.Helper()
	h, _ := home(t)
	file := filepath.Join(t.TempDir(), "t.clade")
	for _, act := range []string{"start m", "kill m", "template m", "export t " + file} {
		must(t, h, act)
	}
	return file
}

// cut returns a copy of a bundle that ends within its last layer.
func cut(t *testing.T, file string) string {
	t.Helper()
	short := filepath.Join(t.TempDir(), "short")
	if err := cutLastLayer(file, short); err != nil {
		t.Fatal(err)
	}
	return short
}

// cutLastLayer copies a bundle up to the last of its zstd frames.
func cutLastLayer(file, short string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(short, data[:bytes.LastIndex(data, []byte{0x28, 0xb5, 0x2f, 0xfd})+12], 0o600)
}

func take(t *testing.T, h *host.Host, file string) *clade.Carried {
	t.Helper()
	c, err := h.ImportBundle(ctx, file, clade.Arrival{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What an import that failed had brought need not come again.
func TestImportGoesOn(t *testing.T) {
	whole := exported(t)
	dir := t.TempDir()
	h := open(t, dir)
	if _, err := h.ImportBundle(ctx, cut(t, whole), clade.Arrival{}, nil); !errors.Is(err, clade.Corrupt) {
		t.Fatalf("a bundle that is cut off: %v, want kind %q", err, clade.Corrupt)
	}
	kept := list(t, dir, "arrived")
	if len(kept) != 1 {
		t.Fatalf("kept for the next try: %v, want all layers but the last", kept)
	}
	clean(t, h, dir)
	if garbage, err := h.Collect(ctx, true); err != nil || len(garbage) != len(kept) {
		t.Errorf("garbage is %v, %v; want what was kept", garbage, err)
	}
	must(t, h, "build other") // a sweep leaves it
	if c := take(t, h, whole); c.Resumed != len(kept) || c.Moved != c.Layers {
		t.Errorf("the next try brought %+v; want %d resumed", c, len(kept))
	}
	if left := list(t, dir, "arrived"); len(left) != 0 {
		t.Errorf("kept afterwards: %v", left)
	}
	clean(t, h, dir)
	must(t, h, "linked t c")
}

func TestWhatWasKeptIsProvenAgain(t *testing.T) {
	whole := exported(t)
	dir := t.TempDir()
	h := open(t, dir)
	if _, err := h.ImportBundle(ctx, cut(t, whole), clade.Arrival{}, nil); err == nil {
		t.Fatal("a bundle that is cut off was imported")
	}
	for _, id := range list(t, dir, "arrived") {
		path := filepath.Join(dir, "arrived", id)
		data := read(t, path)
		data[len(data)/2] ^= 1
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if c := take(t, h, whole); c.Resumed != 0 {
		t.Errorf("layers that had been changed were taken: %+v", c)
	}
	clean(t, h, dir)
}

// What nobody comes back for goes with gc, and by itself after a week.
func TestKeptLayersGo(t *testing.T) {
	whole := exported(t)
	for name, act := range map[string]func(h *host.Host, dir string) error{
		"gc": func(h *host.Host, _ string) error {
			_, err := h.Collect(ctx, false)
			return err
		},
		"a week": func(h *host.Host, dir string) error {
			old := time.Now().Add(-8 * 24 * time.Hour)
			for _, id := range list(t, dir, "arrived") {
				if err := os.Chtimes(filepath.Join(dir, "arrived", id), old, old); err != nil {
					return err
				}
			}
			return perform(ctx, h, "build next")
		},
	} {
		dir := t.TempDir()
		h := open(t, dir)
		if _, err := h.ImportBundle(ctx, cut(t, whole), clade.Arrival{}, nil); err == nil {
			t.Fatal("a bundle that is cut off was imported")
		}
		if len(list(t, dir, "arrived")) == 0 {
			t.Fatal("nothing was kept")
		}
		if err := act(h, dir); err != nil {
			t.Fatal(err)
		}
		if left := list(t, dir, "arrived"); len(left) != 0 {
			t.Errorf("%s: kept are %v", name, left)
		}
	}
}

// A bundle's word that its template is generalized is proven, or believed if that is said.
func TestAttestationsAreProven(t *testing.T) {
	from, _ := home(t)
	file := filepath.Join(t.TempDir(), "t.clade")
	must(t, from, "export t "+file)
	made, err := from.Template(ctx, clade.Ref{Name: "t"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	liar := openWith(t, dir, vm{marks: map[string]string{made.Disks[0].Layer: "0142cfcd8f3b451eb19bfadf88d46746"}})
	_, err = liar.ImportBundle(ctx, file, clade.Arrival{}, nil)
	if !errors.Is(err, clade.Unproven) || !strings.Contains(err.Error(), "machine-id is erased, and it is there: etc/machine-id") || !strings.Contains(clade.HintOf(err), "--trust") {
		t.Errorf("a template with a machine-id: %v, hint %q", err, clade.HintOf(err))
	}
	clean(t, liar, dir)
	if _, err := liar.ImportBundle(ctx, file, clade.Arrival{Trust: true}, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := liar.Template(ctx, made.Ref()); err != nil || got.Believed != "bundle t.clade" {
		t.Errorf("a template that is trusted: %+v, %v", got, err)
	}
	must(t, liar, "linked t c")

	honest := open(t, t.TempDir())
	take(t, honest, file)
	got, err := honest.Template(ctx, made.Ref())
	if err != nil || got.Believed != "" || !strings.Contains(string(got.Attestation), `"layers":["sha256:`) {
		t.Errorf("a template that was proven: %+v, %v", got, err)
	}
	must(t, honest, "linked t c")
}
