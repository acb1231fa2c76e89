package clade

import "time"

// A Warm is a warm template: what the memory, the devices and the disks of a
// machine of the template were at one moment, sealed. Instant clones resume from
// it. It never changes; a template that is warmed again has a new one.
type Warm struct {
	ID       string         `json:"id"`
	Template Ref            `json:"template,omitzero"` // zero once the template is gone or was warmed again
	After    string         `json:"after"`             // the point the guest had come to
	Hardware Hardware       `json:"hardware"`          // of all its clones
	Disks    []TemplateDisk `json:"disks"`             // the layers that the heads of instant clones rest on
	Bound    Bound          `json:"bound"`
	Files    []WarmFile     `json:"files"`
	Clones   int            `json:"clones"` // how many machines can go back to it
	Created  time.Time      `json:"created"`
}

// Allocated is what the memory and the device state take on the host's disk.
func (w *Warm) Allocated() (sum Bytes) {
	for _, f := range w.Files {
		sum += f.Allocated
	}
	return sum
}

// A WarmFile is what was recorded of one file of a warm template, or of the file of a
// snapshot's memory, when it was sealed. Who goes on from it compares the facts; verify
// recomputes the digest.
type WarmFile struct {
	Name      string `json:"name"`   // "ram" or "state"; of a snapshot, in the machine's directory
	Digest    string `json:"digest"` // "sha256:..."
	Size      Bytes  `json:"size"`
	Allocated Bytes  `json:"allocated"` // zero pages take nothing
	Inode     uint64 `json:"inode"`
	Modified  int64  `json:"modified"`         // mtime, nanoseconds since 1970
	Changed   int64  `json:"changed"`          // ctime, nanoseconds since 1970
	Verity    string `json:"verity,omitempty"` // as of a layer; the memory has none
}

// Bound is what a saved memory depends on: under anything else it cannot be
// resumed, or not safely.
type Bound struct {
	Version     string `json:"version"` // the hypervisor's
	Binary      string `json:"binary"`  // "sha256:..." of its program
	Machine     string `json:"machine"` // the machine type, with its version
	CPU         string `json:"cpu"`
	Accelerator string `json:"accelerator"`
}

// Differs names what of b is not what it is in now; empty for nothing.
func (b Bound) Differs(now Bound) []string {
	var list []string
	for _, f := range []struct{ name, was, is string }{
		{"QEMU's version", b.Version, now.Version}, {"QEMU's program", b.Binary, now.Binary},
		{"machine type", b.Machine, now.Machine}, {"processor", b.CPU, now.CPU}, {"accelerator", b.Accelerator, now.Accelerator},
	} {
		if f.was != f.is {
			list = append(list, f.name+": it was "+brief(f.was)+", it is "+brief(f.is))
		}
	}
	return list
}

// brief shortens digests, which nobody reads.
func brief(s string) string {
	if len(s) > 40 {
		return s[:19] + "…"
	}
	return s
}

// WarmSpec asks for a warm template.
type WarmSpec struct {
	Template Ref
	// After is the point that the guest is brought to: "agent", "cloud-init" (also
	// where it is empty) or a shell command, which is run after cloud-init is done.
	After    string
	Hardware Hardware // of the clones; zero values mean the template's
}

// The points of WarmSpec.After that are no command.
const (
	AfterAgent     = "agent"
	AfterCloudInit = "cloud-init"
)
