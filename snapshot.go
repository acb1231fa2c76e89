package clade

import "time"

// A Snapshot is a machine as it was at one moment: the layers its disks rested on
// then, kept under a name for that machine.
type Snapshot struct {
	Machine Name      `json:"machine"`
	Name    Name      `json:"name"`
	Clone   CloneKind `json:"clone,omitempty"` // what the machine was then
	Source  string    `json:"source,omitempty"`
	Disks   []Disk    `json:"disks"` // without serials; data disks are among them where its memory was kept
	Created time.Time `json:"created"`
	Pause   *Pause    `json:"pause,omitempty"` // of one made just now while the machine ran; not kept

	Memory *SavedMemory `json:"memory,omitempty"` // what the machine did then; nil: only its disks
}

// SnapshotSpec asks for a snapshot.
type SnapshotSpec struct {
	Machine, Name Name
	Memory        bool // keep what the machine is doing too: it must run
}

// RestoreSpec asks to go back to a snapshot.
type RestoreSpec struct {
	Machine, Name Name
	DiskOnly      bool // the machine stays stopped, also where the snapshot has its memory
}

// A SavedMemory is the memory and the devices of a machine at the moment of a
// snapshot, in a sealed file: the machine goes on from there when that is restored.
type SavedMemory struct {
	Hardware Hardware `json:"hardware"`
	Bound    Bound    `json:"bound"`
	File     WarmFile `json:"file"`
}

// A Pause is how long a running machine stood still while it was frozen.
type Pause struct {
	Length time.Duration `json:"length_ns"`
	Frozen bool          `json:"frozen"`           // its file systems too: what was frozen is consistent, and not only as after a power cut
	Memory bool          `json:"memory,omitempty"` // its memory was kept in the same moment, to which its disks belong
}
