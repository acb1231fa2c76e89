package host_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/clade-vm/clade"
)

func TestBundles(t *testing.T) {
	h, _ := home(t)
	file := func(name string) string { return filepath.Join(t.TempDir(), name) }
	one, two, whole := file("one"), file("two"), file("whole")
	must(t, h, "export t "+one)
	for _, act := range []string{"start m", "kill m", "template m", "linked t c", "start c", "snapshot c s", "kill c"} {
		must(t, h, act)
	}
	must(t, h, "export t "+two)
	must(t, h, "export c "+whole)
	if err := perform(ctx, h, "export t "+two); !errors.Is(err, clade.Exists) {
		t.Errorf("onto a file: %v, want %v", err, clade.Exists)
	}

	dir := t.TempDir()
	other := open(t, dir)
	for _, test := range []struct {
		file  string
		as    clade.Ref
		moved int // layers that were not there
	}{{one, clade.Ref{}, 2}, {two, clade.Ref{}, 1}, {one, clade.Ref{Name: "again"}, 0}, {whole, clade.Ref{Name: "c2"}, 1}} {
		got, err := other.ImportBundle(ctx, test.file, clade.Arrival{As: test.as}, nil)
		if err != nil || got.Moved != test.moved {
			t.Errorf("import of %s: %+v, %v; want %d layers moved", filepath.Base(test.file), got, err, test.moved)
		}
	}
	for _, again := range []string{one, whole} {
		if _, err := other.ImportBundle(ctx, again, clade.Arrival{As: clade.Ref{Name: "c2"}}, nil); again == whole && !errors.Is(err, clade.Exists) {
			t.Errorf("a name that is taken: %v, want %v", err, clade.Exists)
		}
	}
	clean(t, other, dir)
	if _, err := other.Verify(ctx, clade.VerifySpec{}, nil); err != nil {
		t.Error(err)
	}
	// The attestation came along and is believed; the machine has an identity of its own.
	must(t, other, "linked t d")
	must(t, other, "start d")
	must(t, other, "kill d")
	must(t, other, "reset c2")
	if a, b := machine(t, h, "c"), machine(t, other, "c2"); a.Identity.UUID == b.Identity.UUID || b.Clone != clade.Linked {
		t.Errorf("%+v was carried over as %+v", a, b)
	}
}

// A version in a registry, and the next one: only what is missing moves.
func TestRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	name := strings.TrimPrefix(server.URL, "http://") + "/vms/t:"
	h, _ := home(t)
	dir := t.TempDir()
	other := open(t, dir)
	for _, version := range []string{"1", "2"} {
		if _, err := h.Push(ctx, clade.Ref{Name: "t", Version: version}, name+version, clade.RegistryOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := other.Pull(ctx, name+version, clade.Arrival{}, clade.RegistryOptions{}, nil)
		if err != nil || got.Template.Version != version || version == "2" && got.Moved >= got.Layers {
			t.Errorf("pull of version %s: %+v, %v", version, got, err)
		}
		for _, act := range []string{"start m", "kill m", "template m"} {
			must(t, h, act)
		}
	}
	if _, err := other.Pull(ctx, name+"3", clade.Arrival{}, clade.RegistryOptions{}, nil); !errors.Is(err, clade.NotFound) {
		t.Errorf("pull of what is not there: %v", err)
	}
	must(t, other, "linked t c")
	clean(t, other, dir)
}

func TestNoBundle(t *testing.T) {
	h, dir := home(t)
	bad := filepath.Join(t.TempDir(), "bad")
	must(t, h, "export t "+bad)
	data := read(t, bad)
	data[bytes.LastIndex(data, []byte{0x28, 0xb5, 0x2f, 0xfd})+12] ^= 1 // in the last layer
	if err := os.WriteFile(bad, data, 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, h, "untemplate t")
	must(t, h, "rm m")
	if err := perform(ctx, h, "import t "+bad); err == nil {
		t.Error("a damaged bundle was imported")
	}
	if err := perform(ctx, h, "import t "+rawImage(t)); !errors.Is(err, clade.Invalid) {
		t.Errorf("a disk image: %v, want %v", err, clade.Invalid)
	}
	if err := perform(ctx, h, "export nothing "+bad+"2"); !errors.Is(err, clade.NotFound) {
		t.Errorf("export of nothing: %v", err)
	}
	if _, err := os.Stat(bad + "2"); err == nil {
		t.Error("a failed export left a file")
	}
	if left := list(t, dir, "layers"); len(left) != 0 {
		t.Errorf("layers %v are left of a damaged bundle", left)
	}
	clean(t, h, dir)
}

// TestRepairFromRegistry restores a layer from a template that was pushed before.
func TestRepairFromRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	name := strings.TrimPrefix(server.URL, "http://") + "/vms/t:1"
	h, dir := home(t)
	must(t, h, "linked t c")
	if _, err := h.Push(ctx, clade.Ref{Name: "t", Version: "1"}, name, clade.RegistryOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	id, path := layerOf(t, h, dir, "c")
	damage(t, path)
	verdicts, err := h.Verify(ctx, clade.VerifySpec{Repair: name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verdicts {
		if v.Repaired != (v.Layer == id) {
			t.Errorf("verdict %+v, want layer %s restored and nothing else", v, id)
		}
	}
	must(t, h, "start c")
	if _, err := h.Verify(ctx, clade.VerifySpec{Repair: name + "9"}, nil); err != nil {
		t.Errorf("nothing is damaged, and the source was not asked: %v", err)
	}
}
