package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// restore puts right what killed commands left: half-built things are removed,
// begun freezes are completed, and networks get their switch back. Every
// operation that changes the home begins with it.
func (h *Host) restore(ctx context.Context) error {
	if err := h.endInterrupted(ctx); err != nil {
		return err
	}
	if err := h.sweep(ctx); err != nil {
		return err
	}
	if err := h.settleAll(ctx); err != nil {
		return err
	}
	if err := h.endSleepers(ctx); err != nil {
		return err
	}
	return h.tend(ctx)
}

// sweep removes what lies in a place without a record, and what lies in tmp
// without a living operation. It does nothing while another command places
// something: that one's successor sweeps.
func (h *Host) sweep(ctx context.Context) error {
	f := tryLock(h.path(homeLock), unix.LOCK_EX)
	if f == nil {
		return nil
	}
	defer f.Close()
	all, err := h.garbage(ctx, arrivedFor)
	if err != nil {
		return err
	}
	for _, g := range all {
		if err := g.remove(); err != nil { // it harms nobody; gc says so too
			h.Config.Log.Warn("garbage stays", "path", g.path, "err", err)
		}
	}
	return nil
}

// A piece of garbage is what no record names and no living operation builds.
type piece struct {
	path   string
	why    string
	remove func() error
}

// garbage finds what there is of it. The caller has the home's lock to itself.
// Layers that imports left for the next try count once they are older than that;
// where the age is 0, also those that a killed import still has in tmp.
func (h *Host) garbage(ctx context.Context, older time.Duration) (all []piece, err error) {
	all = h.keptArrivals(older)
	for _, name := range names(h.path(tmpDir)) {
		dir := h.path(tmpDir, name)
		if !living(dir) {
			all = append(all, h.looseHeads(ctx, dir)...)
			all = append(all, piece{dir, "a command that built it died", func() error { return h.sweepOperation(ctx, dir, older > 0) }})
		}
	}
	machines, layers, warm, err := h.recorded(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range names(h.path(warmDir)) {
		if !warm[id] {
			all = append(all, piece{h.warmPath(id), "no warm template has it", func() error { return os.RemoveAll(h.warmPath(id)) }})
		}
	}
	for _, id := range names(h.path(machinesDir)) {
		if !machines[id] {
			all = append(all, piece{h.machineDir(id), "no machine has it", func() error { return h.erase(ctx, id) }})
		}
	}
	for _, id := range names(h.path(layersDir)) {
		if !layers[id] {
			all = append(all, piece{h.layerDir(id), "no layer has it", func() error { return os.RemoveAll(h.layerDir(id)) }})
		}
	}
	return all, nil
}

// looseHeads finds the heads that a dead operation left beside those its machine
// writes to, and memories beside those of its snapshots. They go with it (sweepOperation).
func (h *Host) looseHeads(ctx context.Context, dir string) (all []piece) {
	name, err := os.ReadFile(filepath.Join(dir, frozenFile))
	if err != nil {
		return nil
	}
	m, err := h.record(ctx, clade.Name(name))
	if err != nil {
		return nil
	}
	heads, _ := h.oldHeads(m)
	memory, _ := h.looseMemory(ctx, m)
	for _, file := range append(heads, memory...) {
		all = append(all, piece{file, "a command that built it died", func() error { return nil }})
	}
	return all
}

// living reports whether the operation of that directory goes on. Its lock is not made
// anew where it is gone: whoever removes the directory could not.
func living(dir string) bool {
	f, err := os.Open(filepath.Join(dir, operationLock))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

// sweepOperation removes what a dead operation built. A head that one had put in
// place but not committed, or that a commit left behind, goes with it. Layers that
// arrived whole are kept, if that is wanted.
func (h *Host) sweepOperation(ctx context.Context, dir string, keep bool) error {
	if keep && isImport(dir) {
		if err := h.keepArrived(dir); err != nil {
			return err
		}
	}
	if err := errors.Join(h.sweepRepair(ctx, dir), h.endRunOf(ctx, dir)); err != nil {
		return err
	}
	name, err := os.ReadFile(filepath.Join(dir, frozenFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // only it tells whose heads these are
	}
	if err == nil {
		m, err := h.record(ctx, clade.Name(name))
		if err == nil {
			err = errors.Join(h.dropOldHeads(m), h.dropLooseMemory(ctx, m))
			if bad := h.agree(ctx, m, &clade.Removal{}); bad != nil { // that machine's next command says so
				h.Config.Log.Warn("what a machine rests on is not recorded", "machine", m.Name, "error", bad)
			}
		}
		if err != nil && !errors.Is(err, clade.NotFound) {
			return err
		}
	}
	for _, id := range names(filepath.Join(dir, guestsDir)) { // machines that it had booted
		p := hypervisor.Place{Dir: filepath.Join(dir, guestsDir, id), Run: filepath.Join(h.Run, id)}
		if err := h.Driver.Kill(ctx, p); err != nil {
			return err
		}
		if err := os.RemoveAll(p.Run); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// recorded returns the ids of all machines, layers and warm templates that have a record.
func (h *Host) recorded(ctx context.Context) (machines, layers, warm map[string]bool, err error) {
	machines, layers, warm = make(map[string]bool), make(map[string]bool), make(map[string]bool)
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		ms, err := tx.Machines()
		for _, m := range ms {
			machines[m.ID] = true
		}
		ls, err2 := tx.Layers()
		for _, l := range ls {
			layers[l.ID] = true
		}
		ws, err3 := tx.Warm()
		for _, w := range ws {
			warm[w.ID] = true
		}
		return errors.Join(err, err2, err3)
	})
	return machines, layers, warm, err
}

// erase ends a machine that has no record and removes its files.
func (h *Host) erase(ctx context.Context, id string) error {
	p := h.place(id)
	if err := h.Driver.Kill(ctx, p); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(p.Dir), os.RemoveAll(p.Run))
}

// settleAll completes the freezes that killed commands began. A machine that
// another command holds is that command's to settle; one that cannot be settled, as
// its disk cannot be read, must not keep the others from their work: what needs it
// settled settles it again, and says why it cannot.
func (h *Host) settleAll(ctx context.Context) error {
	var pending []clade.Name
	err := h.db.Read(ctx, func(tx *store.Tx) error {
		layers, err := tx.Layers()
		if err != nil {
			return err
		}
		unsealed := make(map[string]bool)
		for _, l := range layers {
			if !l.Sealed {
				unsealed[l.ID] = true
			}
		}
		if len(unsealed) == 0 {
			return nil
		}
		machines, err := tx.Machines()
		for _, m := range machines {
			for _, d := range m.Disks {
				if unsealed[d.Layer] {
					pending = append(pending, m.Name)
					break
				}
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range pending {
		m, release, err := h.holdWithin(ctx, 0, name, "settle")
		if errors.Is(err, clade.Busy) || errors.Is(err, clade.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := h.settle(ctx, m); err != nil {
			h.Config.Log.Warn("a freeze is not complete", "machine", name, "err", err)
		}
		release()
	}
	return nil
}

// names lists a directory; one that cannot be read has no names to sweep.
func names(dir string) []string {
	list, _ := readNames(dir)
	return list
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
