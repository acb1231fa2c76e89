package lineage

import (
	"slices"

	"github.com/clade-vm/clade"
)

// An Owner is the one machine or template that a layer is there for: the layer goes
// with it. The zero Owner is none or several.
type Owner struct {
	Machine  clade.Name
	Template string
}

// String names the owner for people, or is empty.
func (o Owner) String() string {
	switch {
	case o.Machine != "":
		return "machine " + string(o.Machine)
	case o.Template != "":
		return "template " + o.Template
	}
	return ""
}

// Owners returns for each layer that one machine, with its snapshots, or one
// template alone rests on, directly or not, which that is.
func (t *Tree) Owners() map[string]Owner {
	owners := make(map[string]Owner)
	several := make(map[string]bool)
	add := func(id string, o Owner) {
		if old, owned := owners[id]; several[id] || owned && old != o || o == (Owner{}) {
			several[id] = true
			delete(owners, id)
		} else {
			owners[id] = o
		}
	}
	// What rests on a layer rests on all below it; a layer that several need ends
	// the way down, since those below were told before.
	down := func(id string, o Owner) {
		for id != "" && !several[id] {
			layer := t.layers[id]
			if old, owned := owners[id]; layer == nil || owned && old == o {
				return
			}
			add(id, o)
			id = layer.Parent
		}
	}
	for id, machines := range t.machines {
		for _, m := range machines {
			down(id, Owner{Machine: m})
		}
	}
	for id, templates := range t.templates {
		for _, name := range templates {
			down(id, Owner{Template: name})
		}
	}
	for id, snapshots := range t.snapshots {
		for _, s := range snapshots {
			down(id, Owner{Machine: s.Machine})
		}
	}
	for id, warm := range t.warm {
		for _, w := range warm {
			if w.Template.Name != "" {
				down(id, Owner{Template: w.Template.String()})
			} else {
				down(id, Owner{}) // it goes with the last that can go back to it
			}
		}
	}
	return owners
}

// Needs names what rests on a layer, directly or not, for people: templates,
// machines, and the snapshots of machines that are not named themselves.
func (t *Tree) Needs(id string) []string {
	var machines []clade.Name
	var templates, snapshots []string
	t.walk(id, 0, func(layer string) {
		machines = append(machines, t.machines[layer]...)
		templates = append(templates, t.templates[layer]...)
		for _, w := range t.warm[layer] {
			if w.Template.Name != "" {
				templates = append(templates, w.Template.String())
			}
		}
	})
	slices.Sort(machines)
	t.walk(id, 0, func(layer string) {
		for _, s := range t.snapshots[layer] {
			if _, named := slices.BinarySearch(machines, s.Machine); !named {
				snapshots = append(snapshots, "snapshot "+string(s.Name)+" of machine "+string(s.Machine))
			}
		}
	})
	slices.Sort(templates)
	slices.Sort(snapshots)
	var list []string
	for _, t := range slices.Compact(templates) {
		list = append(list, "template "+t)
	}
	for _, m := range slices.Compact(machines) {
		list = append(list, "machine "+string(m))
	}
	return append(list, slices.Compact(snapshots)...)
}
