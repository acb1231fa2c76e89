// Package fake is a driver without a hypervisor, for the tests of everything
// above the seam. It passes the same contract as a real driver.
//
// A machine is a sleeping process that holds the machine's lock, so that it
// outlives commands, can be killed from outside and is found by the next
// command. Its guest is a directory of files with an identity of its own and a
// handful of commands that touch nothing else. The heads are never written to.
package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/hold"
)

// The files of a machine, in its Place.
const (
	lockFile   = "machine.lock" // in Dir
	reasonFile = "reason"       // in Dir: why the last run ended, if something said so
	guestDir   = "guest"        // in Dir: the root of the simulated guest
	runFile    = "run.json"     // in Run: the spec and the heads of the current run
)

// A Driver is a hypervisor.Driver, Guester, Consoler and Snapshotter. The fields
// are set before it is used.
type Driver struct {
	Deaf    bool                      // guests do not power off when asked
	Mute    bool                      // no agent answers
	Dumb    bool                      // guests that are woken do not say who they are
	Address func(mac string) []string // the addresses the guest with that MAC has; nil: none
	Version string                    // of the hypervisor: what another one saved cannot be resumed
	Lame    bool                      // nothing is resumed
	Halfway func()                    // called by Keep while the machine stands still; nil: nothing

	mu sync.Mutex // the run files, against other goroutines
}

// New returns a driver whose guests react.
func New() *Driver { return &Driver{} }

var _ interface {
	hypervisor.Driver
	hypervisor.Guester
	hypervisor.Consoler
	hypervisor.Snapshotter
} = (*Driver)(nil)

// run is what is known of a machine while it runs.
type run struct {
	Spec     hypervisor.Spec `json:"spec"`
	Heads    []string        `json:"heads"`
	Standing bool            `json:"standing,omitempty"` // still, while it is kept
}

// Start implements hypervisor.Driver. The machine runs, and its guest is up, at once.
func (d *Driver) Start(ctx context.Context, p hypervisor.Place, s hypervisor.Spec) error {
	if err := d.start(ctx, p, s); err != nil {
		return &clade.Error{Op: "start", On: "machine " + string(s.Name), Kind: clade.KindOf(err), Err: err}
	}
	return nil
}

func (d *Driver) start(ctx context.Context, p hypervisor.Place, s hypervisor.Spec) error {
	if err := ctx.Err(); err != nil {
		return &clade.Error{Kind: clade.Timeout, Err: err}
	}
	lock, err := hold.Take(filepath.Join(p.Dir, lockFile))
	if errors.Is(err, clade.Busy) {
		return &clade.Error{Kind: clade.Busy, Err: errors.New("it runs already")}
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	r := run{Spec: s}
	for i, disk := range s.Disks {
		if _, err := os.Stat(disk.Path); err != nil {
			return fmt.Errorf("disk %d: %w", i, err)
		}
		r.Heads = append(r.Heads, disk.Path)
	}
	if err := os.MkdirAll(p.Run, 0o700); err != nil {
		return err
	}
	if err := r.write(p); err != nil {
		return err
	}
	if err := memory(s); err != nil {
		return err
	}
	if s.Memory != nil && s.Memory.State != "" {
		if d.Lame {
			return &clade.Error{Kind: clade.Corrupt, Err: errors.New("the state could not be moved")}
		}
		err = resume(filepath.Join(p.Dir, guestDir), s.Memory.State)
	} else {
		err = install(filepath.Join(p.Dir, guestDir), s)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(p.Dir, reasonFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		return &clade.Error{Kind: clade.Missing, Err: err, Hint: "sudo apt-get install coreutils"}
	}
	_, err = lock.Start(exec.Command(sleep, "2147483647"))
	return err
}

// Status implements hypervisor.Driver.
func (d *Driver) Status(_ context.Context, p hypervisor.Place) (hypervisor.Status, error) {
	path := filepath.Join(p.Dir, lockFile)
	held, err := hold.Held(path)
	if err != nil {
		return hypervisor.Status{}, err
	}
	pid, since := hold.Holder(path)
	if held {
		st := hypervisor.Status{State: clade.Running, PID: pid, Since: since}
		if r, err := d.running(p); err == nil && r.Standing {
			st.State = clade.Paused
		}
		return st, nil
	}
	st := hypervisor.Status{State: clade.Stopped, Since: since}
	if since.IsZero() {
		return st, nil
	}
	st.Reason = "the process was killed or crashed"
	if reason, err := os.ReadFile(filepath.Join(p.Dir, reasonFile)); err == nil {
		st.Reason = string(reason)
	}
	return st, nil
}

// Stop implements hypervisor.Driver. The guest is off when it returns, or never
// if it is deaf.
func (d *Driver) Stop(ctx context.Context, p hypervisor.Place) error {
	if _, err := d.running(p); err != nil {
		return err
	}
	if d.Deaf {
		return nil
	}
	return end(ctx, p, "guest powered off")
}

// Kill implements hypervisor.Driver.
func (d *Driver) Kill(ctx context.Context, p hypervisor.Place) error {
	if held, err := hold.Held(filepath.Join(p.Dir, lockFile)); err != nil || !held {
		return err
	}
	return end(ctx, p, "killed by clade")
}

// Heads implements hypervisor.Snapshotter.
func (d *Driver) Heads(_ context.Context, p hypervisor.Place) ([]string, error) {
	r, err := d.running(p)
	return r.Heads, err
}

// Switch implements hypervisor.Snapshotter. It only notes the new heads.
func (d *Driver) Switch(ctx context.Context, p hypervisor.Place, heads []string) (hypervisor.Pause, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.running(p)
	if err != nil {
		return hypervisor.Pause{}, err
	}
	bad := func(kind clade.Kind, format string, args ...any) (hypervisor.Pause, error) {
		return hypervisor.Pause{}, &clade.Error{Op: "switch heads of", On: "machine " + string(r.Spec.Name),
			Kind: kind, Err: fmt.Errorf(format, args...)}
	}
	if ctx.Err() != nil {
		return bad(clade.Timeout, "%w", ctx.Err())
	}
	if len(heads) != len(r.Heads) {
		return bad(clade.Invalid, "%d heads for %d disks", len(heads), len(r.Heads))
	}
	for i, head := range heads {
		if _, err := os.Stat(head); err != nil {
			return bad(clade.KindOf(err), "disk %d: %w", i, err)
		}
	}
	r.Heads = heads
	return hypervisor.Pause{Frozen: !d.Mute}, r.write(p)
}

// running returns the current run, or an error of kind NotRunning.
func (d *Driver) running(p hypervisor.Place) (run, error) {
	held, err := hold.Held(filepath.Join(p.Dir, lockFile))
	if err != nil {
		return run{}, err
	}
	if !held {
		return run{}, &clade.Error{Kind: clade.NotRunning, Err: errors.New("the machine does not run")}
	}
	var r run
	text, err := os.ReadFile(filepath.Join(p.Run, runFile))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return run{}, err
	}
	return r, nil
}

// write replaces the run file as a whole.
func (r run) write(p hypervisor.Place) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(p.Run, runFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// end kills the process and notes why. A reason without an end is wiped by the
// next start and not looked at before.
func end(ctx context.Context, p hypervisor.Place, reason string) error {
	if err := os.WriteFile(filepath.Join(p.Dir, reasonFile), []byte(reason), 0o600); err != nil {
		return err
	}
	return hold.Kill(ctx, filepath.Join(p.Dir, lockFile))
}
