// Package host is one clade home on one computer: the operations, one verb a file.
//
// A Host orders the steps; the adapters do them. Every operation happened or did
// not: it builds aside in tmp, renames into place and commits the record last, or
// deletes the record first and the files after. What a killed process leaves is
// found and swept, or rolled forward, by the next operation (recover.go).
//
// Host implements clade.Services. It holds no state between calls but the open
// database: what a machine does is asked of the driver each time.
package host

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/recipe"
	"github.com/clade-vm/clade/store"
)

// Config is what a Host is wired from. Dir, Run and Driver must be given.
type Config struct {
	Dir    string // the home
	Run    string // its sockets; a short path, since a socket's has at most 107 bytes
	Cache  string // built masters, kept by recipe, shared by all homes of a user
	Driver hypervisor.Driver
	// Appliance works on the disks of stopped machines.
	Appliance Appliance
	// Accelerator tells which accelerator works here: "kvm" or "tcg".
	Accelerator func(ctx context.Context, p clade.Progress) (string, error)
	// BuildDisk makes the disk of a golden master.
	BuildDisk func(ctx context.Context, r *recipe.Recipe, dst string, p clade.Progress) error
	// Checks are the findings of the doctor that need no home.
	Checks func(ctx context.Context, p clade.Progress) []clade.Check
	// Budget is how many layers may lie below a head; 0: clade.ChainBudget.
	Budget int
	// Self is the command that runs this program on this home; verbs are appended.
	Self []string
	Log  *slog.Logger
	// Proc is where the kernel tells of memory and processes; empty: /proc.
	Proc string
	// Seedless wakes instant clones without fresh entropy, so that they are twins, as a
	// test must see. Never set it.
	Seedless bool
	// AfterStep, if set, is called after each step that changed the world.
	AfterStep func(step string)
}

// An Appliance works on the disks of stopped machines; *appliance.Appliance is one.
type Appliance interface {
	// Generalize erases the marks of one machine's disks, by slot, in place, and
	// proves it. The report says whether it was proven.
	Generalize(ctx context.Context, disks []appliance.Disk, o appliance.Options, p clade.Progress) (*generalize.Report, error)
	// Read reads the marks of many machines' disks, and writes nothing.
	Read(ctx context.Context, machines [][]appliance.Disk, extent identity.Extent, p clade.Progress) ([]appliance.Result, error)
	// Merge carries over what a clone changed to overlays of another version of its
	// template, proves it, and says whether it did: not where conflicts are open.
	Merge(ctx context.Context, t appliance.Trio, p clade.Progress) (report *clade.Merge, applied bool, err error)
}

// A Host is an open home. It is safe for concurrent use, also by several
// processes. Close it.
type Host struct {
	Config
	db *store.DB
}

var _ clade.Services = (*Host)(nil)

// Open opens the home in c.Dir and makes it if it is not there.
// Kinds: Denied, NoSpace, Corrupt, Unsupported (a newer clade made it).
func Open(ctx context.Context, c Config) (*Host, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	for _, dir := range []string{"", layersDir, machinesDir, tmpDir, keysDir} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o700); err != nil {
			return nil, fileError("open", "home "+c.Dir, err)
		}
	}
	db, err := store.Open(ctx, filepath.Join(c.Dir, databaseFile))
	if err != nil {
		return nil, fileError("open", "home "+c.Dir, err)
	}
	return &Host{Config: c, db: db}, nil
}

// Close releases the home. Machines go on running. It may be called twice.
func (h *Host) Close() error { return h.db.Close() }

// did tells tests that a step which changed the world is complete.
func (h *Host) did(step string) {
	h.Config.Log.Debug("step", "did", step)
	if h.AfterStep != nil {
		h.AfterStep(step)
	}
}
