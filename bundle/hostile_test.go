package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// A part is one member of an archive under construction.
type part struct {
	tar.Header
	data []byte
}

// parts takes a bundle apart.
func parts(t *testing.T, file []byte) (list []part) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(file)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, part{*h, data})
	}
}

// joined puts it together again.
func joined(t *testing.T, list []part) []byte {
	t.Helper()
	var file bytes.Buffer
	w := tar.NewWriter(&file)
	for _, p := range list {
		if p.Typeflag == tar.TypeReg {
			p.Size = int64(len(p.data))
		}
		p.Format = tar.FormatUnknown
		if err := w.WriteHeader(&p.Header); err != nil {
			t.Fatal(err)
		}
		if p.Typeflag == tar.TypeReg {
			if _, err := w.Write(p.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// small is a home with a template of one layer of one piece on another.
func small(t *testing.T) (*home, *Manifest) {
	h := newHome(t)
	h.make(Layer{ID: "aaaa234567", Virtual: clade.GiB}, 1000)
	h.make(Layer{ID: "bbbb234567", Virtual: clade.GiB, Parent: "aaaa234567"}, 1000)
	m := OfTemplate(&clade.Template{Name: "debian-12", Version: "2"})
	m.AddDisk(0, h.chain("bbbb234567"), nil)
	return h, m
}

func named(name string, data []byte) part {
	return part{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

func insert(list []part, at int, p part) []part {
	return append(append(append([]part(nil), list[:at]...), p), list[at:]...)
}

// edited changes the JSON of a manifest.
func edited(p part, do func(m map[string]any)) part {
	var m map[string]any
	if err := json.Unmarshal(p.data, &m); err != nil {
		panic(err)
	}
	do(m)
	p.data, _ = json.Marshal(m)
	return p
}

func TestHostileMembers(t *testing.T) {
	from, m := small(t)
	packed, _ := zstd.NewWriter(nil)
	bomb := packed.EncodeAll(make([]byte, 64<<20), nil)
	file := written(t, from, m)
	special := func(kind byte, name, link string) func([]part) []part {
		return func(l []part) []part {
			return insert(l, 1, part{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o777}, nil})
		}
	}
	for _, c := range []struct {
		name string
		do   func([]part) []part
		kind clade.Kind
		says string
	}{
		{"nothing", func([]part) []part { return nil }, clade.Invalid, "not a bundle"},
		{"manifest not first", func(l []part) []part { return []part{l[1], l[0], l[2]} }, clade.Invalid, "not a bundle"},
		{"dot-dot", func(l []part) []part { return insert(l, 1, named("../../etc/cron.d/x", nil)) }, clade.Corrupt, `"../../etc/cron.d/x"`},
		{"absolute", func(l []part) []part { return insert(l, 1, named("/etc/passwd", nil)) }, clade.Corrupt, `"/etc/passwd"`},
		{"dot-dot within", func(l []part) []part { l[1].Name = "layers/../" + l[1].Name; return l }, clade.Corrupt, `"layers/../layers`},
		{"twice", func(l []part) []part { return insert(l, 1, l[1]) }, clade.Corrupt, l1(0)},
		{"manifest twice", func(l []part) []part { return insert(l, 1, l[0]) }, clade.Corrupt, `"manifest.json"`},
		{"one more at the end", func(l []part) []part { return append(l, named("more", nil)) }, clade.Corrupt, `"more"`},
		{"other order", func(l []part) []part { return []part{l[0], l[2], l[1]} }, clade.Corrupt, "should come next"},
		{"one less", func(l []part) []part { return l[:2] }, clade.Corrupt, "cut off"},
		{"symbolic link", special(tar.TypeSymlink, l1(0), "/etc/passwd"), clade.Corrupt, "no plain file"},
		{"hard link", special(tar.TypeLink, l1(0), manifestName), clade.Corrupt, "no plain file"},
		{"device", special(tar.TypeBlock, l1(0), ""), clade.Corrupt, "no plain file"},
		{"folder", special(tar.TypeDir, "layers/", ""), clade.Corrupt, "does not belong there"},
		{"large piece", func(l []part) []part { l[1].data = make([]byte, maxPacked+1); return l }, clade.Corrupt, "more than"},
		{"large manifest", func(l []part) []part { l[0].data = make([]byte, MaxManifest+1); return l }, clade.Corrupt, "more than"},
		{"bomb", func(l []part) []part { l[1].data = bomb; return l }, clade.Corrupt, "more than the"},
		{"bombs behind it", func(l []part) []part { l[1].data = bytes.Repeat(l[1].data, 50); return l }, clade.Corrupt, "more than the"},
		{"huge window", func(l []part) []part { l[1].data = window(27); return l }, clade.Corrupt, "cannot be unpacked"},
		{"garbage", func(l []part) []part { l[1].data = []byte("garbage that is no zstd"); return l }, clade.Corrupt, "cannot be unpacked"},
		{"too short", func(l []part) []part { l[1].data = packed.EncodeAll([]byte("QFI"), nil); return l }, clade.Corrupt, "cut off"},
		{"nothing in it", func(l []part) []part { l[1].data = nil; return l }, clade.Corrupt, "cut off"},
		{"other content", func(l []part) []part {
			l[1].data = packed.EncodeAll(make([]byte, sizeOf(l[0], 0)), nil)
			return l
		}, clade.Corrupt, "its digest is"},
	} {
		to := newHome(t)
		_, err := unpack(t, joined(t, c.do(parts(t, file))), to.target())
		if clade.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error = %v, want kind %q and %q", c.name, err, c.kind, c.says)
		}
		if n := len(to.files()); n != len(to.records) || n > 2 {
			t.Errorf("%s: %d files remain, %d arrived", c.name, n, len(to.records))
		}
	}
}

// l1 is the name of a piece of the first layer of small.
func l1(n int64) string { return pieceName(Layer{ID: "aaaa234567"}, n) }

func sizeOf(manifest part, layer int) (size int) {
	edited(manifest, func(m map[string]any) { size = int(m["layers"].([]any)[layer].(map[string]any)["size"].(float64)) })
	return size
}

// window is an empty zstd frame that asks for 1<<log bytes of memory.
func window(log byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, 0xfd2fb528), 0, (log-10)<<3, 1, 0, 0)
}

func TestHostileManifests(t *testing.T) {
	from, m := small(t)
	file := written(t, from, m)
	layer := func(n int, key string, value any) func(map[string]any) {
		return func(m map[string]any) { m["layers"].([]any)[n].(map[string]any)[key] = value }
	}
	disk := func(key string, value any) func(map[string]any) {
		return func(m map[string]any) { m["disks"].([]any)[0].(map[string]any)[key] = value }
	}
	top := func(key string, value any) func(map[string]any) { return func(m map[string]any) { m[key] = value } }
	for _, c := range []struct {
		name string
		do   func(map[string]any)
		kind clade.Kind
		says string
	}{
		{"no format", top("format", 0), clade.Invalid, "no manifest"},
		{"newer format", top("format", 2), clade.Unsupported, "format 2"},
		{"unknown field", top("run", "rm -rf"), clade.Corrupt, "run"},
		{"other kind", top("kind", "pool"), clade.Corrupt, `"pool"`},
		{"name", top("name", "../x"), clade.Corrupt, `"../x"`},
		{"no version", top("version", ""), clade.Corrupt, "version"},
		{"version latest", top("version", "latest"), clade.Corrupt, "version"},
		{"user is an option", top("user", "-oProxyCommand=x"), clade.Corrupt, "user"},
		{"source with escapes", top("source", "\x1b[2J"), clade.Corrupt, "source"},
		{"processors", top("hardware", map[string]any{"cpus": 1 << 20}), clade.Corrupt, "processors"},
		{"memory", top("hardware", map[string]any{"memory": -1}), clade.Corrupt, "memory"},
		{"firmware", top("hardware", map[string]any{"firmware": "/dev/mem"}), clade.Corrupt, "firmware"},
		{"attested machine", top("kind", "machine"), clade.Corrupt, "a machine has no version"},
		{"no disks", top("disks", []any{}), clade.Corrupt, "0 disks"},
		{"slot", disk("slot", 64), clade.Corrupt, "slots"},
		{"negative slot", disk("slot", -1), clade.Corrupt, "slots"},
		{"no such layer", disk("layer", "zzzz234567"), clade.Corrupt, "no layer"},
		{"disk of another size", disk("virtual", 512), clade.Corrupt, "not that of its layer"},
		{"layer nobody needs", disk("layer", "aaaa234567"), clade.Corrupt, "no disk rests on it"},
		{"id is a path", layer(0, "id", "../../x"), clade.Corrupt, `"../../x"`},
		{"id twice", layer(1, "id", "aaaa234567"), clade.Corrupt, "twice"},
		{"circle", layer(0, "parent", "bbbb234567"), clade.Corrupt, "does not come before"},
		{"itself", layer(0, "parent", "aaaa234567"), clade.Corrupt, "does not come before"},
		{"parent is a path", layer(1, "parent", "/etc/shadow"), clade.Corrupt, `"/etc/shadow"`},
		{"head in a template", layer(1, "head", true), clade.Corrupt, "no heads"},
		{"digest", layer(0, "digest", "md5:0"), clade.Corrupt, "digest"},
		{"other digest", layer(0, "digest", "sha256:"+strings.Repeat("0", 64)), clade.Corrupt, "its digest is"},
		{"2^63", layer(0, "size", json.Number("9223372036854775808")), clade.Corrupt, "cannot be read"},
		{"2^63-1", layer(0, "size", json.Number("9223372036854775807")), clade.Corrupt, "9223372036854775807 bytes"},
		{"no size", layer(0, "size", 0), clade.Corrupt, "0 bytes"},
		{"negative size", layer(0, "size", -1), clade.Corrupt, "-1 bytes"},
		{"disk of 2^62", layer(0, "virtual", 1<<62), clade.Corrupt, "its disk would have"},
		{"odd disk", layer(0, "virtual", 1000), clade.Corrupt, "1000 bytes"},
		{"virtual", layer(0, "virtual", 2<<30), clade.Corrupt, "its disk has"},
		{"origin with lines", layer(0, "origin", "a\nb"), clade.Corrupt, "origin"},
		{"attestation", top("attestation", strings.Repeat("x", maxAttestation)), clade.Corrupt, "attestation"},
	} {
		to := newHome(t)
		list := parts(t, file)
		list[0] = edited(list[0], c.do)
		_, err := unpack(t, joined(t, list), to.target())
		if clade.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error = %v, want kind %q and %q", c.name, err, c.kind, c.says)
		}
		if n := len(to.files()); n != len(to.records) {
			t.Errorf("%s: %d files remain, %d arrived", c.name, n, len(to.records))
		}
	}
}

func TestTooManyAndTooDeep(t *testing.T) {
	from, m := small(t)
	base := *m.layer("aaaa234567")
	id := func(n int) string {
		return "layer" + strings.Repeat("x", n%30) + string(rune('a'+n/30%26)) + string(rune('a'+n/780))
	}
	deep := *m
	deep.Layers = []Layer{base}
	for n := range MaxDepth {
		deep.Layers = append(deep.Layers, Layer{ID: id(n), Parent: deep.Layers[n].ID, Digest: base.Digest, Size: base.Size, Virtual: base.Virtual})
	}
	deep.Disks = []Disk{{Layer: deep.Layers[MaxDepth].ID, Virtual: base.Virtual}}
	if err := deep.Check(); !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "more than") {
		t.Errorf("Check of %d layers upon each other = %v, want Corrupt", MaxDepth+1, err)
	}
	deep.Layers, deep.Disks[0].Layer = deep.Layers[:MaxDepth], deep.Layers[MaxDepth-1].ID
	if err := deep.Check(); err != nil {
		t.Errorf("Check of %d layers upon each other = %v", MaxDepth, err)
	}
	many := *m
	many.Layers = make([]Layer, MaxLayers+1)
	if err := many.Check(); !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "4097 layers") {
		t.Errorf("Check of %d layers = %v, want Corrupt", MaxLayers+1, err)
	}
	disks := *m
	disks.Disks = make([]Disk, MaxDisks+1)
	if err := disks.Check(); !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "65 disks") {
		t.Errorf("Check of %d disks = %v, want Corrupt", MaxDisks+1, err)
	}
	if err := Write(t.Context(), io.Discard, &deep, from.open, nil); err == nil {
		t.Error("Write took layers that are not there")
	}
}

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

