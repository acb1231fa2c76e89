package clade

import "time"

// A Snapshot is a machine as it was at one moment: the layers its disks rested on
// then, kept under a name for that machine.
type Snapshot struct {
	Machine Name      `json:"machine"`
	Name    Name      `json:"name"`
	Clone   CloneKind `json:"clone,omitempty"` // what the machine was then
	Source  string    `json:"source,omitempty"`
	Disks   []Disk    `json:"disks"` // without serials
	Created time.Time `json:"created"`
	Pause   *Pause    `json:"pause,omitempty"` // of one made just now while the machine ran; not kept
}

// A Pause is how long a running machine stood still while it was frozen.
type Pause struct {
	Length time.Duration `json:"length_ns"`
	Frozen bool          `json:"frozen"` // its file systems too: what was frozen is consistent, and not only as after a power cut
}
