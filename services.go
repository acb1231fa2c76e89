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
	// Instant clones run, as who they are and on their network, when it returns; what
	// cannot be made who it is to be is ended and removed. Kinds: NotFound, Exists,
	// Unproven (the source is not generalized), NoSpace; Unsupported (a template
	// that is not warm, or whose warm memory cannot be resumed here).
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
	// Kind Exists where it would collide with a running machine, which is named;
	// of what twins share, o.AcceptTwins says that it may.
	Start(ctx context.Context, name Name, o StartOptions, p Progress) error
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
	// RemoveTemplate takes the name away; layers that clones rest on stay. Kind InUse
	// where a pool makes its machines of it.
	RemoveTemplate(ctx context.Context, ref Ref) (*Removal, error)
	// WarmTemplate boots a machine of the template without a network, brings it to
	// the asked point and keeps its memory, from which instant clones resume. What an
	// earlier warming kept stays for the clones that rest on it. Nothing remains on
	// failure. Kinds: NotFound, Unproven (clones would share a mark), Unsupported,
	// Timeout, NoSpace.
	WarmTemplate(ctx context.Context, spec WarmSpec, p Progress) (*Warm, error)
	// RemoveWarm takes the warm template away; it stays for clones that rest on it.
	RemoveWarm(ctx context.Context, ref Ref) (*Removal, error)
}

// Masters brings golden masters into the home.
type Masters interface {
	// Build makes a machine from a recipe; the built disk is cached by the recipe.
	Build(ctx context.Context, spec BuildSpec, p Progress) (*Machine, error)
	// Import makes a machine from an image file or URL.
	Import(ctx context.Context, spec ImportSpec, p Progress) (*Machine, error)
}

// Snapshots keeps moments of machines, goes back to them, and moves machines from
// what they rest on to something else.
type Snapshots interface {
	// CreateSnapshot freezes a machine's heads, running or not, and keeps what it
	// was under a name; with its memory, where that is asked for. Kinds: NotFound,
	// Exists; NotRunning, Unsupported (its memory cannot be kept).
	CreateSnapshot(ctx context.Context, spec SnapshotSpec, p Progress) (*Snapshot, error)
	// Snapshots returns those of one machine, or all where machine is empty.
	Snapshots(ctx context.Context, machine Name) ([]*Snapshot, error)
	// RestoreSnapshot makes a stopped machine what it was; what was written since is
	// gone. One whose memory was kept runs then. Kinds: NotFound, InUse (it runs),
	// Unsupported (its memory was saved under something else), Corrupt.
	RestoreSnapshot(ctx context.Context, spec RestoreSpec, p Progress) (*Removal, error)
	// RemoveSnapshot takes a snapshot away; layers that others rest on stay.
	RemoveSnapshot(ctx context.Context, machine, name Name) (*Removal, error)
	// Reset makes a stopped linked clone what it was when it was made, with its
	// identity. Kinds: NotFound, InUse (it runs), Unsupported (it rests on nothing).
	Reset(ctx context.Context, machine Name, p Progress) (*Removal, error)
	// Rebase moves a stopped linked clone to a template, with its identity; what it was
	// is kept aside until Confirm. With spec.Keep it carries over what the clone changed.
	// Kinds: NotFound, InUse, Unproven, Exists (an earlier one is neither confirmed nor
	// undone), Conflicting (with the Rebase, which tells what both changed; nothing was
	// done), Unsupported (the trees of files cannot be matched).
	Rebase(ctx context.Context, spec RebaseSpec, p Progress) (*Rebase, error)
	// UndoRebase makes the machine what it was before it was rebased.
	UndoRebase(ctx context.Context, machine Name, p Progress) (*Removal, error)
	// ConfirmRebase gives up what the machine was before.
	ConfirmRebase(ctx context.Context, machine Name) (*Removal, error)
	// Promote makes a linked clone full: it rests on nothing then. It may run.
	// Kinds: NotFound, NoSpace, Unsupported.
	Promote(ctx context.Context, machine Name, p Progress) (*Removal, error)
}

// Bundles carries templates and machines between homes, as files and by registries.
type Bundles interface {
	// Export writes a template, or a stopped machine without the identity that clade
	// gave it, to a file, which must not exist: with all layers it rests on as a bundle,
	// or its disks for other hypervisors. Nothing of it remains on failure. Kinds:
	// NotFound, InUse (it runs), Exists, NoSpace, Corrupt, Unproven (what is not
	// generalized leaves for other hypervisors only with spec.AcceptTwins).
	Export(ctx context.Context, spec ExportSpec, p Progress) (*Carried, error)
	// ImportBundle adds what a bundle holds: the layers that are missing, each proven,
	// and a template, whose generalization is proven too, or a machine with a new
	// identity. Layers that arrived before a failure are kept for the next try. Kinds:
	// Exists (the name, or another layer with an id), Corrupt, NoSpace, Unproven.
	ImportBundle(ctx context.Context, file string, a Arrival, p Progress) (*Carried, error)
	// ImportForeign makes a machine of one of another hypervisor, from its description
	// and disks: an OVA, an OVF, or libvirt's XML. Nothing remains on failure. Kinds:
	// Exists (the name), Invalid, Corrupt, Unsupported, NoSpace.
	ImportForeign(ctx context.Context, spec ImportSpec, p Progress) (*Foreign, error)
	// Push stores a template in a registry as REGISTRY/NAME:VERSION; what the registry
	// has is not sent. Kinds: NotFound, Exists (another one is there), Denied, Busy.
	Push(ctx context.Context, ref Ref, name string, o RegistryOptions, p Progress) (*Carried, error)
	// Pull takes a template in from a registry, as ImportBundle does from a file.
	Pull(ctx context.Context, name string, a Arrival, o RegistryOptions, p Progress) (*Carried, error)
}

