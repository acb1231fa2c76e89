package bundle

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// A home is a folder with layers, as a caller of this package keeps them.
type home struct {
	t       testing.TB
	dir     string
	records map[string]*clade.Layer
	asked   []string // the layers whose place was asked for
}

func newHome(t testing.TB) *home {
	return &home{t: t, dir: t.TempDir(), records: make(map[string]*clade.Layer)}
}

func (h *home) path(l Layer) string {
	if l.Head {
		return filepath.Join(h.dir, "machines", "web", l.ID+".qcow2")
	}
	return filepath.Join(h.dir, "layers", l.ID, "layer.qcow2")
}

func (h *home) open(l Layer) (*os.File, error) { return os.Open(h.path(l)) }

// make writes an image that rests on parent: an overlay, random data behind it
// and, before its end, a hole.
func (h *home) make(l Layer, data int) Layer {
	h.t.Helper()
	path := h.path(l)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	o := qcow2.Overlay{Virtual: l.Virtual, Backing: Backing(l.Parent)}
	if l.Parent != "" {
		o.BackingFormat = "qcow2"
	}
	if err := qcow2.WriteOverlay(path, o); err != nil {
		h.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	if data > 0 {
		content := make([]byte, data)
		random := rand.NewChaCha8([32]byte([]byte(strings.Repeat(l.ID, 40))))
		if _, err := random.Read(content); err != nil {
			h.t.Fatal(err)
		}
		if _, err := f.WriteAt(content, 1<<20); err != nil {
			h.t.Fatal(err)
		}
		if err := f.Truncate(int64(1<<20+data+1<<20) + 512); err != nil {
			h.t.Fatal(err)
		}
	}
	if l.Digest, l.Size, err = Sum(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
	l.Created = time.Unix(1700000000, 0).UTC()
	if !l.Head {
		h.records[l.ID] = l.Record()
	}
	return l
}

// chain is the layer id and all below it, from the top down.
func (h *home) chain(id string) (chain []*clade.Layer) {
	for ; id != ""; id = h.records[id].Parent {
		chain = append(chain, h.records[id])
	}
	return chain
}

func (h *home) target() Target {
	return Target{
		Have: func(l Layer) (bool, error) { return l.Is(h.records[l.ID]) },
		Path: func(l Layer) (string, error) {
			h.asked = append(h.asked, l.ID)
			return h.path(l), os.MkdirAll(filepath.Dir(h.path(l)), 0o700)
		},
		Arrived: func(l Layer) error {
			h.records[l.ID] = l.Record()
			return nil
		},
	}
}

// files are the images that lie in the home, by path.
func (h *home) files() map[string][]byte {
	files := make(map[string][]byte)
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			name, _ := filepath.Rel(h.dir, path)
			files[name], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return files
}

// master is a home with a template of two disks: three layers below the one,
// a blank layer below the other, which is equal to a third disk's.
func master(t testing.TB) (*home, *Manifest) {
	h := newHome(t)
	h.make(Layer{ID: "aaaa234567", Virtual: clade.GiB, Origin: "freeze of machine debian"}, 5<<20)
	h.make(Layer{ID: "bbbb234567", Virtual: clade.GiB, Parent: "aaaa234567"}, 100<<10)
	h.make(Layer{ID: "cccc234567", Virtual: 2 * clade.GiB, Parent: "bbbb234567"}, 100)
	h.make(Layer{ID: "dddd234567", Virtual: clade.GiB}, 0)
	h.make(Layer{ID: "eeee234567", Virtual: clade.GiB}, 0)
	m := OfTemplate(&clade.Template{Name: "debian-12", Version: "2", Source: "machine debian", User: "clade",
		Hardware: clade.Hardware{CPUs: 2, Memory: clade.GiB, Firmware: clade.UEFI}, Generalized: true,
		Attestation: []byte(`{"verified":true}`), Created: time.Unix(1700000000, 0).UTC()})
	m.AddDisk(0, h.chain("cccc234567"), nil)
	m.AddDisk(1, h.chain("dddd234567"), nil)
	m.AddDisk(4, h.chain("eeee234567"), nil)
	return h, m
}

func written(t testing.TB, h *home, m *Manifest) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := Write(t.Context(), &file, m, h.open, nil); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func unpack(t testing.TB, file []byte, to Target) (*Manifest, error) {
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return r.Manifest, r.Unpack(t.Context(), to, nil)
}

// mustHold wants in h exactly the files of from.
func mustHold(t *testing.T, h, from *home) {
	t.Helper()
	got, want := h.files(), from.files()
	for name, data := range want {
		if !bytes.Equal(got[name], data) {
			t.Errorf("%s: %d bytes that differ from the %d that were exported", name, len(got[name]), len(data))
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is there and was not exported", name)
	}
}

func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

func TestTemplateTravels(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	to := newHome(t)
	var last clade.Event
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Unpack(t.Context(), to.target(), func(e clade.Event) { last = e }); err != nil {
		t.Fatal(err)
	}
	mustHold(t, to, from)
	want, _ := m.Marshal()
	if got, err := r.Manifest.Marshal(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the manifest came as\n%s, %v, want\n%s", got, err, want)
	}
	if !last.End || last.Done != last.Total || last.Total != int64(m.Size()) {
		t.Errorf("last event = %+v, want the end at %d", last, m.Size())
	}
	for _, l := range m.Layers {
		if got, was := allocated(t, to.path(l)), allocated(t, from.path(l)); got > was+64<<10 {
			t.Errorf("layer %s takes %d bytes, where it came from %d: holes were lost", l.ID, got, was)
		}
	}
	if rec := r.Manifest.Record(); rec.Ref().String() != "debian-12:2" || len(rec.Disks) != 3 ||
		rec.Disks[2] != (clade.TemplateDisk{Slot: 4, Layer: "eeee234567", Virtual: clade.GiB}) {
		t.Errorf("Record() = %+v", rec)
	}
	if again := written(t, from, m); !bytes.Equal(again, file) {
		t.Error("the same template was written as other bytes")
	}
}

func TestMachineTravelsWithItsHeads(t *testing.T) {
	from, tpl := master(t)
	m := OfMachine(&clade.Machine{Name: "web", Source: "template debian-12:2"})
	for _, d := range tpl.Disks[:2] {
		head := from.make(Layer{ID: headID(d.Slot), Head: true, Parent: d.Layer, Virtual: 3 * clade.GiB}, 70000)
		m.AddDisk(d.Slot, from.chain(d.Layer), &head)
	}
	blank := from.make(Layer{ID: headID(2), Head: true, Virtual: clade.GiB}, 70000)
	m.AddDisk(2, nil, &blank)
	if err := os.RemoveAll(filepath.Join(from.dir, "layers", "eeee234567")); err != nil {
		t.Fatal(err)
	}
	to := newHome(t)
	got, err := unpack(t, written(t, from, m), to.target())
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, to, from)
	if c := got.Chain(got.Disks[0].Layer); len(c) != 4 || !c[0].Head || c[3].ID != "aaaa234567" {
		t.Errorf("Chain(%s) = %+v", got.Disks[0].Layer, c)
	}
	if got.Disks[2].Virtual != clade.GiB || len(got.Chain(got.Disks[2].Layer)) != 1 {
		t.Errorf("the disk that rests on nothing came as %+v", got.Disks[2])
	}
}

// counting counts what is read of a file.
type counting struct {
	io.ReadSeeker
	read int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.ReadSeeker.Read(b)
	c.read += int64(n)
	return n, err
}

func TestOnlyTheMissingIsRead(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	to := newHome(t)
	base := m.layer("aaaa234567")
	to.records["aaaa234567"] = base.Record()
	in := &counting{ReadSeeker: bytes.NewReader(file)}
	r, err := Open(in)
	if err != nil {
		t.Fatal(err)
	}
	var last clade.Event
	if err := r.Unpack(t.Context(), to.target(), func(e clade.Event) { last = e }); err != nil {
		t.Fatal(err)
	}
	if last.Done != last.Total {
		t.Errorf("last event = %+v: what was there already is not counted", last)
	}
	if got, want := strings.Join(to.asked, " "), "bbbb234567 cccc234567 dddd234567 eeee234567"; got != want {
		t.Errorf("asked for the places of %s, want %s", got, want)
	}
	if most := int64(len(file)) - 5<<20 + 10<<10; in.read > most {
		t.Errorf("read %d of %d bytes, want at most %d: the 5 MiB of the base are there", in.read, len(file), most)
	}
}

// TestCutOffAnywhere cuts a bundle at many places: it must say so, leave only whole
// layers, and go on from there with the whole file.
func TestCutOffAnywhere(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	for at := 0; at < len(file)-1024; at += len(file)/11 + 13 { // the last two blocks say only that it ends
		to := newHome(t)
		_, err := unpack(t, file[:at], to.target())
		if !errors.Is(err, clade.Corrupt) && !(at < 512 && errors.Is(err, clade.Invalid)) {
			t.Fatalf("cut at %d of %d: error = %v, want kind Corrupt", at, len(file), err)
		}
		if n := len(to.files()); n != len(to.records) {
			t.Fatalf("cut at %d: %d files and %d that arrived", at, n, len(to.records))
		}
		kept := len(to.records)
		to.asked = nil
		if _, err := unpack(t, file, to.target()); err != nil {
			t.Fatalf("cut at %d, then whole: %v", at, err)
		}
		if len(to.asked) != len(m.Layers)-kept {
			t.Errorf("cut at %d: %d layers were kept and %d read again", at, kept, len(to.asked))
		}
		mustHold(t, to, from)
	}
}

func TestAnotherLayerWithTheSameID(t *testing.T) {
	from, m := master(t)
	to := newHome(t)
	to.make(Layer{ID: "bbbb234567", Virtual: clade.GiB}, 100)
	_, err := unpack(t, written(t, from, m), to.target())
	if !errors.Is(err, clade.Exists) || !strings.Contains(err.Error(), "layer bbbb234567") {
		t.Errorf("error = %v, want kind Exists and the layer's name", err)
	}
}

func TestLayerIsTheHomesOwn(t *testing.T) {
	l := Layer{ID: "bbbb234567", Parent: "aaaa234567", Digest: "sha256:1"}
	for _, c := range []struct {
		name  string
		there *clade.Layer
		is    bool
		kind  clade.Kind
	}{
		{"none", nil, false, ""},
		{"of another id", &clade.Layer{ID: "cccc234567", Digest: l.Digest, Sealed: true}, false, ""},
		{"the same", l.Record(), true, ""},
		{"of another digest", &clade.Layer{ID: l.ID, Parent: l.Parent, Digest: "sha256:2", Sealed: true}, false, clade.Exists},
		{"on another parent", &clade.Layer{ID: l.ID, Digest: l.Digest, Sealed: true}, false, clade.Exists},
		{"not yet sealed", &clade.Layer{ID: l.ID, Parent: l.Parent, Digest: l.Digest}, false, clade.Exists},
	} {
		if is, err := l.Is(c.there); is != c.is || clade.KindOf(err) != c.kind {
			t.Errorf("%s: Is = %v, %v, want %v and kind %q", c.name, is, err, c.is, c.kind)
		}
	}
}

func TestDamagedLayerIsNotExported(t *testing.T) {
	for name, damage := range map[string]func(*os.File) error{
		"a flipped bit": func(f *os.File) error { _, err := f.WriteAt([]byte{0x55}, 1<<20+12345); return err },
		"shorter":       func(f *os.File) error { return f.Truncate(1 << 20) },
		"longer":        func(f *os.File) error { _, err := f.WriteAt([]byte{1}, 40<<20); return err },
		"other backing": func(f *os.File) error { _, err := f.WriteAt([]byte("x"), 150); return err },
	} {
		h, m := master(t)
		f, err := os.OpenFile(h.path(*m.layer("bbbb234567")), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(damage(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		err = Write(t.Context(), io.Discard, m, h.open, nil)
		if !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "layer bbbb234567") {
			t.Errorf("%s: error = %v, want kind Corrupt and the layer's name", name, err)
		}
	}
}
