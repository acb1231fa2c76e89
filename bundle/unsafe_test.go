package bundle

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// TestHostileMachines holds heads to what they are: one for each disk, its own.
func TestHostileMachines(t *testing.T) {
	from, tpl := small(t)
	head := func(slot int) *Layer {
		h := from.make(Layer{ID: headID(slot), Head: true, Parent: "bbbb234567", Virtual: clade.GiB}, 0)
		return &h
	}
	m := OfMachine(&clade.Machine{Name: "web"})
	m.AddDisk(0, from.chain("bbbb234567"), head(0))
	m.AddDisk(1, from.chain("bbbb234567"), head(1))
	if err := m.Check(); err != nil {
		t.Fatalf("Check = %v", err)
	}
	for name, do := range map[string]func(m *Manifest){
		"two disks, one head":      func(m *Manifest) { m.Disks[1].Layer = "head-0" },
		"no head":                  func(m *Manifest) { m.Disks[1].Layer = "bbbb234567" },
		"another's head":           func(m *Manifest) { m.Disks[0].Layer, m.Disks[1].Layer = "head-1", "head-0" },
		"head that is a layer":     func(m *Manifest) { m.Layers[3].Head = false },
		"layer that is a head":     func(m *Manifest) { m.Layers[0].Head = true },
		"head upon a head":         func(m *Manifest) { m.Layers[3].Parent = "head-0" },
		"head of no disk":          func(m *Manifest) { m.Disks = m.Disks[:1] },
		"disks in no order":        func(m *Manifest) { m.Disks[0], m.Disks[1] = m.Disks[1], m.Disks[0] },
		"heads in a template":      func(m *Manifest) { m.Kind, m.Version = Template, "1" },
		"a machine with a version": func(m *Manifest) { m.Version = "1" },
	} {
		bad := *m
		bad.Disks, bad.Layers = append([]Disk(nil), m.Disks...), append([]Layer(nil), m.Layers...)
		do(&bad)
		if err := bad.Check(); !errors.Is(err, clade.Corrupt) {
			t.Errorf("%s: Check = %v, want kind Corrupt", name, err)
		}
	}
	if err := tpl.Check(); err != nil {
		t.Errorf("Check of the template = %v", err)
	}
}

// TestUnsafeLayers makes bundles whose layers are what they say, and are not taken.
func TestUnsafeLayers(t *testing.T) {
	be := binary.BigEndian
	for _, c := range []struct {
		name string
		do   func(t *testing.T, path string)
		kind clade.Kind
		says string
	}{
		{"no qcow2", func(t *testing.T, path string) { overwrite(t, path, 0, []byte("raw ")) }, clade.Invalid, "not a qcow2"},
		{"names another file", func(t *testing.T, path string) { rebase(t, path, "/etc/shadow", "raw") }, clade.Corrupt, `"/etc/shadow"`},
		{"names a protocol", func(t *testing.T, path string) { rebase(t, path, "./nbd://10.0.0.1/x", "raw") }, clade.Corrupt, "nbd://"},
		{"names another layer", func(t *testing.T, path string) { rebase(t, path, Backing("cccc234567"), "qcow2") }, clade.Corrupt, "cccc234567"},
		{"takes its parent for raw", func(t *testing.T, path string) { rebase(t, path, Backing("aaaa234567"), "raw") }, clade.Corrupt, `"raw"`},
		{"rests on nothing", func(t *testing.T, path string) { rebase(t, path, "", "") }, clade.Corrupt, "not on its parent"},
		{"encrypted", func(t *testing.T, path string) { overwrite(t, path, 32, be.AppendUint32(nil, 2)) }, clade.Unsupported, "encrypted"},
		{"external data", func(t *testing.T, path string) { overwrite(t, path, 72, be.AppendUint64(nil, 1<<2|1<<4)) }, clade.Unsupported, "another file"},
		{"snapshots", func(t *testing.T, path string) { overwrite(t, path, 60, be.AppendUint32(nil, 3)) }, clade.Unsupported, "snapshots"},
		{"2^63 bytes of disk", func(t *testing.T, path string) { overwrite(t, path, 24, be.AppendUint64(nil, 1<<63)) }, clade.Corrupt, "9223372036854775808"},
	} {
		from, m := small(t)
		l := m.layer("bbbb234567")
		c.do(t, from.path(*l))
		f, err := from.open(*l)
		if err != nil {
			t.Fatal(err)
		}
		if l.Digest, l.Size, err = Sum(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := Write(t.Context(), io.Discard, m, from.open, nil); clade.KindOf(err) != c.kind {
			t.Errorf("%s: Write error = %v, want kind %q", c.name, err, c.kind)
		}
		to := newHome(t)
		_, err = unpack(t, unproven(t, from, m), to.target())
		if clade.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "layer bbbb234567") {
			t.Errorf("%s: error = %v, want kind %q and %q", c.name, err, c.kind, c.says)
		}
		if n := len(to.files()); n != 1 {
			t.Errorf("%s: %d files remain, want that of the sound layer", c.name, n)
		}
	}
}

// unproven is a bundle by somebody who does not look at what is in the files.
func unproven(t *testing.T, h *home, m *Manifest) []byte {
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	encoder, _ := zstd.NewWriter(nil)
	list := []part{named(manifestName, data)}
	for _, l := range m.Layers {
		file, err := os.ReadFile(h.path(l))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, named(pieceName(l, 0), encoder.EncodeAll(file, nil)))
	}
	return joined(t, list)
}

func overwrite(t *testing.T, path string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func rebase(t *testing.T, path, backing, format string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := qcow2.WriteOverlay(path, qcow2.Overlay{Virtual: clade.GiB, Backing: backing, BackingFormat: format}); err != nil {
		t.Fatal(err)
	}
}
