package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
	"github.com/clade-vm/clade/undo"
	"golang.org/x/sys/unix"
)

// lockWait is how long a command waits for another one to be done with a machine.
const lockWait = 20 * time.Second

// lock takes a flock on path, waiting until ctx ends. The lock is gone with the
// file's Close, or with the process. Kind Busy when ctx ended first. While it waits
// it says so, to awaited, by another kind of lock on the file.
func lock(ctx context.Context, path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	said := false
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			if said {
				sayWaits(f, unix.F_UNLCK)
			}
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		if !said && ctx.Err() == nil {
			said = true
			sayWaits(f, unix.F_RDLCK)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(&clade.Error{Kind: clade.Busy, Err: errors.New("another command works on it"), Hint: "try again when it is done"}, f.Close())
		case <-time.After(pause):
		}
	}
}

// sayWaits says, or takes back, that f is waited for. What the kernel refuses of that is
// not said: whoever holds it then goes on.
func sayWaits(f *os.File, how int16) {
	_ = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: how, Whence: unix.SEEK_SET})
}

// awaited tells whether somebody waits for the lock on path.
func awaited(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	rule := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &rule) == nil && rule.Type != unix.F_UNLCK
}

// tryLock takes a flock if nobody holds one that conflicts, else returns nil.
func tryLock(path string, how int) *os.File {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	f, err := lock(ended, path, how)
	if err != nil {
		return nil
	}
	return f
}

// hold locks a machine for one command and reads its record under the lock, so
// that what it says cannot change meanwhile. Call the returned func when done.
// Kinds: NotFound; Busy where another command holds it for longer than lockWait.
func (h *Host) hold(ctx context.Context, name clade.Name, op string) (*store.Machine, func(), error) {
	return h.holdWithin(ctx, lockWait, name, op)
}

func (h *Host) holdWithin(ctx context.Context, limit time.Duration, name clade.Name, op string) (*store.Machine, func(), error) {
	on := "machine " + string(name)
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := h.record(ctx, name)
	if err != nil {
		return nil, nil, retitle(op, err)
	}
	f, err := lock(wait, filepath.Join(h.machineDir(m.ID), machineLock), unix.LOCK_EX)
	if err != nil {
		return nil, nil, fileError(op, on, err)
	}
	if m, err = h.record(ctx, name); err != nil {
		_ = f.Close()
		return nil, nil, retitle(op, err)
	}
	return m, func() { _ = f.Close() }, nil
}

// retitle makes op the act of an error that was found while looking something up.
func retitle(op string, err error) error {
	if e, ok := errors.AsType[*clade.Error](err); ok {
		titled := *e
		titled.Op = op
		return &titled
	}
	return &clade.Error{Op: op, Kind: clade.KindOf(err), Err: err}
}

func (h *Host) record(ctx context.Context, name clade.Name) (m *store.Machine, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		m, err = tx.Machine(name)
		return err
	})
	return m, err
}

// An operation is a directory in tmp in which something is built aside. While
// its lock is held, nobody sweeps it.
type operation struct {
	dir  string
	lock *os.File
	keep bool // what it could not clean up is found by its directory
}

// begin starts an operation. End it.
func (h *Host) begin(ctx context.Context, verb string) (*operation, error) {
	placing, err := lock(ctx, h.path(homeLock), unix.LOCK_SH)
	if err != nil {
		return nil, fileError("write to", "home "+h.Dir, err)
	}
	defer placing.Close()
	dir := h.path(tmpDir, fmt.Sprintf("%s-%s", verb, newID()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fileError("write to", "home "+h.Dir, err)
	}
	f, err := lock(ctx, filepath.Join(dir, operationLock), unix.LOCK_EX)
	if err != nil {
		return nil, fileError("write to", "home "+h.Dir, errors.Join(err, os.RemoveAll(dir)))
	}
	h.did("begin " + verb)
	return &operation{dir: dir, lock: f}, nil
}

// end removes the operation's directory with all that was not moved into place.
func (o *operation) end() {
	if !o.keep {
		_ = os.RemoveAll(o.dir) // what stays is swept by the next operation
	}
	_ = o.lock.Close()
}

// remove removes a file that o has put in place. Where that fails it is left to the
// sweep, which knows by o's directory whose head it is.
func (o *operation) remove(file string) error {
	err := os.Remove(file)
	o.keep = o.keep || err != nil
	return err
}

// committed keeps what u would undo where the commit went through, and also where
// that is not known, as the disk failed in the middle of it: whether the records
// are there shows when the database is opened next, and the sweep acts on that.
func (o *operation) committed(u *undo.Stack, err error) error {
	if doubtful := errors.Is(err, store.ErrDoubtful); err == nil || doubtful {
		o.keep = o.keep || doubtful
		u.Keep()
	}
	return err
}

// placing runs do, which renames files into place and commits their records,
// while no sweep can take the files for garbage.
func (h *Host) placing(ctx context.Context, do func() error) error {
	f, err := lock(ctx, h.path(homeLock), unix.LOCK_SH)
	if err != nil {
		return fileError("lock", "home "+h.Dir, err)
	}
	defer f.Close()
	return do()
}
