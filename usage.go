package clade

// Lineage is the tree of layers and what rests on them.
type Lineage struct {
	Layers    []*Layer    `json:"layers"`
	Templates []*Template `json:"templates"`
	Machines  []*Machine  `json:"machines"`
	Snapshots []*Snapshot `json:"snapshots"`
	Warm      []*Warm     `json:"warm"`
}

// Usage accounts for every byte of the home.
type Usage struct {
	Machines  []MachineUsage `json:"machines"`
	Layers    []LayerUsage   `json:"layers"`
	Allocated Bytes          `json:"allocated"`   // heads and layers on the host's disk
	FullCost  Bytes          `json:"full_copies"` // what full copies of all machines would take
}

// MachineUsage is the disk usage of one machine.
type MachineUsage struct {
	Name      Name      `json:"name"`
	Clone     CloneKind `json:"clone,omitempty"`
	Virtual   Bytes     `json:"virtual"`
	Exclusive Bytes     `json:"exclusive"` // allocated by its heads: freed with the machine
	Shared    Bytes     `json:"shared"`    // allocated by the layers below its heads
}

// LayerUsage is the disk usage of one layer and who rests on it, directly or not.
type LayerUsage struct {
	ID        string   `json:"id"`
	Origin    string   `json:"origin"`
	Allocated Bytes    `json:"allocated"`
	Machines  []Name   `json:"machines"`
	Templates []string `json:"templates"`
}

// Garbage is something in the home that no record names and nobody builds.
type Garbage struct {
	Path  string `json:"path"`
	Bytes Bytes  `json:"bytes"`
	Why   string `json:"why"`
}

// A Verdict is what the check of one layer found.
type Verdict struct {
	Layer  string   `json:"layer"`
	Intact bool     `json:"intact"`
	Detail string   `json:"detail,omitempty"`
	Needed []string `json:"needed_by,omitempty"`
}

// A Check is one finding of the doctor.
type Check struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"` // clade cannot work without it
	Found    string `json:"found"`    // version, path or measure
	Fix      string `json:"fix,omitempty"`
}
