package cli

import (
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

func TestDrawTree(t *testing.T) {
	l := &clade.Lineage{
		Layers: []*clade.Layer{{ID: "a", Origin: "freeze of machine master"}, {ID: "b", Parent: "a", Origin: "generalized"},
			{ID: "c", Parent: "b", Origin: "freeze of machine web-1"}},
		Templates: []*clade.Template{{Name: "debian-12", Version: "1", Disks: []clade.TemplateDisk{{Layer: "b"}}}},
		Machines: []*clade.Machine{
			{Name: "big", Clone: clade.Full, Source: "template debian-12:1", Disks: []clade.Disk{{}}},
			{Name: "master", Source: "recipe debian-12", Disks: []clade.Disk{{Layer: "a"}}},
			{Name: "web-1", Clone: clade.Linked, Source: "template debian-12:1", Disks: []clade.Disk{{Layer: "c"}}},
			{Name: "web-2", Clone: clade.Linked, Source: "machine web-1", Disks: []clade.Disk{{Layer: "c"}}},
		},
	}
	u := &clade.Usage{
		Layers:   []clade.LayerUsage{{ID: "a", Allocated: 600 * clade.MiB}, {ID: "b", Allocated: 4 * clade.MiB}, {ID: "c", Allocated: clade.MiB}},
		Machines: []clade.MachineUsage{{Name: "big", Exclusive: 604 * clade.MiB}, {Name: "web-1", Exclusive: 32 * clade.KiB}},
	}
	const want = `layer a   600 MiB   freeze of machine master
├─ machine master   0 B   from recipe debian-12
└─ layer b   4.00 MiB   generalized
   ├─ template debian-12:1
   └─ layer c   1.00 MiB   freeze of machine web-1
      ├─ machine web-1   32.0 KiB   linked clone of template debian-12:1
      └─ machine web-2   0 B   linked clone of machine web-1
machine big   604 MiB   full clone of template debian-12:1`
	if got := strings.Join(drawTree(l, u), "\n"); got != want {
		t.Errorf("drawn:\n%s\nwant:\n%s", got, want)
	}
}
