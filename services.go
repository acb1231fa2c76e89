package clade

import (
	"context"
	"io"
	"net"
)

// Machines makes, finds and removes machines.
type Machines interface {
	// Create makes one machine from a disk image file. Nothing remains on failure.
	Create(ctx context.Context, spec CreateSpec, p Progress) (*Machine, error)
	// Clone makes spec.Names clones: all of them or, on any error, none.
	// Kinds: NotFound, Exists, Unproven (the source is not generalized), NoSpace.
	Clone(ctx context.Context, spec CloneSpec, p Progress) ([]*Machine, error)
	// PlanClone says what Clone would do, and refuses what Clone would refuse.
	PlanClone(ctx context.Context, spec CloneSpec) (*Plan, error)
	Machine(ctx context.Context, name Name) (*Machine, error)
	Machines(ctx context.Context) ([]*Machine, error)
	// Remove deletes a stopped machine. What other machines need of it stays.
	Remove(ctx context.Context, name Name) (*Removal, error)
}

// Power starts and ends machines.
type Power interface {
	// Start returns once the machine runs. Starting a running machine is no error.
	Start(ctx context.Context, name Name, p Progress) error
	// Stop asks the guest to power off, through its agent or else ACPI, and
	// returns once it did. When ctx ends first the kind is Timeout and it still runs.
	Stop(ctx context.Context, name Name, p Progress) error
	// Kill ends the machine's process at once, like pulling the plug.
	Kill(ctx context.Context, name Name) error
	// Wait returns once the condition holds, or with kind Timeout when ctx ends.
	Wait(ctx context.Context, name Name, until Condition, p Progress) error
}

// Guests reaches into running machines.
type Guests interface {
	// Exec runs a command through the guest agent.
	Exec(ctx context.Context, name Name, c Command) (*Exit, error)
	// Read returns the identity that the guest itself reports.
	Read(ctx context.Context, name Name) (*Reading, error)
	// Dial connects to a TCP port of the machine over its network.
	Dial(ctx context.Context, name Name, port int) (net.Conn, error)
	// Console connects to the serial console. The caller closes it.
	Console(ctx context.Context, name Name) (io.ReadWriteCloser, error)
	// Log opens one of the machine's logs: "console" or "qemu".
	Log(ctx context.Context, name Name, which string) (io.ReadCloser, error)
	// Login says how to log in over SSH; the host keys are read from the guest.
	Login(ctx context.Context, name Name) (*Login, error)
}

// Templates makes, finds and removes templates.
type Templates interface {
	// CreateTemplate freezes a machine's heads, generalizes an overlay of them in
	// the appliance, proves it, and seals the result. The machine goes on unchanged.
	CreateTemplate(ctx context.Context, spec TemplateSpec, p Progress) (*Template, error)
	Template(ctx context.Context, ref Ref) (*Template, error)
	Templates(ctx context.Context) ([]*Template, error)
	// RemoveTemplate takes the name away; layers that clones rest on stay.
	RemoveTemplate(ctx context.Context, ref Ref) (*Removal, error)
}

// Masters brings golden masters into the home.
type Masters interface {
	// Build makes a machine from a recipe; the built disk is cached by the recipe.
	Build(ctx context.Context, spec BuildSpec, p Progress) (*Machine, error)
	// Import makes a machine from an image file or URL.
	Import(ctx context.Context, spec ImportSpec, p Progress) (*Machine, error)
}

// Networks makes, finds and removes user networks.
type Networks interface {
	CreateNetwork(ctx context.Context, spec NetworkSpec) (*Network, error)
	Network(ctx context.Context, name Name) (*Network, error)
	Networks(ctx context.Context) ([]*Network, error)
	RemoveNetwork(ctx context.Context, name Name) error
}

// Storage tells what rests on what, what it takes, and whether it is intact.
type Storage interface {
	Lineage(ctx context.Context) (*Lineage, error)
	Usage(ctx context.Context) (*Usage, error)
	// Verify recomputes the digests of the layers under the named machines and
	// templates, or of all where none is named. A verdict that is not intact
	// comes with an error of kind Corrupt.
	Verify(ctx context.Context, names []string, p Progress) ([]Verdict, error)
}

