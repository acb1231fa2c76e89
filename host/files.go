package host

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/store"
)

// The names of everything in a home. docs/architecture.md explains them.
const (
	databaseFile    = "clade.db"
	layersDir       = "layers"   // <id>/layer.qcow2, 0444
	machinesDir     = "machines" // <id>/: heads, seed, NVRAM, the driver's files
	warmDir         = "warm"     // <id>/: what instant clones resume from; also in tmp/<operation>
	ramFile         = "ram"      // in warm/<id>: the memory, by its pages
	stateFile       = "state"    // in warm/<id>: processors and devices
	guestsDir       = "guests"   // in tmp/<operation>: machines that it boots, <id>/
	tmpDir          = "tmp"      // <operation>/: what is being built aside
	arrivedDir      = "arrived"  // <layer id>: whole layers of imports that failed, for the next try
	keysDir         = "keys"
	homeLock        = "home.lock"        // shared: placing; exclusive: sweeping
	controlLock     = "control.lock"     // held by the controller of the pools
	startLock       = "start.lock"       // held while a twin starts: one at a time
	sealLock        = "seal.lock"        // held while a layer in place is sealed again
	operationLock   = "lock"             // in tmp/<operation>: held while it lives
	frozenFile      = "machine"          // in tmp/<operation>: whose heads it freezes
	standsFile      = "stands"           // in tmp/<operation>: it has that machine standing still
	runsFile        = "runs"             // in tmp/<operation>: it has started that machine on heads without a record
	repairedFile    = "repaired"         // in tmp/<operation>: which layers it restores
	verifyFile      = "verify.json"      // how far an interrupted verification is
	machineLock     = "command.lock"     // in machines/<id>: held by the command that works on it
	seedFile        = "seed.img"         // in machines/<id>: the cloud-init volume, made at start
	nvramFile       = "nvram.fd"         // in machines/<id>: UEFI variables
	keyFile         = "id_ed25519"       // in keys: the home's own SSH key
	memoryPrefix    = "memory-"          // in machines/<id>: the memory of a snapshot, by an id of its own
	knownHostsFile  = "known_hosts"      // in machines/<id>: the guest's SSH host keys
	acceleratorFile = "accelerator.json" // in the cache: the answer of the functional probe
	mastersDir      = "masters"          // in the cache: built masters by recipe
	layerFile       = "layer.qcow2"      // in layers/<id>: as deep as heads, so that one relative name serves both
	partFile        = "layer.part"       // in tmp/import-.../layers/<id>: what is not yet proven
	qcow2Ext        = ".qcow2"
)

// importVerb begins the names of the operations whose layers are kept when they fail.
const importVerb = "import"

// The names of what lies in the run directory.
const (
	switchesDir   = "net" // <network>/
	switchControl = "ctl"
	switchLog     = "switch.log"
	nicSocket     = "nic" // in <machine id>/: the hypervisor listens, the switch dials
)

func (h *Host) path(parts ...string) string {
	return filepath.Join(append([]string{h.Dir}, parts...)...)
}

func (h *Host) layerDir(id string) string { return h.path(layersDir, id) }

func (h *Host) layerPath(id string) string { return h.path(layersDir, id, layerFile) }

func (h *Host) machineDir(id string) string { return h.path(machinesDir, id) }

func (h *Host) place(id string) hypervisor.Place {
	return hypervisor.Place{Dir: h.Dir + "/" + machinesDir + "/" + id, Run: h.Run + "/" + id}
}

func (h *Host) headPaths(m *store.Machine) []string {
	paths := make([]string, len(m.Heads))
	for i, head := range m.Heads {
		paths[i] = filepath.Join(h.machineDir(m.ID), head)
	}
	return paths
}

// headName is the name of a disk's head; the generation grows with each freeze.
func headName(slot, generation int) string {
	return fmt.Sprintf("disk%d-%d%s", slot, generation, qcow2Ext)
}

// nextHead returns the name after head's.
func nextHead(slot int, head string) string {
	var s, generation int
	_, _ = fmt.Sscanf(strings.TrimSuffix(head, qcow2Ext), "disk%d-%d", &s, &generation)
	return headName(slot, generation+1)
}

var idAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newID returns ten random letters and digits: short, since they are part of
// socket paths; unique by database constraint.
func newID() string {
	var b [7]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return idAlphabet.EncodeToString(b[:])[:10]
}

// fileError says what was tried on what, and hints at what mends the common
// failures of files. An error that has a hint keeps it.
func fileError(op, on string, err error) error {
	if err == nil {
		return nil
	}
	e := &clade.Error{Op: op, On: on, Kind: clade.KindOf(err), Err: err}
	if same, ok := err.(*clade.Error); ok && same.Op == op && same.On == on { // it says so already
		titled := *same
		e = &titled
	}
	if clade.HintOf(err) != "" {
		return e
	}
	said := err.Error() // of QEMU's tools, that is all there is
	switch {
	case e.Kind == clade.NoSpace:
		e.Hint = "free some space: clade du shows who takes it"
	case e.Kind == clade.Denied:
		e.Hint = "check who owns the file and whether the file system is read-only"
	case errors.Is(err, syscall.EMFILE), strings.Contains(said, "Too many open files"):
		e.Hint = "raise the limit of open files (ulimit -n), or do less at once"
	case errors.Is(err, syscall.EIO), strings.Contains(said, "Input/output error"):
		e.Hint = "the disk failed: look at the kernel's log (dmesg); clade verify --all tells which layers can still be read"
	}
	return e
}

// syncDir makes the names in dir survive a power cut.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
