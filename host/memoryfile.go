package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/store"
)

// memoryPath is the file of a snapshot's memory.
func (h *Host) memoryPath(machine string, s *clade.Snapshot) string {
	return filepath.Join(h.machineDir(machine), s.Memory.File.Name)
}

// memoryIntact compares the memory of a snapshot with what was recorded when it was
// sealed, but for its content.
func (h *Host) memoryIntact(machine string, s *clade.Snapshot) error {
	was, is := s.Memory.File, s.Memory.File
	err := warmFacts(h.memoryPath(machine, s), &is)
	is.Allocated = was.Allocated // the file system may move what it holds
	if err == nil {
		err = measured(is.Verity, was.Verity)
	}
	if err == nil && is != was {
		err = errors.New("its size, inode or times are not what they were when it was sealed")
	}
	return err
}

// looseMemory returns the files of memories that no snapshot of m has.
func (h *Host) looseMemory(ctx context.Context, m *store.Machine) (paths []string, err error) {
	list, err := readNames(h.machineDir(m.ID))
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(name string) bool { return !strings.HasPrefix(name, memoryPrefix) })
	if len(list) == 0 {
		return nil, nil
	}
	snapshots, err := h.Snapshots(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	for _, name := range list {
		if !slices.ContainsFunc(snapshots, func(s *clade.Snapshot) bool { return s.Memory != nil && s.Memory.File.Name == name }) {
			paths = append(paths, filepath.Join(h.machineDir(m.ID), name))
		}
	}
	return paths, nil
}

// dropLooseMemory removes the files of memories that no snapshot of m has.
func (h *Host) dropLooseMemory(ctx context.Context, m *store.Machine) error {
	loose, err := h.looseMemory(ctx, m)
	for _, file := range loose {
		err = errors.Join(err, ignoreAbsent(os.Remove(file)))
	}
	return err
}

// verifyMemory recomputes the digests of the memories of the named machines'
// snapshots, or of all; right content under other times is recorded anew.
func (h *Host) verifyMemory(ctx context.Context, l *clade.Lineage, named []string, p clade.Progress) (verdicts []clade.Verdict, err error) {
	ids := make(map[clade.Name]string)
	for _, m := range l.Machines {
		ids[m.Name] = m.ID
	}
	for _, s := range l.Snapshots {
		if s.Memory == nil || len(named) > 0 && !slices.Contains(named, string(s.Machine)) {
			continue
		}
		needed := "snapshot " + string(s.Name) + " of machine " + string(s.Machine)
		v := clade.Verdict{Layer: strings.Replace(s.Memory.File.Name, "-", " ", 1), Needed: []string{needed}}
		if err := h.recheckMemory(ctx, ids[s.Machine], s, p); err != nil {
			if ctx.Err() != nil {
				return verdicts, err
			}
			v.Detail = err.Error()
		}
		v.Intact = v.Detail == ""
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

func (h *Host) recheckMemory(ctx context.Context, machine string, s *clade.Snapshot, p clade.Progress) error {
	step := "verify the memory of snapshot " + string(s.Name) + " of machine " + string(s.Machine)
	path, file := h.memoryPath(machine, s), &s.Memory.File
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	sum, err := digest(ctx, f, func(done int64) {
		p.Tell(clade.Event{Step: step, Done: done, Total: int64(file.Size), Unit: "B"})
	})
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if sum != file.Digest {
		return fmt.Errorf("its content is %.19s…, sealed was %.19s…", sum, file.Digest)
	}
	p.Tell(clade.Event{Step: step, End: true})
	if h.memoryIntact(machine, s) == nil {
		return nil
	}
	if err := errors.Join(keepWarm(path, stateFile), warmFacts(path, file)); err != nil {
		return err
	}
	return h.db.Write(ctx, func(tx *store.Tx) error { return tx.SealMemory(machine, s) })
}

// memoryDamage is the error about memories that are not what was sealed, or nil.
func (h *Host) memoryDamage(verdicts []clade.Verdict) error {
	for _, v := range verdicts {
		if !v.Intact {
			return &clade.Error{Op: "verify", On: "home " + h.Dir, Kind: clade.Corrupt, Err: fmt.Errorf("damaged: %s", v.Layer),
				Hint: "it is the memory of " + v.Needed[0] + ": restore that with --disk-only, or remove it"}
		}
	}
	return nil
}

// endInterrupted puts machines right that commands which died had standing still, or
// running on what was never recorded. One that another command holds is put right
// later.
func (h *Host) endInterrupted(ctx context.Context) (err error) {
	for _, name := range names(h.path(tmpDir)) {
		dir := h.path(tmpDir, name)
		if living(dir) {
			continue
		}
		if failed := h.endRunOf(ctx, dir); !errors.Is(failed, clade.Busy) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// endRunOf puts the machine right that a dead operation had standing still or running.
// Kind Busy where another command holds it.
func (h *Host) endRunOf(ctx context.Context, dir string) error {
	stands, runs := exists(filepath.Join(dir, standsFile)), exists(filepath.Join(dir, runsFile))
	if !stands && !runs {
		return nil
	}
	name, err := os.ReadFile(filepath.Join(dir, frozenFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // what is left of it is being removed
	}
	if err != nil {
		return err
	}
	m, release, err := h.holdWithin(ctx, 0, clade.Name(name), "settle")
	if errors.Is(err, clade.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	if stands {
		return h.goOn(ctx, m)
	}
	return h.endUnrecorded(ctx, m)
}

func (h *Host) goOn(ctx context.Context, m *store.Machine) error {
	k, ok := h.Driver.(hypervisor.Keeper)
	if !ok {
		return nil
	}
	if err := k.Continue(ctx, h.place(m.ID)); err != nil && !errors.Is(err, clade.NotRunning) {
		return fileError("continue", "machine "+string(m.Name), err)
	}
	return nil
}

// endUnrecorded ends a machine that was resumed, but whose restore was not committed:
// it runs on heads that its record does not name.
func (h *Host) endUnrecorded(ctx context.Context, m *store.Machine) error {
	place := h.place(m.ID)
	status, err := h.Driver.Status(ctx, place)
	if err != nil || status.State == clade.Stopped {
		return err
	}
	if s, ok := h.Driver.(hypervisor.Snapshotter); ok {
		now, err := s.Heads(ctx, place)
		same := err == nil && slices.EqualFunc(now, m.Heads, func(path, head string) bool { return filepath.Base(path) == head })
		if same {
			return nil // it was committed
		}
	}
	return h.Driver.Kill(ctx, place)
}
