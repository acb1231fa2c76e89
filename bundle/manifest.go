package bundle

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/clade-vm/clade"
)

// A Kind is what a bundle holds.
type Kind string

// The kinds of bundle.
const (
	Template Kind = "template"
	Machine  Kind = "machine"
)

// A Manifest says what a bundle holds: one template or machine, and the layers
// of its disks. Of a machine it has no identity: that is a home's to give.
type Manifest struct {
	Format      int             `json:"format"`
	Kind        Kind            `json:"kind"`
	Name        clade.Name      `json:"name"`
	Version     string          `json:"version,omitempty"` // of a template
	Source      string          `json:"source,omitempty"`  // what it was made from, for people
	User        string          `json:"user,omitempty"`
	Hardware    clade.Hardware  `json:"hardware"`
	Generalized bool            `json:"generalized"`
	Attestation json.RawMessage `json:"attestation,omitempty"`
	Created     time.Time       `json:"created"`
	Disks       []Disk          `json:"disks"`  // by slot
	Layers      []Layer         `json:"layers"` // each once, parents first
}

// A Disk is one disk of the template or machine.
type Disk struct {
	Slot    int         `json:"slot"`
	Virtual clade.Bytes `json:"virtual"`
	Layer   string      `json:"layer"`           // the id of its topmost layer: a machine's head
	Label   string      `json:"label,omitempty"` // of a data disk
	Mount   string      `json:"mount,omitempty"` // of a data disk
}

// A Layer is one qcow2 file of a bundle: a sealed layer, or the head of one disk
// of a machine, which is no layer yet and gets its place from the caller.
type Layer struct {
	ID          string          `json:"id"`
	Parent      string          `json:"parent,omitempty"` // the id of the layer it rests on
	Head        bool            `json:"head,omitempty"`
	Digest      string          `json:"digest"` // "sha256:..." of the file
	Size        clade.Bytes     `json:"size"`   // the file's length
	Virtual     clade.Bytes     `json:"virtual"`
	Origin      string          `json:"origin,omitempty"`
	Attestation json.RawMessage `json:"attestation,omitempty"`
	Created     time.Time       `json:"created"`
}

// OfTemplate returns the manifest of a template, without its disks: see AddDisk.
func OfTemplate(t *clade.Template) *Manifest {
	return &Manifest{Format: Format, Kind: Template, Name: t.Name, Version: t.Version, Source: t.Source, User: t.User,
		Hardware: t.Hardware, Generalized: t.Generalized, Attestation: t.Attestation, Created: t.Created}
}

// OfMachine returns the manifest of a machine, without its disks: see AddDisk.
func OfMachine(m *clade.Machine) *Manifest {
	return &Manifest{Format: Format, Kind: Machine, Name: m.Name, Source: m.Source, User: m.User, Hardware: m.Hardware, Created: m.Created}
}

// AddDisk adds a disk and the layers of its chain, from the top down, that are
// not there yet. head is what a machine has written since, with its digest (see
// Sum), size, virtual size and time; it is nil for a template.
func (m *Manifest) AddDisk(slot int, chain []*clade.Layer, head *Layer) {
	d := Disk{Slot: slot}
	for _, l := range slices.Backward(chain) {
		d.Layer, d.Virtual = l.ID, l.Virtual
		if m.layer(l.ID) == nil {
			m.Layers = append(m.Layers, Layer{ID: l.ID, Parent: l.Parent, Digest: l.Digest, Size: l.Size, Virtual: l.Virtual,
				Origin: l.Origin, Attestation: l.Attestation, Created: l.Created})
		}
	}
	if head != nil {
		h := *head
		h.ID, h.Parent, h.Head = headID(slot), d.Layer, true
		d.Layer, d.Virtual = h.ID, h.Virtual
		m.Layers = append(m.Layers, h)
	}
	m.Disks = append(m.Disks, d)
}

// SetData says that the disk last added is a data disk.
func (m *Manifest) SetData(label, mount string) {
	d := &m.Disks[len(m.Disks)-1]
	d.Label, d.Mount = label, mount
}

// headID is the id that a head has in a bundle.
func headID(slot int) string { return fmt.Sprintf("head-%d", slot) }

// Record returns the template as it is recorded, not yet used by any machine.
func (m *Manifest) Record() *clade.Template {
	t := &clade.Template{Name: m.Name, Version: m.Version, Source: m.Source, User: m.User, Hardware: m.Hardware,
		Generalized: m.Generalized, Attestation: m.Attestation, Created: m.Created}
	for _, d := range m.Disks {
		t.Disks = append(t.Disks, clade.TemplateDisk{Slot: d.Slot, Layer: d.Layer, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount})
	}
	return t
}

// Chain returns the layer id and all it rests on, from the top down.
func (m *Manifest) Chain(id string) []Layer {
	var chain []Layer
	for len(chain) < len(m.Layers) {
		l := m.layer(id)
		if l == nil {
			break
		}
		chain = append(chain, *l)
		id = l.Parent
	}
	return chain
}

// Size is the length of all layers together, holes included.
func (m *Manifest) Size() clade.Bytes {
	var sum clade.Bytes
	for _, l := range m.Layers {
		sum += l.Size
	}
	return sum
}

func (m *Manifest) layer(id string) *Layer {
	if i := slices.IndexFunc(m.Layers, func(l Layer) bool { return l.ID == id }); i >= 0 {
		return &m.Layers[i]
	}
	return nil
}

// Record returns the layer as it is recorded. The facts of its file (allocated,
// inode, times) are those of the file that was made.
func (l Layer) Record() *clade.Layer {
	return &clade.Layer{ID: l.ID, Parent: l.Parent, Origin: l.Origin, Digest: l.Digest, Virtual: l.Virtual, Size: l.Size,
		Sealed: true, Attestation: l.Attestation, Created: l.Created}
}

// Is says whether the home's layer with the same id, nil for none, is this one. A
// home that has another layer under this id cannot take this one: kind Exists.
func (l Layer) Is(there *clade.Layer) (bool, error) {
	switch {
	case there == nil || there.ID != l.ID:
		return false, nil
	case there.Sealed && there.Digest == l.Digest && there.Parent == l.Parent:
		return true, nil
	}
	return false, &clade.Error{Op: "import", On: "layer " + l.ID, Kind: clade.Exists,
		Err:  fmt.Errorf("there is another layer with this id: its digest is %.19s…, that of the bundle's %.19s…", there.Digest, l.Digest),
		Hint: "import it into another home; or remove what rests on the other one: clade tree"}
}
