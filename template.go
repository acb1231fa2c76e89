package clade

import (
	"encoding/json"
	"time"
)

// A Template is name:version: sealed layers, default hardware, where it came
// from, and the attestation of its generalization. It never changes.
type Template struct {
	Name        Name            `json:"name"`
	Version     string          `json:"version"`
	Source      string          `json:"source"` // "machine debian-12"
	User        string          `json:"user,omitempty"`
	Hardware    Hardware        `json:"hardware"`
	Disks       []TemplateDisk  `json:"disks"`
	Generalized bool            `json:"generalized"`
	Attestation json.RawMessage `json:"attestation,omitempty"` // the report of generalization
	Believed    string          `json:"believed,omitempty"`    // whose word the attestation is, where this home did not prove it
	Machines    int             `json:"machines"`              // how many machines rest on it now
	Warm        *Warm           `json:"warm,omitempty"`        // what instant clones resume from, if it was warmed
	Created     time.Time       `json:"created"`
	Pause       *Pause          `json:"pause,omitempty"` // of the machine, where it was made just now of one that ran; not kept
}

// Ref returns the template's name and version.
func (t *Template) Ref() Ref { return Ref{Name: t.Name, Version: t.Version} }

// A TemplateDisk is one disk of a template: the sealed layer clones rest on.
type TemplateDisk struct {
	Slot    int    `json:"slot"`
	Layer   string `json:"layer"`
	Virtual Bytes  `json:"virtual"`
	Label   string `json:"label,omitempty"` // of a data disk, as in Disk
	Mount   string `json:"mount,omitempty"`
}

// A Layer is an immutable, sealed disk image file; it may rest on one parent.
// The fields from Size to Changed are what was recorded at sealing; every start
// compares them with the file.
type Layer struct {
	ID          string          `json:"id"`
	Parent      string          `json:"parent,omitempty"`
	Origin      string          `json:"origin"` // for people: "freeze of machine web-1"
	Digest      string          `json:"digest"` // "sha256:..." of the file
	Virtual     Bytes           `json:"virtual"`
	Size        Bytes           `json:"size"`      // the file's length
	Allocated   Bytes           `json:"allocated"` // what it takes on the host's disk
	Inode       uint64          `json:"inode"`
	Modified    int64           `json:"modified"`         // mtime, nanoseconds since 1970
	Changed     int64           `json:"changed"`          // ctime, nanoseconds since 1970
	Verity      string          `json:"verity,omitempty"` // what the kernel measured of the file (fs-verity), where it can
	Sealed      bool            `json:"sealed"`
	Attestation json.RawMessage `json:"attestation,omitempty"`
	Verified    time.Time       `json:"verified,omitzero"` // when its content was last read and was what was sealed
	Created     time.Time       `json:"created"`
}

// A Network is an isolated layer-2 segment with DHCP, DNS and a gateway, run by
// clade's own user-space switch.
type Network struct {
	Name     Name      `json:"name"`
	Subnet   string    `json:"subnet"`
	Gateway  string    `json:"gateway"`
	NAT      bool      `json:"nat"`                // whether machines reach the outside
	Isolated bool      `json:"isolated,omitempty"` // machines reach the gateway and not one another
	Machines []Name    `json:"machines"`
	Running  bool      `json:"running"` // whether its switch runs now
	Created  time.Time `json:"created"`
}
