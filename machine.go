package clade

import (
	"net/netip"
	"time"
)

// A Machine is a VM: hardware, identity, and for each disk a writable head that
// rests on a layer or on nothing.
type Machine struct {
	ID       string    `json:"id"`
	Name     Name      `json:"name"`
	Clone    CloneKind `json:"clone,omitempty"`  // empty for a machine that is no clone
	Source   string    `json:"source,omitempty"` // what it was made from, for people: "template debian-12:1"
	Newer    string    `json:"newer,omitempty"`  // the newest version of that template, where it is another one
	State    State     `json:"state"`            // derived from facts at the time of asking
	Reason   string    `json:"reason,omitempty"` // why it is stopped, where that is known
	PID      int       `json:"pid,omitempty"`
	Identity Identity  `json:"identity"`
	Hardware Hardware  `json:"hardware"`
	Network  string    `json:"network,omitempty"`  // a network's name, "bridge:NAME", or none
	Isolated bool      `json:"isolated,omitempty"` // it reaches the gateway and no other machine
	User     string    `json:"user,omitempty"`     // the guest's login made by cloud-init; empty where that is not known
	// MachineID is the guest's own, as it was last read; empty where it is not known.
	MachineID string `json:"machine_id,omitempty"`
	Disks     []Disk `json:"disks"`
	// Budget is the home's chain budget, where a chain of the machine is longer than that.
	Budget int `json:"budget,omitempty"`
	// Warm is the id of the warm template of an instant clone, to which a reset goes
	// back; Asleep says that its next start resumes it from there.
	Warm    string    `json:"warm,omitempty"`
	Asleep  bool      `json:"asleep,omitempty"`
	Created time.Time `json:"created"`
	// Pause is how long the machine that it was just cloned from stood still; not kept.
	Pause *Pause `json:"pause,omitempty"`
}

// Depth returns how many layers lie below the deepest of m's disks.
func (m *Machine) Depth() (deepest int) {
	for _, d := range m.Disks {
		deepest = max(deepest, d.Depth)
	}
	return deepest
}

// A CloneKind says what a clone rests on.
type CloneKind string

// The kinds of clone.
const (
	Full   CloneKind = "full"   // rests on nothing
	Linked CloneKind = "linked" // a delta on a layer
	// Instant clones are linked, and resumed from the memory of a warm template.
	Instant CloneKind = "instant"
)

// A State is what a machine does right now.
type State string

// The states. They are derived from the process and its answers, never stored.
const (
	Running State = "running"
	Paused  State = "paused"
	Stopped State = "stopped"
)

// Identity is what makes a machine itself on the outside. All of it is clade's
// to give and unique in the home; the address is unique in its network.
type Identity struct {
	UUID       string     `json:"uuid"` // SMBIOS type 1
	MAC        string     `json:"mac,omitempty"`
	IP         netip.Addr `json:"ip,omitzero"`
	Hostname   Name       `json:"hostname"`
	InstanceID string     `json:"instance_id"` // cloud-init's
}

// Hardware is the virtual computer itself. Zero values mean the default.
type Hardware struct {
	CPUs     int      `json:"cpus"`
	Memory   Bytes    `json:"memory"`
	Firmware Firmware `json:"firmware"`
}

// Firmware is what runs before the boot loader.
type Firmware string

// The firmwares.
const (
	BIOS Firmware = "bios"
	UEFI Firmware = "uefi"
)

// A Disk is one disk of a machine: its writable head and what that rests on.
type Disk struct {
	Slot    int    `json:"slot"`
	Serial  string `json:"serial"`
	Virtual Bytes  `json:"virtual"`
	Layer   string `json:"layer,omitempty"` // the id of the layer it rests on
	Base    string `json:"base,omitempty"`  // the layer the clone was made on, to which a reset goes back
	Depth   int    `json:"depth"`           // layers below the head
	Label   string `json:"label,omitempty"` // of a data disk: that of its file system; empty: a system disk
	Mount   string `json:"mount,omitempty"` // of a data disk: where it is mounted in the guest
}

// Data reports whether d is a data disk: no reset, rebase or restore touches it, and
// neither a template nor a clone has it unless that was asked for.
func (d Disk) Data() bool { return d.Label != "" }

// Reading is a machine's identity as the running guest itself tells it, through
// the guest agent. Values come from the guest: validated, bounded, not trusted.
type Reading struct {
	Hostname   string   `json:"hostname"`
	MachineID  string   `json:"machine_id"`
	UUID       string   `json:"uuid"` // SMBIOS, as the guest's kernel reports it
	MACs       []string `json:"macs"`
	IPs        []string `json:"ips"`
	HostKeys   []string `json:"host_keys"` // SSH fingerprints, "SHA256:..."
	InstanceID string   `json:"instance_id"`
}

// A Condition is something a machine can be waited for.
type Condition string

// The conditions, in the order a guest usually reaches them.
const (
	WhenAgent     Condition = "agent"      // the guest agent answers
	WhenSSH       Condition = "ssh"        // an SSH server greets on port 22
	WhenCloudInit Condition = "cloud-init" // cloud-init is done
	WhenStopped   Condition = "stopped"
)
