// Package hypervisor is the seam between the operations and whatever runs the
// machines: the Driver, the pure data it is given, and its optional abilities.
//
// A driver starts machines that outlive the process that started them. It keeps
// no state of its own: what a machine does is derived from facts in its Place.
// The package does nothing itself; hypervisortest holds the contract that every
// driver passes, fake is a driver without a hypervisor.
package hypervisor

import (
	"context"
	"io"
	"time"

	"github.com/clade-vm/clade"
)

// A Driver runs machines. All methods are safe for concurrent use.
type Driver interface {
	// Start powers a machine on and returns once it runs. ctx bounds the start,
	// not the life of the machine. On an error nothing runs.
	// Kinds: Busy (it runs already), Missing (no hypervisor), Denied, Invalid.
	Start(ctx context.Context, p Place, s Spec) error
	// Status derives what the machine in p does now. A machine that was never
	// started is Stopped without a reason.
	Status(ctx context.Context, p Place) (Status, error)
	// Stop asks the guest to power off and returns once asked, not once off.
	// Kind NotRunning where nothing runs.
	Stop(ctx context.Context, p Place) error
	// Kill ends the machine at once and returns once it is gone. Killing what
	// does not run is no error.
	Kill(ctx context.Context, p Place) error
}

// A Place is where the files of one machine lie.
type Place struct {
	Dir string // outlives the machine's runs: lock, logs
	Run string // sockets; short, since a socket path has at most 107 bytes
}

// A Spec is everything needed to power a machine on. It is pure data: the same
// Spec gives the same virtual computer.
type Spec struct {
	ID          string         `json:"id"`
	Name        clade.Name     `json:"name"`
	UUID        string         `json:"uuid"`
	Hardware    clade.Hardware `json:"hardware"`
	Accelerator string         `json:"accelerator"` // "kvm" or "tcg"
	Disks       []Disk         `json:"disks"`
	NIC         *NIC           `json:"nic,omitempty"`
	Seed        string         `json:"seed,omitempty"`    // path of the cloud-init volume
	NVRAM       string         `json:"nvram,omitempty"`   // path of the machine's UEFI variables; made by the driver if not there
	Machine     string         `json:"machine,omitempty"` // the machine type, as a Saver names it; empty: the driver's choice
	Memory      *Memory        `json:"memory,omitempty"`  // nil: the machine's own, gone with it
}

// A Memory is a file that is a guest's memory.
type Memory struct {
	File string `json:"file,omitempty"` // empty: what a Keeper wrote has the memory in its State
	// State is a file that a Saver or a Keeper wrote: the machine does not boot but goes
	// on where that one stood, and File is read and never written. Many machines can go
	// on from one pair of files. Empty: the machine boots, and its memory is in File,
	// which the driver makes.
	State string `json:"state,omitempty"`
}

// A Disk is one disk of a Spec, in the order of its slots.
type Disk struct {
	Path   string `json:"path"`   // a qcow2 file; the format is never probed
	Serial string `json:"serial"` // as the guest sees it, at most 20 bytes
}

// A NIC connects a machine to a network: to the switch that dials Socket, or to
// a bridge of the host.
type NIC struct {
	MAC    string `json:"mac"`
	Socket string `json:"socket,omitempty"` // the hypervisor listens here
	Bridge string `json:"bridge,omitempty"`
}

// A Status is what a machine does now, derived from facts.
type Status struct {
	State  clade.State
	Reason string    // why it is stopped: "guest powered off", "killed by signal 9", ...
	PID    int       // 0 when stopped
	Since  time.Time // of the last start; zero if never
}

// A Guester reaches the agent in a running guest.
type Guester interface {
	// Guest connects to the agent and returns once it answered; the caller closes
	// it. Kinds: NotRunning; Timeout where the agent did not answer until ctx ended.
	Guest(ctx context.Context, p Place) (Guest, error)
}

