package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/clade-vm/clade"
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
