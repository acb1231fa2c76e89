package lineage_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

// forest is  a ← b ← c,  a ← d,  e  with machine m on c, template t:1 on b.
func forest() *clade.Lineage {
	return &clade.Lineage{
		Layers: []*clade.Layer{{ID: "a"}, {ID: "b", Parent: "a"}, {ID: "c", Parent: "b"},
			{ID: "d", Parent: "a"}, {ID: "e"}},
		Machines: []*clade.Machine{{Name: "m", Disks: []clade.Disk{{Layer: "c"}}}, {Name: "bare", Disks: []clade.Disk{{}}}},
		Templates: []*clade.Template{{Name: "t", Version: "1",
			Disks: []clade.TemplateDisk{{Layer: "b"}}}},
	}
}

func TestChainAndDepth(t *testing.T) {
	tree := lineage.New(forest())
	chain, err := tree.Chain("c")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range chain {
		got = append(got, l.ID)
	}
	if want := []string{"c", "b", "a"}; !reflect.DeepEqual(got, want) {
		t.Errorf("Chain(c) = %v, want %v", got, want)
	}
	if d := tree.Depth("c"); d != 3 {
		t.Errorf("Depth(c) = %d, want 3", d)
	}
	if d := tree.Depth(""); d != 0 {
		t.Errorf("Depth of nothing = %d, want 0", d)
	}
}

func TestChainRefusesBrokenRecords(t *testing.T) {
	for name, l := range map[string]*clade.Lineage{
		"missing parent": {Layers: []*clade.Layer{{ID: "a", Parent: "gone"}}},
		"circle":         {Layers: []*clade.Layer{{ID: "a", Parent: "b"}, {ID: "b", Parent: "a"}}},
	} {
		tree := lineage.New(l)
		if _, err := tree.Chain("a"); !errors.Is(err, clade.Corrupt) {
			t.Errorf("%s: Chain error = %v, want %v", name, err, clade.Corrupt)
		}
		tree.Above("a") // must end
		tree.Depth("a")
	}
}

func TestAbove(t *testing.T) {
	tree := lineage.New(forest())
	machines, templates := tree.Above("a")
	if got, want := fmt.Sprint(machines, templates), "[m] [t:1]"; got != want {
		t.Errorf("Above(a) = %s, want %s", got, want)
	}
	if machines, templates = tree.Above("d"); len(machines)+len(templates) != 0 {
		t.Errorf("Above(d) = %v %v, want nothing", machines, templates)
	}
}

func TestUnusedAreChildrenFirst(t *testing.T) {
	l := forest()
	l.Machines, l.Templates = l.Machines[1:], nil
	var got []string
	for _, layer := range lineage.New(l).Unused() {
		got = append(got, layer.ID)
	}
	at := map[string]int{}
	for i, id := range got {
		at[id] = i
	}
	if len(got) != 5 || at["c"] > at["b"] || at["b"] > at["a"] || at["d"] > at["a"] {
		t.Errorf("Unused = %v, want all five, children before parents", got)
	}
	used := lineage.New(forest()).Unused()
	if len(used) != 2 {
		t.Errorf("Unused = %d layers, want d and e", len(used))
	}
}

// TestOwners: what one alone rests on is its own, what two rest on is nobody's.
func TestOwners(t *testing.T) {
	l := forest()
	l.Machines = append(l.Machines, &clade.Machine{Name: "n", Disks: []clade.Disk{{Layer: "d"}}})
	l.Snapshots = []*clade.Snapshot{{Machine: "n", Name: "s", Disks: []clade.Disk{{Layer: "d"}}}, {Machine: "bare", Name: "s", Disks: []clade.Disk{{Layer: "e"}}}}
	owners := lineage.New(l).Owners()
	for id, want := range map[string]string{"a": "", "b": "", "c": "machine m", "d": "machine n", "e": "machine bare"} {
		if got := owners[id].String(); got != want {
			t.Errorf("the owner of %s is %q, want %q", id, got, want)
		}
	}
	l.Machines = nil
	l.Snapshots = l.Snapshots[1:]
	if got := lineage.New(l).Owners()["a"].String(); got != "template t:1" {
		t.Errorf("the owner of a is %q when only the template rests on it", got)
	}
	l.Warm = []*clade.Warm{{ID: "w", Disks: []clade.TemplateDisk{{Layer: "e"}}}}
	if got := lineage.New(l).Owners()["e"].String(); got != "" {
		t.Errorf("a layer that a warm template without a name needs too is owned by %q", got)
	}
}

func TestNeeds(t *testing.T) {
	l := forest()
	l.Snapshots = []*clade.Snapshot{{Machine: "m", Name: "s", Disks: []clade.Disk{{Layer: "a"}}}, {Machine: "bare", Name: "old", Disks: []clade.Disk{{Layer: "a"}}}}
	if got, want := fmt.Sprint(lineage.New(l).Needs("a")), "[template t:1 machine m snapshot old of machine bare]"; got != want {
		t.Errorf("Needs(a) = %s, want %s", got, want)
	}
}
