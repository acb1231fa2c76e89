// Package qemu is the hypervisor.Driver that runs machines with QEMU.
//
// A machine is one QEMU process in a session of its own, confined by QEMU's
// sandbox, which holds the machine's lock and outlives whoever started it. What
// it does is asked of itself over QMP; why it ended is read from the events that
// QEMU itself has written to a file. The package keeps no state and starts
// nothing but QEMU and its bridge helper.
package qemu

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/hold"
)

// The files of a machine in Place.Dir.
const (
	lockFile    = "machine.lock"
	qemuLog     = "qemu.log"    // what QEMU says about itself
	consoleLog  = "console.log" // what the guest says on its serial console
	eventsBase  = "events"      // QEMU reads events.in and writes events.out
	eventsIn    = eventsBase + ".in"
	eventsOut   = eventsBase + ".out"
	previousExt = ".1" // the same of the run before
)

// The sockets of a machine and the files that make their users queue up, in
// Place.Run. Each socket serves one connection at a time.
const (
	controlSocket = "qmp"
	statusSocket  = "stat" // a second monitor, so that asking is never held up by acting
	agentSocket   = "ga"
	consoleSocket = "con"
	agentQueue    = "ga.lock"
	consoleQueue  = "con.lock"
)

// Config says what a driver works with. The zero value is of use.
type Config struct {
	Binary       string       // QEMU; empty: found where distributions put it
	BridgeHelper string       // qemu-bridge-helper; empty: found where distributions put it
	Log          *slog.Logger // nil: silent
}

// A Driver runs machines with QEMU. Make it with New.
type Driver struct {
	config Config
	log    *slog.Logger
}

var _ interface {
	hypervisor.Driver
	hypervisor.Guester
	hypervisor.Consoler
	hypervisor.Snapshotter
	hypervisor.Saver
	hypervisor.Keeper
	hypervisor.Plugger
} = (*Driver)(nil)

// New returns a driver. It looks at nothing: what is missing shows at use.
func New(c Config) *Driver {
	d := &Driver{config: c, log: c.Log}
	if d.log == nil {
		d.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return d
}

func lockPath(p hypervisor.Place) string { return p.Dir + "/" + lockFile }

// running is nil where the machine in p runs, or of kind NotRunning.
func running(p hypervisor.Place) error {
	held, err := hold.Held(lockPath(p))
	if err == nil && !held {
		err = &clade.Error{Kind: clade.NotRunning, Err: errors.New("the machine does not run")}
	}
	return err
}

// talkError gives an error of a conversation with QEMU or its guest the kind it
// has for clade.
func talkError(p hypervisor.Place, op, on string, err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*clade.Error](err); known {
		return err
	}
	if running(p) != nil {
		return &clade.Error{Op: op, On: on, Kind: clade.NotRunning, Err: errors.New("the machine ended meanwhile")}
	}
	kind := clade.KindOf(err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		kind = clade.Timeout
	}
	return &clade.Error{Op: op, On: on, Kind: kind, Err: err}
}

// fileError says what was done to which file.
func fileError(op, on string, err error) error {
	return &clade.Error{Op: op, On: on, Kind: clade.KindOf(err), Err: err}
}

func invalid(on, format string, args ...any) error {
	return &clade.Error{Op: "use", On: on, Kind: clade.Invalid, Err: fmt.Errorf(format, args...)}
}