// Networks makes, finds and removes user networks.
type Networks interface {
	CreateNetwork(ctx context.Context, spec NetworkSpec) (*Network, error)
	Network(ctx context.Context, name Name) (*Network, error)
	Networks(ctx context.Context) ([]*Network, error)
	RemoveNetwork(ctx context.Context, name Name) error
}

// Pools keeps machines ready and hands them out.
type Pools interface {
	// CreatePool records a pool; the machines are made by Reconcile. Kinds: Invalid
	// (also where its limits are too narrow), NotFound, Exists, Unsupported, Unproven.
	CreatePool(ctx context.Context, spec PoolSpec) (*Pool, error)
	// ChangePool makes spec what is wanted of the pool of its name; its template is
	// changed by UpdatePool only. Kinds: those of CreatePool.
	ChangePool(ctx context.Context, spec PoolSpec) (*Pool, error)
	Pool(ctx context.Context, name Name) (*Pool, error)
	Pools(ctx context.Context) ([]*Pool, error)
	// RemovePool removes a pool and its machines. Kind InUse where one is claimed,
	// unless claims go with it.
	RemovePool(ctx context.Context, name Name, claims bool, p Progress) (*Removal, error)
	// UpdatePool begins to roll out another template; Reconcile carries it on.
	UpdatePool(ctx context.Context, u PoolUpdate) (*Pool, error)
	// Claim hands out a machine at once: the one that the person holds already, or one
	// that is ready. Kinds: NotFound; Busy where none is ready.
	Claim(ctx context.Context, spec ClaimSpec) (*Claim, error)
	// Release ends the person's claim; the pool's policy says what becomes of the
	// machine, which nobody gets before. Kind NotFound.
	Release(ctx context.Context, pool Name, person string) (*Claim, error)
	// Claims returns the claims on one pool, or on all where pool is empty.
	Claims(ctx context.Context, pool Name) ([]*Claim, error)
	// Reconcile does, once, what brings a pool nearer to what is wanted of it. What
	// fails is in the result and tried again later. Kind Busy while a controller works.
	Reconcile(ctx context.Context, pool Name, p Progress) (*Reconciliation, error)
	// Control keeps all pools what is wanted of them until ctx ends, and the chains of
	// stopped machines within the budget. While another controller works in this home it
	// stands by.
	Control(ctx context.Context, p Progress) error
}

// Storage tells what rests on what, what it takes, and whether it is intact.
type Storage interface {
	Lineage(ctx context.Context) (*Lineage, error)
	Usage(ctx context.Context) (*Usage, error)
	// PlanRemoval says of each thing that is going, in this order, what its removal
	// would free once those before it are gone, and what would stay and why.
	// Kinds: NotFound; InUse for a template of which a pool makes its machines.
	PlanRemoval(ctx context.Context, going Going) ([]*Removal, error)
	// Collect finds what nothing rests on and nobody builds, and unless it is a dry
	// run removes it.
	Collect(ctx context.Context, dryRun bool) ([]Garbage, error)
	// Verify recomputes the digests of layers; one that was interrupted goes on. A
	// verdict that is not intact comes with an error of kind Corrupt.
	Verify(ctx context.Context, spec VerifySpec, p Progress) ([]Verdict, error)
	// Compact merges the layers that only this machine needs into its heads, and gives
	// back what is zeroes; unless it is a dry run, which says what would be merged. The
	// machine may run. Kinds: NotFound, NoSpace, Corrupt.
	Compact(ctx context.Context, name Name, dryRun bool, p Progress) (*Compaction, error)
}

// Identities erases what machines must not share, and finds what they do share.
type Identities interface {
	// Generalize erases the marks of a stopped machine, of an image file or of a
	// layer, and proves it; with DryRun it only says what it would do. What was
	// there before is replaced at once when all is proven, or not at all.
	// Kinds: NotFound, InUse (it runs), Unproven (a mark is left), Unsupported, Corrupt.
	Generalize(ctx context.Context, spec GeneralizeSpec, p Progress) (*Generalization, error)
	// Mend gives one machine of a set of twins an identity of its own: erases what
	// must differ and makes it anew, at once if it runs, or else at its next start.
	Mend(ctx context.Context, name Name, p Progress) (*Generalization, error)
	// Audit reads the marks of machines and images and says what they share. What
	// cannot be read has its error in the result. Not a byte is written.
	Audit(ctx context.Context, spec AuditSpec, p Progress) (*Audit, error)
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
	Snapshots
	Bundles
	Masters
	Networks
	Pools
	Storage
	Identities
	Doctor
}
