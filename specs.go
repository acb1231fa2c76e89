package clade

import "encoding/json"

// Options are the choices common to all ways of making machines. Zero values
// mean the source's default, or the built-in one.
type Options struct {
	Hardware Hardware
	Network  string // a network's name, "bridge:NAME" or "none"; empty: "default"
	IP       string // a wanted address; only for a single machine
	Hostname Name   // only for a single machine; empty: its name
	UserData []byte // cloud-init user data, passed on unchanged
	SSHKeys  []string
	Isolated bool // it reaches its network's gateway and no other machine
	// DataDisks are new, empty disks that the machine has beside its system's.
	DataDisks []DataDisk
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
	AcceptTwins []string  // marks that the clones may share with the source, or "all"
	WithData    bool      // a machine as source: clone its data disks too
	Options
}

// RegistryOptions say how a registry is spoken to. Credentials are those of the
// docker configuration.
type RegistryOptions struct {
	PlainHTTP bool // without TLS, although it is not on loopback
}

// ExportSpec asks for an export.
type ExportSpec struct {
	Source      string       // a template (name:version) or a machine's name
	File        string       // must not exist
	Format      ExportFormat // empty: by the file's name, else a bundle
	Slots       []int        // of a single disk's format: which disk; empty: the only one
	AcceptTwins []string     // marks that may leave for other hypervisors, or "all"
	DryRun      bool         // only say what it would be
}

// An ExportFormat is what an export becomes.
type ExportFormat string

// The formats.
const (
	FormatBundle ExportFormat = "bundle" // for another home
	FormatOVA    ExportFormat = "ova"    // for other hypervisors: hardware and disks
	FormatQCOW2  ExportFormat = "qcow2"  // a single disk
	FormatRaw    ExportFormat = "raw"
	FormatVMDK   ExportFormat = "vmdk"
)

// An Arrival says how what comes from another home is taken in.
type Arrival struct {
	As    Ref  // another name; empty parts: its own
	Trust bool // take the word of who made a template for its generalization
}

// Carried says what a bundle holds, or an export, and what was moved of it.
type Carried struct {
	Template Ref      `json:"template,omitzero"` // or
	Machine  Name     `json:"machine,omitempty"`
	Layers   int      `json:"layers"`          // in the bundle
	Moved    int      `json:"moved"`           // of them; the others were there
	Resumed  int      `json:"resumed"`         // of those moved: they had arrived before, in a try that failed
	Bytes    Bytes    `json:"bytes"`           // of the file, or that went over the network; of a dry run the most it can be
	Notes    []string `json:"notes,omitempty"` // for people: what leaves with it, and what does not
}

// Foreign says what was made of another hypervisor's machine.
type Foreign struct {
	Machine *Machine `json:"machine"`         // of a dry run without what is given to it only when it is made
	From    []Origin `json:"from,omitempty"`  // of a dry run: what each of its disks is made from
	Notes   []string `json:"notes,omitempty"` // for people: what was not taken
}

// An Origin is the file that a disk of another hypervisor's machine is read from.
type Origin struct {
	File   string `json:"file,omitempty"`   // empty for a blank disk
	Format string `json:"format,omitempty"` // empty where it is found out as it is read
	Bytes  Bytes  `json:"bytes"`            // what is read
}

// AllMarks stands for every mark in a list of accepted ones.
const AllMarks = "all"

// StartOptions are the choices of Start.
type StartOptions struct {
	AcceptTwins bool // start although a running machine has the same machine-id
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

// TemplateSpec asks for a template.
type TemplateSpec struct {
	Ref            Ref // an empty version: the next number
	Machine        Name
	SkipGeneralize bool // the template is unproven: clones of it must be asked for explicitly
	WithData       bool // the machine's data disks are part of it, as they are
	Marks
}

// Marks chooses what is erased. A mark that is on by default and disabled is one
// that clones share: the gate asks for it by name.
type Marks struct {
	Enable  []string // marks that are off by default
	Disable []string // marks that are on by default
	System  string   // which operating system, where the disks hold several
}

// GeneralizeSpec asks for the generalization of one of Machine, Image and Layer.
type GeneralizeSpec struct {
	Machine Name   // a stopped machine
	Image   string // a qcow2 or raw file; a copy of it is generalized
	Out     string // the copy's file; must not exist
	InPlace bool   // the copy takes the image's place
	Layer   string // a layer's id; an overlay of it is generalized
	As      Ref    // the template that the overlay becomes
	DryRun  bool   // only read
	Marks
}

// A Generalization says what was found and done.
type Generalization struct {
	Target string          `json:"target"`           // "machine web-1"
	Result string          `json:"result,omitempty"` // what has no marks now: "image out.qcow2"; empty for a dry run
	Report json.RawMessage `json:"report"`           // generalize.Report
}

// AuditSpec asks for an audit of machines, or of image files.
type AuditSpec struct {
	Machines []Name   // none: all; a single one is compared with all others
	Images   []string // qcow2 and raw files, instead of machines
	Backing  bool     // images may rest on the files they name
}

// An Audit says who was read, and what they share.
type Audit struct {
	Read   []AuditRead `json:"read"`
	Shared []Shared    `json:"shared"` // the worst first
}

// An AuditRead says how one machine or image was read.
type AuditRead struct {
	Name   string `json:"name"`
	How    string `json:"how"` // "disk" or "agent"
	System string `json:"system,omitempty"`
	Found  int    `json:"found"` // places with marks that twins are compared by
	// Residue is which marks it has of its own past life, by name: they must not travel
	// in a template. Of one that runs it is not read.
	Residue []string `json:"residue,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	Error   string   `json:"error,omitempty"` // why it could not be read
}

// A Shared is one value of one mark that several machines have.
type Shared struct {
	Mark     string   `json:"mark"`
	Kind     string   `json:"kind"`     // conflict, secret or residue
	Value    string   `json:"value"`    // of a secret its fingerprint
	Machines []string `json:"machines"` // two or more, by name
	Severe   bool     `json:"severe"`   // machines must not share it, unless that is chosen
	Why      string   `json:"why"`
	Mend     string   `json:"mend"` // the command that gives all but the first one of their own; for image files, that takes it from them
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
	DryRun bool   // of another hypervisor's machine: only say what would be made
	Options
}

// NetworkSpec asks for a user network.
type NetworkSpec struct {
	Name     Name
	Subnet   string // CIDR; empty: the next free one
	NAT      bool
	Isolated bool // machines reach the gateway and not one another
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
