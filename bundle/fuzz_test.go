package bundle

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/clade-vm/clade"
)

// FuzzParse holds Parse to its promise: what it takes has layers in order, ids that
// can be part of a path, and sizes that add up.
func FuzzParse(f *testing.F) {
	_, m := master(f)
	data, err := m.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1,"kind":"machine","name":"web","disks":[{"slot":0,"virtual":512,"layer":"head-0"}],` +
		`"layers":[{"id":"head-0","head":true,"digest":"sha256:` + strings.Repeat("0", 64) + `","size":1,"virtual":512}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			if k := clade.KindOf(err); k != clade.Invalid && k != clade.Unsupported && k != clade.Corrupt {
				t.Errorf("Parse error = %v of kind %q", err, k)
			}
			return
		}
		seen := make(map[string]bool)
		for _, l := range m.Layers {
			if strings.ContainsAny(l.ID, "/.\x00") || l.ID == "" || seen[l.ID] || l.Parent != "" && !seen[l.Parent] {
				t.Errorf("Parse took the layer %+v", l)
			}
			seen[l.ID] = true
		}
		for _, d := range m.Disks {
			if c := m.Chain(d.Layer); len(c) == 0 || c[len(c)-1].Parent != "" {
				t.Errorf("Parse took disk %+v, whose chain is %+v", d, c)
			}
		}
		if m.Size() <= 0 {
			t.Errorf("Parse took layers of %d bytes", m.Size())
		}
		if _, err := m.Marshal(); err != nil {
			t.Errorf("Parse took what Marshal refuses: %v", err)
		}
	})
}

// FuzzOpen holds Open and Unpack to theirs: whatever the file, each file that is
// left arrived, and nothing was written where nobody said.
func FuzzOpen(f *testing.F) {
	h := newHome(f)
	h.make(Layer{ID: "aaaa234567", Virtual: clade.MiB}, 0)
	h.make(Layer{ID: "bbbb234567", Virtual: clade.MiB, Parent: "aaaa234567"}, 0)
	m := OfTemplate(&clade.Template{Name: "debian-12", Version: "2"})
	m.AddDisk(0, h.chain("bbbb234567"), nil)
	f.Add(written(f, h, m))
	f.Fuzz(func(t *testing.T, file []byte) {
		to := newHome(t)
		r, err := Open(bytes.NewReader(file))
		if err == nil {
			target := to.target()
			target.Free = 4 * clade.MiB
			err = r.Unpack(t.Context(), target, nil)
		}
		if k := clade.KindOf(err); err != nil && k != clade.Invalid && k != clade.Unsupported && k != clade.Corrupt && k != clade.NoSpace {
			t.Errorf("error = %v of kind %q", err, k)
		}
		if n := len(to.files()); n != len(to.records) {
			t.Errorf("%d files remain, %d arrived (%v)", n, len(to.records), err)
		}
	})
}

// FuzzUnpack gives Unpack other streams for a layer, and wants to see only that
// layer come out of them.
func FuzzUnpack(f *testing.F) {
	h := newHome(f)
	l := h.make(Layer{ID: "aaaa234567", Virtual: clade.MiB}, 0)
	want := h.files()["layers/aaaa234567/layer.qcow2"]
	encoder, _ := zstd.NewWriter(nil)
	f.Add(encoder.EncodeAll(want, nil))
	f.Add(append(encoder.EncodeAll(want[:5000], nil), encoder.EncodeAll(want[5000:], nil)...))
	f.Add(encoder.EncodeAll(want[:len(want)-1], nil))
	f.Fuzz(func(t *testing.T, packed []byte) {
		path := filepath.Join(t.TempDir(), "layer")
		read := 0
		err := Unpack(t.Context(), bytes.NewReader(packed), l, path, &Budget{clade.MiB}, func(n int) { read += n })
		got, e := os.ReadFile(path)
		if (err == nil) != (e == nil) || err == nil && !bytes.Equal(got, want) || read > len(want) {
			t.Errorf("Unpack = %v; the file has %d bytes, %v; read %d", err, len(got), e, read)
		}
	})
}

// TestPiecesAreOneStream unpacks a layer as anybody would: the members joined, by
// a zstd that knows nothing of clade.
func TestPiecesAreOneStream(t *testing.T) {
	from, m := master(t)
	var joined bytes.Buffer
	pieces := 0
	for _, p := range parts(t, written(t, from, m)) {
		if strings.HasPrefix(p.Name, "layers/aaaa234567/") {
			joined.Write(p.data)
			pieces++
		}
	}
	d, err := zstd.NewReader(&joined)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := io.ReadAll(d)
	want, _ := os.ReadFile(from.path(*m.layer("aaaa234567")))
	if err != nil || !bytes.Equal(got, want) || pieces != 2 {
		t.Errorf("%d pieces hold %d bytes, %v, want the layer's %d in 2", pieces, len(got), err, len(want))
	}
}
