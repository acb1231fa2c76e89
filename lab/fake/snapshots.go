package fake

import (
	"context"
	"maps"
	"slices"

	"github.com/clade-vm/clade"
)

// beforeRebase is the snapshot that a rebase is undone from.
const beforeRebase clade.Name = "before-rebase"

// CreateSnapshot implements clade.Snapshots.
func (h *Home) CreateSnapshot(ctx context.Context, spec clade.SnapshotSpec, _ clade.Progress) (*clade.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.machine("create snapshot of", spec.Machine)
	if err != nil {
		return nil, err
	}
	if spec.Memory && m.State != clade.Running {
		return nil, fail("keep the memory of", "machine "+string(m.Name), clade.NotRunning, "start it: clade start "+string(m.Name), "it is %s: it has no memory to keep", m.State)
	}
	s, err := h.keep(m, spec.Name)
	if err != nil {
		return nil, err
	}
	made := *s
	made.Pause = pause(m)
	if spec.Memory {
		s.Memory = &clade.SavedMemory{Hardware: m.Hardware, Bound: bound, File: clade.WarmFile{Name: "memory-" + m.ID, Digest: "sha256:0", Size: warmSize, Allocated: warmSize}}
		made.Memory, made.Pause = s.Memory, &clade.Pause{Length: made.Pause.Length, Memory: true}
	}
	return &made, nil
}

// keep freezes m and keeps it under a name.
func (h *Home) keep(m *clade.Machine, name clade.Name) (*clade.Snapshot, error) {
	if h.kept(m.Name, name) != nil {
		return nil, fail("create", "snapshot "+string(name)+" of machine "+string(m.Name), clade.Exists, "choose another name", "it is there")
	}
	h.freeze(m)
	s := &clade.Snapshot{Machine: m.Name, Name: name, Clone: m.Clone, Source: m.Source, Disks: slices.Clone(m.Disks[:1]), Created: epoch}
	h.s.Snapshots = append(h.s.Snapshots, s)
	return s, nil
}

func (h *Home) kept(machine, name clade.Name) *clade.Snapshot {
	for _, s := range h.s.Snapshots {
		if s.Machine == machine && s.Name == name {
			return s
		}
	}
	return nil
}

// Snapshots implements clade.Snapshots.
func (h *Home) Snapshots(_ context.Context, machine clade.Name) ([]*clade.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if machine != "" {
		if _, err := h.machine("find", machine); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(h.s.Snapshots), func(s *clade.Snapshot) bool { return machine != "" && s.Machine != machine }), nil
}

// stopped finds a machine that must not run.
func (h *Home) stopped(op string, name clade.Name) (*clade.Machine, error) {
	m, err := h.machine(op, name)
	if err == nil && m.State != clade.Stopped {
		err = fail(op, "machine "+string(name), clade.InUse, "stop it first: clade stop "+string(name), "it is running")
	}
	return m, err
}

// back gives m's system disk an empty head, as disks say.
func (h *Home) back(m *clade.Machine, disks []clade.Disk) *clade.Removal {
	r := &clade.Removal{Removed: "what machine " + string(m.Name) + " had written", Freed: h.s.Heads[m.Name]}
	m.Disks[0] = disks[0]
	m.Disks[0].Depth = len(h.chain(m.Disks[0].Layer))
	h.s.Heads[m.Name] = linkedSize
	h.s.Guests[m.ID] = h.s.Guests[m.Disks[0].Layer].copy()
	return r
}

// RestoreSnapshot implements clade.Snapshots.
func (h *Home) RestoreSnapshot(_ context.Context, spec clade.RestoreSpec, _ clade.Progress) (*clade.Removal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	machine, name := spec.Machine, spec.Name
	m, err := h.stopped("restore", machine)
	if err != nil {
		return nil, err
	}
	s := h.kept(machine, name)
	if s == nil {
		return nil, fail("restore", "snapshot "+string(name)+" of machine "+string(machine), clade.NotFound, "clade snapshot ls", "no snapshot has this name")
	}
	m.Clone, m.Source = s.Clone, s.Source
	r := h.back(m, s.Disks)
	if s.Memory != nil && !spec.DiskOnly {
		m.State = clade.Running
	}
	return r, nil
}

// RemoveSnapshot implements clade.Snapshots.
func (h *Home) RemoveSnapshot(_ context.Context, machine, name clade.Name) (*clade.Removal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.kept(machine, name)
	if s == nil {
		return nil, fail("remove", "snapshot "+string(name)+" of machine "+string(machine), clade.NotFound, "clade snapshot ls", "no snapshot has this name")
	}
	h.s.Snapshots = slices.DeleteFunc(h.s.Snapshots, func(other *clade.Snapshot) bool { return other == s })
	freed, kept := h.sweep(s.Disks[0].Layer)
	if s.Memory != nil {
		freed += s.Memory.File.Allocated
	}
	return &clade.Removal{Removed: "snapshot " + string(name) + " of machine " + string(machine), Freed: freed, Kept: kept}, nil
}

