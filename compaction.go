package clade

// A Compaction says what became of a machine's disks, or would: how many layers lie
// below them, which of these are merged into the heads, and what that gives back.
type Compaction struct {
	Machine Name     `json:"machine"`
	Was     int      `json:"was"`    // depth of its deepest disk
	Is      int      `json:"is"`     // depth then
	Merged  []string `json:"merged"` // layers that only this machine needed
	Freed   Bytes    `json:"freed"`
	Writes  Bytes    `json:"writes"`          // what is written for it, at most
	Notes   []string `json:"notes,omitempty"` // what was not done, and why
}

// ChainBudget is how many layers may lie below a head before clade merges those that
// only its machine needs, unless told otherwise.
const ChainBudget = 16
