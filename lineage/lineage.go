// Package lineage is the tree of layers: what rests on what.
//
// It is pure: it answers questions about a clade.Lineage that somebody else
// read, and changes nothing.
package lineage

import (
	"fmt"
	"slices"

	"github.com/clade-vm/clade"
)

// A Tree answers what a layer rests on and what rests on it.
type Tree struct {
	layers    map[string]*clade.Layer
	children  map[string][]string
	machines  map[string][]clade.Name
	templates map[string][]string
	snapshots map[string][]*clade.Snapshot
	warm      map[string][]*clade.Warm
}

// New indexes l. The Lineage must not change while the Tree is used.
func New(l *clade.Lineage) *Tree {
	t := &Tree{
		layers:    make(map[string]*clade.Layer, len(l.Layers)),
		children:  make(map[string][]string),
		machines:  make(map[string][]clade.Name),
		templates: make(map[string][]string),
		snapshots: make(map[string][]*clade.Snapshot),
		warm:      make(map[string][]*clade.Warm),
	}
	for _, layer := range l.Layers {
		t.layers[layer.ID] = layer
		if layer.Parent != "" {
			t.children[layer.Parent] = append(t.children[layer.Parent], layer.ID)
		}
	}
	for _, m := range l.Machines {
		for _, d := range m.Disks {
			if d.Layer != "" {
				t.machines[d.Layer] = append(t.machines[d.Layer], m.Name)
			}
		}
	}
	for _, tpl := range l.Templates {
		for _, d := range tpl.Disks {
			t.templates[d.Layer] = append(t.templates[d.Layer], tpl.Ref().String())
		}
	}
	for _, s := range l.Snapshots {
		for _, d := range s.Disks {
			t.snapshots[d.Layer] = append(t.snapshots[d.Layer], s)
		}
	}
	for _, w := range l.Warm {
		for _, d := range w.Disks {
			t.warm[d.Layer] = append(t.warm[d.Layer], w)
		}
	}
	return t
}

// Chain returns the layers from id down to the one that rests on nothing. The
// empty id has the empty chain. Kind Corrupt for a missing or circular parent.
func (t *Tree) Chain(id string) ([]*clade.Layer, error) {
	var chain []*clade.Layer
	for id != "" {
		layer, ok := t.layers[id]
		if !ok || len(chain) > len(t.layers) {
			return nil, &clade.Error{Op: "follow", On: "layer " + id, Kind: clade.Corrupt,
				Err: fmt.Errorf("its record is missing or circular")}
		}
		chain = append(chain, layer)
		id = layer.Parent
	}
	return chain, nil
}

// Depth returns how many layers lie at and below id; 0 for the empty id.
func (t *Tree) Depth(id string) int {
	depth := 0
	for id != "" && depth <= len(t.layers) {
		layer, ok := t.layers[id]
		if !ok {
			break
		}
		depth++
		id = layer.Parent
	}
	return depth
}

// Layer returns the layer of that id, or nil.
func (t *Tree) Layer(id string) *clade.Layer { return t.layers[id] }

// Children returns the layers that rest directly on id.
func (t *Tree) Children(id string) []string { return t.children[id] }

// Roots returns the layers that rest on nothing, in the order of the Lineage.
func (t *Tree) Roots(l *clade.Lineage) []*clade.Layer {
	var roots []*clade.Layer
	for _, layer := range l.Layers {
		if layer.Parent == "" {
			roots = append(roots, layer)
		}
	}
	return roots
}

// On returns the machines and templates that rest directly on id.
func (t *Tree) On(id string) (machines []clade.Name, templates []string) {
	return t.machines[id], t.templates[id]
}

// SnapshotsOn returns the snapshots that rest directly on id.
func (t *Tree) SnapshotsOn(id string) []*clade.Snapshot { return t.snapshots[id] }

// WarmOn returns the warm templates whose clones rest directly on id.
func (t *Tree) WarmOn(id string) []*clade.Warm { return t.warm[id] }

// Above returns the machines and templates that rest on id, directly or through
// other layers or their snapshots, sorted, each once.
func (t *Tree) Above(id string) (machines []clade.Name, templates []string) {
	t.walk(id, 0, func(layer string) {
		machines = append(machines, t.machines[layer]...)
		templates = append(templates, t.templates[layer]...)
		for _, s := range t.snapshots[layer] {
			machines = append(machines, s.Machine)
		}
		for _, w := range t.warm[layer] {
			if w.Template.Name != "" {
				templates = append(templates, w.Template.String())
			}
		}
	})
	slices.Sort(machines)
	slices.Sort(templates)
	return slices.Compact(machines), slices.Compact(templates)
}

func (t *Tree) walk(id string, depth int, visit func(string)) {
	if depth > len(t.layers) {
		return // circular records: Chain reports them
	}
	visit(id)
	for _, child := range t.children[id] {
		t.walk(child, depth+1, visit)
	}
}

// Unused returns the layers that no machine, template, snapshot or warm template
// rests on, children before their parents, so that they can be removed in this order.
func (t *Tree) Unused() []*clade.Layer {
	used := make(map[string]bool)
	mark := func(id string) {
		for id != "" && !used[id] {
			used[id] = true
			layer, ok := t.layers[id]
			if !ok {
				return
			}
			id = layer.Parent
		}
	}
	for id := range t.machines {
		mark(id)
	}
	for id := range t.templates {
		mark(id)
	}
	for id := range t.snapshots {
		mark(id)
	}
	for id := range t.warm {
		mark(id)
	}
	var unused []*clade.Layer
	for id, layer := range t.layers {
		if !used[id] {
			unused = append(unused, layer)
		}
	}
	slices.SortFunc(unused, func(a, b *clade.Layer) int { return t.Depth(b.ID) - t.Depth(a.ID) })
	return unused
}
