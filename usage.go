package clade

import "time"

// Lineage is the tree of layers and what rests on them.
type Lineage struct {
	Layers    []*Layer    `json:"layers"`
	Templates []*Template `json:"templates"`
	Machines  []*Machine  `json:"machines"`
	Snapshots []*Snapshot `json:"snapshots"`
	Warm      []*Warm     `json:"warm"`
}

// Usage accounts for every byte of the home. Parts adds up to Allocated, which is
// what du says of the home; so do machines, layers, orphans and the parts beside them.
type Usage struct {
	Machines  []MachineUsage  `json:"machines"`
	Layers    []LayerUsage    `json:"layers"`
	Templates []TemplateUsage `json:"templates"`
	Orphans   []Garbage       `json:"orphans"`     // what gc takes away
	Parts     []PartUsage     `json:"parts"`       // all of it by what it is
	Allocated Bytes           `json:"allocated"`   // all of the home
	Reflinked Bytes           `json:"reflinked"`   // of it, how much lies on the disk once and is counted in several files
	FullCost  Bytes           `json:"full_copies"` // what the home would take if all machines were full copies
}

// MachineUsage is the disk usage of one machine.
type MachineUsage struct {
	Name      Name      `json:"name"`
	Clone     CloneKind `json:"clone,omitempty"`
	Virtual   Bytes     `json:"virtual"`
	Allocated Bytes     `json:"allocated"` // by its own files: heads, seed, NVRAM, logs, its directory
	Heads     Bytes     `json:"heads"`     // of that, by its heads
	Exclusive Bytes     `json:"exclusive"` // of what is allocated, what no other file shares
	Shared    Bytes     `json:"shared"`    // allocated by the layers below its heads and snapshots
	Freed     Bytes     `json:"freed"`     // what its removal frees: what is exclusive, and the layers that go with it
}

// LayerUsage is the disk usage of one layer and who rests on it, directly or not.
type LayerUsage struct {
	ID        string   `json:"id"`
	Origin    string   `json:"origin"`
	Virtual   Bytes    `json:"virtual"`
	Allocated Bytes    `json:"allocated"`            // by its file and directory
	Exclusive Bytes    `json:"exclusive"`            // of that, what no other file shares
	Freed     Bytes    `json:"freed"`                // what goes when the one that rests on it goes; 0 where several do
	FreedWith string   `json:"freed_with,omitempty"` // that one: "machine web-1"
	Machines  []Name   `json:"machines"`
	Templates []string `json:"templates"`
}

// TemplateUsage is the disk usage of one template.
type TemplateUsage struct {
	Template  string `json:"template"` // name:version
	Virtual   Bytes  `json:"virtual"`
	Allocated Bytes  `json:"allocated"` // by the layers it rests on
	Exclusive Bytes  `json:"exclusive"` // of that, by layers that nothing else needs
	Shared    Bytes  `json:"shared"`    // and by those that others need too
	Freed     Bytes  `json:"freed"`     // what its removal frees
}

// PartUsage is what one kind of thing takes: heads, layers, the database, ...
type PartUsage struct {
	What      string `json:"what"`
	Allocated Bytes  `json:"allocated"`
}

// Garbage is something in the home that no record names and nobody builds.
type Garbage struct {
	Path  string `json:"path"`
	Bytes Bytes  `json:"bytes"`
	Why   string `json:"why"`
}

// A Going is what is to be removed.
type Going struct {
	Machines  []Name
	Templates []Ref
	Snapshots []GoingSnapshot
}

// A GoingSnapshot is one snapshot of a Going.
type GoingSnapshot struct{ Machine, Name Name }

// A Removal says what a removal took, or would take, and what stays, and why.
type Removal struct {
	Removed string      `json:"removed"`
	Freed   Bytes       `json:"freed"`
	Kept    []KeptLayer `json:"kept,omitempty"` // layers it rests on that others rest on too
}

// A KeptLayer is a layer that a removal leaves, since others rest on it.
type KeptLayer struct {
	Layer  string   `json:"layer"`
	Bytes  Bytes    `json:"bytes"`
	Needed []string `json:"needed_by"` // "template debian-12:1", "machine web-1", ...
}

// A VerifySpec says what is verified.
type VerifySpec struct {
	Names  []string // machines and templates; none: all layers
	Again  bool     // from the start, although a verification of the same was interrupted
	Repair string   // mend what is damaged from this: a bundle, another file with the layer's content, or REGISTRY/NAME:VERSION
	RegistryOptions
}

// A Verdict is what the check of one layer found.
type Verdict struct {
	Layer    string    `json:"layer"`
	Intact   bool      `json:"intact"`
	Detail   string    `json:"detail,omitempty"`
	Repaired bool      `json:"repaired,omitempty"` // it was damaged, and is what was sealed again
	Verified time.Time `json:"verified,omitzero"`  // when its content was read: before, where an interrupted verification goes on
	Restart  []Name    `json:"restart,omitempty"`  // of a repaired layer: who runs, and reads the damaged file until it is restarted
	Needed   []string  `json:"needed_by,omitempty"`
}

// A Check is one finding of the doctor.
type Check struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"` // clade cannot work without it
	Found    string `json:"found"`    // version, path or measure
	Fix      string `json:"fix,omitempty"`
}