// Doctor examines the computer clade runs on.
type Doctor interface {
	Examine(ctx context.Context, p Progress) ([]Check, error)
}

// Services is all of the above: what a face needs of a host.
type Services interface {
	Machines
	Power
	Guests
	Templates
	Masters
	Networks
	Storage
	Doctor
}

// Options are the choices common to all ways of making machines. Zero values
// mean the source's default, or the built-in one.
type Options struct {
	Hardware Hardware
	Network  string // a network's name, "bridge:NAME" or "none"; empty: "default"
	IP       string // a wanted address; only for a single machine
	Hostname Name   // only for a single machine; empty: its name
	UserData []byte // cloud-init user data, passed on unchanged
	SSHKeys  []string
}

// CreateSpec asks for a machine made from a disk image.
type CreateSpec struct {
	Name Name
	Disk string // the image file
	Options
}

// CloneSpec asks for clones.
type CloneSpec struct {
	Source      string // a template (name:version) or a machine's name
	Names       []Name
	Kind        CloneKind // empty: linked
	Generalize  bool      // a machine as source: generalize what the clones rest on
	AcceptTwins bool      // clone although the source is not generalized
	Options
}

// A Plan is what a clone will cost, known before.
type Plan struct {
	Source   string        `json:"source"`
	Kind     CloneKind     `json:"kind"`
	RestsOn  []string      `json:"rests_on,omitempty"` // layer ids, from the top
	Machines []PlanMachine `json:"machines"`
	Bytes    Bytes         `json:"bytes"` // written now, in all
	Virtual  Bytes         `json:"virtual"`
	Free     Bytes         `json:"free"`
	Reflink  bool          `json:"reflink"` // full copies share extents on this file system
	Steps    []string      `json:"steps"`
}

// A PlanMachine is one machine of a plan.
type PlanMachine struct {
	Name  Name  `json:"name"`
	Bytes Bytes `json:"bytes"`
}

// A Removal says what a removal took and what stayed, and why.
type Removal struct {
	Removed string   `json:"removed"`
	Freed   Bytes    `json:"freed"`
	Kept    []string `json:"kept,omitempty"` // layers that others rest on
}

// TemplateSpec asks for a template.
type TemplateSpec struct {
	Ref            Ref // an empty version: the next number
	Machine        Name
	SkipGeneralize bool // the template is unproven: clones of it must be asked for explicitly
}

// BuildSpec asks for a golden master.
type BuildSpec struct {
	Recipe string // a built-in name or the path of a YAML file
	Name   Name   // the machine's name; empty: the recipe's
	Size   Bytes
	Options
}

// ImportSpec asks for a machine made from a foreign image.
type ImportSpec struct {
	Name   Name
	From   string // a file or an http(s) URL
	Format string // empty: detected
	SHA256 string // hex; empty: not checked
	Options
}

// NetworkSpec asks for a user network.
type NetworkSpec struct {
	Name   Name
	Subnet string // CIDR; empty: the next free one
	NAT    bool
}

// A Command is run in a guest.
type Command struct {
	Args  []string
	Input []byte
}

// An Exit is how a guest's command ended.
type Exit struct {
	Status    int    `json:"status"`
	Signal    int    `json:"signal,omitempty"`
	Out       []byte `json:"out"`
	Err       []byte `json:"err"`
	Truncated bool   `json:"truncated,omitempty"`
}

// A Login is all that an SSH client needs.
type Login struct {
	User       string   `json:"user"`        // empty where it is not known
	Key        string   `json:"key"`         // path of the home's private key
	KnownHosts string   `json:"known_hosts"` // path of a file with the guest's own keys
	Alias      string   `json:"alias"`       // the host name used in that file
	Proxy      []string `json:"proxy"`       // the command that connects standard input and output to port 22
}