// Reset implements clade.Snapshots.
func (h *Home) Reset(_ context.Context, machine clade.Name, _ clade.Progress) (*clade.Removal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.stopped("reset", machine)
	if err != nil {
		return nil, err
	}
	disks := slices.Clone(m.Disks)
	if disks[0].Base == "" {
		return nil, fail("reset", "machine "+string(machine), clade.Unsupported, "", "it is no linked clone: it was made on nothing")
	}
	disks[0].Layer = disks[0].Base
	m.Asleep = m.Clone == clade.Instant
	return h.back(m, disks), nil
}

// Rebase implements clade.Snapshots. Of files, the fake knows their names: what the
// clone and the template wrote under the same one is a conflict.
func (h *Home) Rebase(_ context.Context, spec clade.RebaseSpec, _ clade.Progress) (*clade.Rebase, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.stopped("rebase", spec.Machine)
	if err != nil {
		return nil, err
	}
	t, err := h.template(spec.To)
	if err != nil {
		return nil, err
	}
	on := "machine " + string(spec.Machine)
	if h.kept(m.Name, beforeRebase) != nil {
		return nil, fail("rebase", on, clade.Exists, "confirm or undo it", "its last rebase is neither confirmed nor undone")
	}
	r := &clade.Rebase{Machine: m.Name, From: m.Source, To: "template " + t.Ref().String()}
	was, old, next := h.s.Guests[m.ID].copy(), h.s.Guests[m.Disks[0].Base], h.s.Guests[t.Disks[0].Layer]
	if spec.Keep {
		r.Merge = merge(old.Files, was.Files, next.Files, spec.Conflicts)
		if r.Merge.Open() && !spec.DryRun {
			return r, fail("rebase", on, clade.Conflicting, "say whose are taken", "%d files were changed by the clone and by %s", r.Merge.Conflict, r.To)
		}
	}
	if spec.DryRun {
		return r, nil
	}
	if _, err := h.keep(m, beforeRebase); err != nil {
		return nil, err
	}
	disks := slices.Clone(m.Disks)
	disks[0].Layer, disks[0].Base = t.Disks[0].Layer, t.Disks[0].Layer
	h.back(m, disks)
	m.Source, r.Done = r.To, true
	if spec.Keep {
		files := h.s.Guests[m.ID].Files
		for name, text := range was.Files {
			if text != old.Files[name] && (files[name] == old.Files[name] || spec.Conflicts == clade.CloneSide) {
				files[name] = text
			}
		}
		was.Files = files
		h.s.Guests[m.ID] = was
	}
	return r, nil
}

// merge compares files by their names.
func merge(old, mine, next map[string]string, take clade.Side) *clade.Merge {
	r := &clade.Merge{System: "Fake Linux", Conflicts: []clade.Conflict{}, Settled: []clade.Settled{}}
	none := clade.Changes{Added: []string{}, Changed: []string{}, Removed: []string{}}
	r.Clone, r.Template = none, none
	note := func(c *clade.Changes, name, was, is string) string {
		if was == "" {
			c.Added, c.Adds = append(c.Added, name), c.Adds+1
			return "added"
		}
		c.Changed, c.Changes = append(c.Changed, name), c.Changes+1
		return "changed"
	}
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		if mine[name] == old[name] {
			continue
		}
		clone := note(&r.Clone, name, old[name], mine[name])
		if next[name] == old[name] || next[name] == mine[name] {
			r.Carried++
			continue
		}
		r.Conflict++
		r.Conflicts = append(r.Conflicts, clade.Conflict{Path: name, Clone: clone, Template: note(&clade.Changes{}, name, old[name], next[name])})
		r.Took = take
	}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		if next[name] != old[name] {
			note(&r.Template, name, old[name], next[name])
		}
	}
	return r
}

// UndoRebase implements clade.Snapshots.
func (h *Home) UndoRebase(ctx context.Context, machine clade.Name, p clade.Progress) (*clade.Removal, error) {
	r, err := h.RestoreSnapshot(ctx, clade.RestoreSpec{Machine: machine, Name: beforeRebase, DiskOnly: true}, p)
	if err != nil {
		return nil, err
	}
	_, err = h.RemoveSnapshot(ctx, machine, beforeRebase)
	return r, err
}

// ConfirmRebase implements clade.Snapshots.
func (h *Home) ConfirmRebase(ctx context.Context, machine clade.Name) (*clade.Removal, error) {
	return h.RemoveSnapshot(ctx, machine, beforeRebase)
}

// Promote implements clade.Snapshots.
func (h *Home) Promote(_ context.Context, machine clade.Name, _ clade.Progress) (*clade.Removal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.machine("promote", machine)
	if err != nil {
		return nil, err
	}
	if m.Disks[0].Layer == "" {
		return nil, fail("promote", "machine "+string(machine), clade.Unsupported, "", "it rests on nothing: it is full already")
	}
	h.s.Heads[machine] += h.below(m.Disks[0].Layer)
	m.Clone, m.Disks[0].Layer, m.Disks[0].Base, m.Disks[0].Depth = clade.Full, "", "", 0
	return &clade.Removal{Removed: "what machine " + string(machine) + " rested on"}, nil
}

// Collect implements clade.Storage: a home in memory holds no garbage.
func (h *Home) Collect(context.Context, bool) ([]clade.Garbage, error) { return nil, nil }