// A Guest is a connection to the agent in one guest. Not safe for concurrent use.
type Guest interface {
	Exec(ctx context.Context, c clade.Command) (*clade.Exit, error)
	// ReadFile returns at most limit bytes of a file; kind NotFound if it is not there.
	ReadFile(ctx context.Context, path string, limit int) ([]byte, error)
	// Order writes orders to a named pipe from which a process of the guest reads, and
	// returns the size bytes that a process writes to the named pipe answer at once.
	// Kind NotFound: there are no such pipes.
	Order(ctx context.Context, pipe string, orders []byte, answer string, size int) ([]byte, error)
	Interfaces(ctx context.Context) ([]Interface, error)
	io.Closer
}

// An Interface is a network interface as the guest reports it.
type Interface struct {
	Name string
	MAC  string
	IPs  []string
}

// A Consoler gives access to the serial console of a running machine.
type Consoler interface {
	Console(ctx context.Context, p Place) (io.ReadWriteCloser, error)
}

// A Snapshotter moves a running machine to new heads.
type Snapshotter interface {
	// Heads returns the files the running machine writes to, by slot.
	Heads(ctx context.Context, p Place) ([]string, error)
	// Switch makes the running machine go on writing in the new heads, one for
	// each slot, which rest on the files it wrote to so far: all or none. A disk
	// whose new head is the one it has stays as it is. File systems are frozen meanwhile where an agent answers. It returns how long
	// the guest stood still and whether its file systems were frozen.
	Switch(ctx context.Context, p Place, heads []string) (Pause, error)
}

// A Rest is what a head is to rest on: the file that lies Below files under it, with
// the name that the head gives it. One at 1 is what it rests on already; the zero
// Rest is nothing.
type Rest struct {
	Below int
	Name  string
}

// A Streamer makes what a running machine writes to rest on less than it does.
type Streamer interface {
	// Stream copies into each head, by slot, what it has from the files above its
	// Rest, while the guest runs on, and returns once the heads rest on those. pace is
	// how much it copies in a second at most, 0 for what it can. tell is told how many
	// bytes are done of how many. When ctx ends, what was copied stays in
	// the heads, which still rest on what they did; Stream can be called again, and
	// waits for what a caller that died had begun. Kinds: NotRunning, NoSpace, Corrupt,
	// Timeout, Unsupported.
	Stream(ctx context.Context, p Place, onto []Rest, pace clade.Bytes, tell func(done, total int64)) error
}

// A Pause is what switching heads cost the guest.
type Pause struct {
	Length time.Duration
	Frozen bool // file systems were frozen: the old heads are consistent, not only crash-consistent
}

// A Saver saves what running machines are, so that others go on from there.
type Saver interface {
	// Bind tells what a memory that is saved or resumed here depends on. known may be
	// an earlier answer: what its program's digest decides is taken from it.
	Bind(ctx context.Context, accelerator string, known clade.Bound) (clade.Bound, error)
	// Save stops the processors of a machine whose memory is a file that it writes to,
	// and writes what else it is, but for its disks, to the new file state. It stands
	// still then. Kinds: NotRunning; Unsupported (its memory is no file); NoSpace.
	Save(ctx context.Context, p Place, state string) error
}

// A Keeper keeps what a running machine is, its memory too, while it goes on.
type Keeper interface {
	// Bind tells what a memory that is kept or resumed here depends on, as a Saver's does.
	Bind(ctx context.Context, accelerator string, known clade.Bound) (clade.Bound, error)
	// Keep stops the processors of a running machine, writes its memory and devices to
	// the new file state, makes it go on writing in the new heads, as Switch does, and
	// lets it run on: the file and what lies below the heads are of one moment. The
	// Pause says how long it stood still. After an error it runs on, in all of the new
	// heads or in none, and there is no file. Kinds: NotRunning; Unsupported (it does not
	// run under bound, or was itself woken from a memory of others); NoSpace.
	Keep(ctx context.Context, p Place, bound clade.Bound, state string, heads []string) (Pause, error)
	// Continue lets a machine run on that a caller of Keep, who died, left standing
	// still. It changes nothing for one that runs. Kind NotRunning.
	Continue(ctx context.Context, p Place) error
}

// A Plugger connects running machines to networks.
type Plugger interface {
	// Plug gives a running machine the NIC that it was started without. Plugging one
	// in again is no error. Kind NotRunning.
	Plug(ctx context.Context, p Place, n NIC) error
}
