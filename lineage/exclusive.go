package lineage

import "github.com/clade-vm/clade"

// Exclusive returns the layers from id down that nothing needs but the one machine's
// disk that rests on id, from the top, and the layer below them, "" for none. base,
// to which that disk may go back, is needed too.
func (t *Tree) Exclusive(id, base string) (run []*clade.Layer, below string) {
	for id != base && t.alone(id, len(run) == 0) {
		layer := t.layers[id]
		run, id = append(run, layer), layer.Parent
		if len(run) > len(t.layers) {
			break // circular records: Chain reports them
		}
	}
	return run, id
}

// alone tells whether one thing only rests on a sealed layer: at the top a machine's
// disk, further down the layer above.
func (t *Tree) alone(id string, top bool) bool {
	layer, ok := t.layers[id]
	if !ok || !layer.Sealed || len(t.templates[id])+len(t.snapshots[id])+len(t.warm[id]) > 0 {
		return false
	}
	if top {
		return len(t.machines[id]) == 1 && len(t.children[id]) == 0
	}
	return len(t.machines[id]) == 0 && len(t.children[id]) == 1
}
