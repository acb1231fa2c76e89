package cli

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

func TestDrawTree(t *testing.T) {
	l := &clade.Lineage{
		Layers: []*clade.Layer{{ID: "a", Origin: "freeze of machine master"}, {ID: "b", Parent: "a", Origin: "generalized"},
			{ID: "c", Parent: "b", Origin: "freeze of machine web-1"}},
		Templates: []*clade.Template{{Name: "debian-12", Version: "1", Disks: []clade.TemplateDisk{{Layer: "b"}}}},
		Warm: []*clade.Warm{{ID: "w", Template: clade.Ref{Name: "debian-12", Version: "1"}, Disks: []clade.TemplateDisk{{Layer: "b"}},
			Files: []clade.WarmFile{{Allocated: clade.MiB}}}},
		Machines: []*clade.Machine{
			{Name: "big", Clone: clade.Full, Source: "template debian-12:1", Disks: []clade.Disk{{}}},
			{Name: "master", Source: "recipe debian-12", Disks: []clade.Disk{{Layer: "a"}}},
			{Name: "web-1", Clone: clade.Linked, Source: "template debian-12:1", Disks: []clade.Disk{{Layer: "c"}}},
			{Name: "web-2", Clone: clade.Linked, Source: "machine web-1", Disks: []clade.Disk{{Layer: "c"}}},
		},
	}
	u := &clade.Usage{
		Layers:   []clade.LayerUsage{{ID: "a", Allocated: 600 * clade.MiB}, {ID: "b", Allocated: 4 * clade.MiB}, {ID: "c", Allocated: clade.MiB}},
		Machines: []clade.MachineUsage{{Name: "big", Allocated: 604 * clade.MiB}, {Name: "web-1", Allocated: 32 * clade.KiB}},
	}
	const want = `layer a   600 MiB   freeze of machine master
├─ machine master   0 B   from recipe debian-12
└─ layer b   4.00 MiB   generalized
   ├─ template debian-12:1
   ├─ warm template debian-12:1   1.00 MiB
   └─ layer c   1.00 MiB   freeze of machine web-1
      ├─ machine web-1   32.0 KiB   linked clone of template debian-12:1
      └─ machine web-2   0 B   linked clone of machine web-1
machine big   604 MiB   full clone of template debian-12:1`
	var out strings.Builder
	if err := writeTree(&out, l, u); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSuffix(out.String(), "\n"); got != want {
		t.Errorf("drawn:\n%s\nwant:\n%s", got, want)
	}
}

// TestPicturesOfHostileNames: what comes out of a foreign image stays text.
func TestPicturesOfHostileNames(t *testing.T) {
	l := &clade.Lineage{Layers: []*clade.Layer{{ID: "a", Origin: "\"]; x -> y\\\n</text><script>alert(1)</script>&\x1b[31m"}}}
	u := &clade.Usage{Layers: []clade.LayerUsage{{ID: "a", Allocated: clade.MiB}}}
	var svg, dot strings.Builder
	if err := errors.Join(writeSVG(&svg, l, u), writeDot(&dot, l, u)); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(svg.String()))
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the picture is not XML: %v\n%s", err, svg.String())
		}
		if e, is := token.(xml.StartElement); is && e.Name.Local == "script" {
			t.Errorf("a script is in the picture:\n%s", svg.String())
		}
	}
	if want := `label="layer a\n1.00 MiB\n\"]; x -> y\\ </text><script>alert(1)</script>&"`; !strings.Contains(dot.String(), want) {
		t.Errorf("the graph is\n%s\nwant in it %s", dot.String(), want)
	}
}

// TestEmptyPictures: a home with nothing in it can be drawn.
func TestEmptyPictures(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *clade.Lineage, *clade.Usage) error{"text": writeTree, "svg": writeSVG, "dot": writeDot} {
		if err := write(io.Discard, &clade.Lineage{}, &clade.Usage{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
