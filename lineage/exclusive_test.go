package lineage_test

import (
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

func TestExclusive(t *testing.T) {
	// a ← b ← c ← d ← machine m
	chain := func() *clade.Lineage {
		l := &clade.Lineage{Machines: []*clade.Machine{{Name: "m", Disks: []clade.Disk{{Layer: "d"}}}}}
		for i, id := range []string{"a", "b", "c", "d"} {
			l.Layers = append(l.Layers, &clade.Layer{ID: id, Parent: []string{"", "a", "b", "c"}[i], Sealed: true})
		}
		return l
	}
	other := func(layer string) *clade.Machine {
		return &clade.Machine{Name: "other", Disks: []clade.Disk{{Layer: layer}}}
	}
	for about, test := range map[string]struct {
		add  func(*clade.Lineage)
		base string
		want string
	}{
		"nobody else":      {func(*clade.Lineage) {}, "", "d c b a > "},
		"its own base":     {func(*clade.Lineage) {}, "b", "d c > b"},
		"a template":       {func(l *clade.Lineage) { l.Templates = []*clade.Template{{Disks: []clade.TemplateDisk{{Layer: "a"}}}} }, "", "d c b > a"},
		"a snapshot":       {func(l *clade.Lineage) { l.Snapshots = []*clade.Snapshot{{Disks: []clade.Disk{{Layer: "c"}}}} }, "", "d > c"},
		"a warm template":  {func(l *clade.Lineage) { l.Warm = []*clade.Warm{{Disks: []clade.TemplateDisk{{Layer: "c"}}}} }, "", "d > c"},
		"a clone on top":   {func(l *clade.Lineage) { l.Machines = append(l.Machines, other("d")) }, "", " > d"},
		"a clone below":    {func(l *clade.Lineage) { l.Machines = append(l.Machines, other("b")) }, "", "d c > b"},
		"a branch":         {func(l *clade.Lineage) { l.Layers = append(l.Layers, &clade.Layer{ID: "e", Parent: "b", Sealed: true}) }, "", "d c > b"},
		"a branch on top":  {func(l *clade.Lineage) { l.Layers = append(l.Layers, &clade.Layer{ID: "e", Parent: "d", Sealed: true}) }, "", " > d"},
		"not sealed yet":   {func(l *clade.Lineage) { l.Layers[3].Sealed = false }, "", " > d"},
		"circular records": {func(l *clade.Lineage) { l.Layers[0].Parent = "c" }, "", "d > c"},
	} {
		l := chain()
		test.add(l)
		run, below := lineage.New(l).Exclusive("d", test.base)
		var ids []string
		for _, layer := range run {
			ids = append(ids, layer.ID)
		}
		if got := strings.Join(ids, " ") + " > " + below; got != test.want {
			t.Errorf("%s: Exclusive = %q, want %q", about, got, test.want)
		}
	}
	if run, below := lineage.New(chain()).Exclusive("", ""); len(run) != 0 || below != "" {
		t.Errorf("Exclusive of nothing = %v, %q", run, below)
	}
}