func TestFreeSpaceBoundsWhatIsWritten(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	for free, want := range map[clade.Bytes]clade.Kind{5 * clade.MiB: clade.NoSpace, 6 * clade.MiB: ""} {
		to := newHome(t)
		target := to.target()
		target.Free = free // the base has 5 MiB of data in a file of 7 MiB
		_, err := unpack(t, file, target)
		if clade.KindOf(err) != want {
			t.Errorf("with %v free: error = %v, want kind %q", free, err, want)
		}
		if n := len(to.files()); n != len(to.records) {
			t.Errorf("with %v free: %d files remain, %d arrived", free, n, len(to.records))
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	ctx, cancel := context.WithCancel(t.Context())
	stop := func(e clade.Event) {
		if e.Done >= int64(clade.MiB) {
			cancel()
		}
	}
	to := newHome(t)
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Unpack(ctx, to.target(), stop); !errors.Is(err, context.Canceled) || !errors.Is(err, clade.Timeout) {
		t.Errorf("Unpack error = %v, want Canceled of kind Timeout", err)
	}
	if n := len(to.files()); n != 0 {
		t.Errorf("%d files remain", n)
	}
	if err := Write(ctx, io.Discard, m, from.open, nil); !errors.Is(err, clade.Timeout) {
		t.Errorf("Write error = %v, want kind Timeout", err)
	}
}

func TestWhatTheCallerSaysEndsIt(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	mine := errors.New("mine")
	for name, change := range map[string]func(*Target){
		"Have":    func(to *Target) { to.Have = func(Layer) (bool, error) { return false, mine } },
		"Path":    func(to *Target) { to.Path = func(Layer) (string, error) { return "", mine } },
		"Arrived": func(to *Target) { to.Arrived = func(Layer) error { return mine } },
	} {
		to := newHome(t).target()
		change(&to)
		if _, err := unpack(t, file, to); !errors.Is(err, mine) {
			t.Errorf("%s: error = %v, want the caller's", name, err)
		}
	}
	if err := Write(t.Context(), io.Discard, m, func(Layer) (*os.File, error) { return nil, mine }, nil); !errors.Is(err, mine) {
		t.Errorf("Write error = %v, want the caller's", err)
	}
	if err := Write(t.Context(), full{}, m, from.open, nil); !errors.Is(err, clade.NoSpace) {
		t.Errorf("Write to a full disk: error = %v, want kind NoSpace", err)
	}
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := newHome(t).target()
	to.Path = func(Layer) (string, error) { return taken, nil }
	if _, err := unpack(t, file, to); !errors.Is(err, clade.Exists) {
		t.Errorf("into a file that is there: error = %v, want kind Exists", err)
	}
	if b, err := os.ReadFile(taken); string(b) != "mine" {
		t.Errorf("the file that was there reads %q, %v", b, err)
	}
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "x", Err: clade.NoSpace}
}
