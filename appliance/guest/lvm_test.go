package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
)

// physicalVolume is the begin of a volume that lvm2 itself has written.
func physicalVolume(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/lvm/" + name + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadPhysical(t *testing.T) {
	physical := map[string]*volume{}
	var g *group
	for i, name := range []string{"pv0", "pv1"} {
		uuid, found, err := readPhysical(bytes.NewReader(physicalVolume(t, name)))
		if err != nil || found == nil {
			t.Fatalf("%s: %v", name, err)
		}
		physical[uuid] = &volume{device: []string{"/dev/vda", "/dev/vdb"}[i]}
		g = found
	}
	if g.name != "my-vg" || g.seqno < 4 {
		t.Errorf("group %q, sequence number %d", g.name, g.seqno)
	}
	got := map[string][]target{}
	for _, l := range g.volumes {
		table, why := l.table(physical)
		if why != "" {
			t.Errorf("%s: %s", l.name, why)
		}
		got[l.name] = table
	}
	want := map[string][]target{ // 8192 sectors an extent, from sector 2048 on
		"root":    {{0, 15 * 8192, "linear", "/dev/vda 2048"}, {15 * 8192, 5 * 8192, "linear", "/dev/vdb 51200"}},
		"var-lib": {{0, 6 * 8192, "linear", "/dev/vdb 2048"}},
		"striped": {{0, 4 * 8192, "striped", "2 128 /dev/vda 124928 /dev/vdb 92160"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("tables\n%v, want\n%v", got, want)
	}
	if _, why := g.volumes[0].table(nil); !strings.Contains(why, "missing") {
		t.Errorf("without its disks %q, want that said", why)
	}
}

func TestParseGroupUnsupported(t *testing.T) {
	g, err := parseGroup(`vg { seqno = 1 extent_size = 8192 physical_volumes { } logical_volumes {
		thin { status = ["VISIBLE"] segment_count = 1 segment1 { type = "thin" } }
		hidden { status = [] segment_count = 0 } } } # end`)
	if err != nil || len(g.volumes) != 1 || g.volumes[0].kind != "thin" {
		t.Errorf("parseGroup = %+v, %v; want the thin volume named", g, err)
	}
	for _, text := range []string{"", "vg {", "vg { a = [ }", "../x { seqno = 1 physical_volumes { } }", strings.Repeat("a {", 100)} {
		if g, err := parseGroup(text); err == nil {
			t.Errorf("parseGroup(%.40q) = %+v, want an error", text, g)
		}
	}
}

// smallVolume is the least that is a physical volume of a group with this text.
func smallVolume(text string) []byte {
	const area = 1024
	text += strings.Repeat(" ", max(0, 512-len(text))) // no area is shorter
	b := make([]byte, area+512+len(text))
	label := b[512:]
	copy(label, "LABELONE")
	label[20] = 32
	copy(label[24:], "LVM2 001"+strings.Repeat("u", 32))
	for i, n := range []uint64{1 << 20, 0, 0, 0, area, uint64(512 + len(text))} { // a data area, the end, a metadata area
		binary.LittleEndian.PutUint64(label[72+8*i:], n)
	}
	copy(b[area+4:], lvmMagic)
	binary.LittleEndian.PutUint64(b[area+40:], 512)
	binary.LittleEndian.PutUint64(b[area+48:], uint64(len(text)))
	copy(b[area+512:], text)
	return b
}

const smallGroup = `vg { seqno = 1 extent_size = 8 physical_volumes { p { id = "x" pe_start = 1 } } logical_volumes {
	l { status = ["VISIBLE"] segment_count = 1 segment1 { type = "striped" start_extent = 0 extent_count = 1 stripes = ["p", 0] } } } }`

func FuzzReadPhysical(f *testing.F) {
	small := smallVolume(smallGroup)
	if _, g, err := readPhysical(bytes.NewReader(small)); err != nil || g == nil || g.name != "vg" {
		f.Fatalf("the seed: %+v, %v", g, err)
	}
	f.Add(small)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, g, err := readPhysical(bytes.NewReader(b))
		if err == nil && g != nil && !lvmName(g.name) {
			t.Errorf("group %q", g.name)
		}
	})
}

func FuzzParseGroup(f *testing.F) {
	f.Add(smallGroup)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := parseGroup(text)
		if err != nil {
			return
		}
		for _, l := range g.volumes {
			if table, why := l.table(map[string]*volume{"x": {device: "/dev/vda"}}); (table == nil) != (why != "") {
				t.Errorf("table %v, %q", table, why)
			}
			for _, p := range l.pieces {
				if p.start < 0 || p.length < 0 || len(p.stripes) == 0 {
					t.Errorf("let through %+v", p)
				}
			}
		}
	})
}
