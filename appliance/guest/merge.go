package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/merge"
	"github.com/clade-vm/clade/rootfs"
	"golang.org/x/sys/unix"
)

// A Trio is what a request to merge says beside the disks of the new version.
type Trio struct {
	Old     []string   `json:"old"`  // the serials of the disks that the clone was made on
	Mine    []string   `json:"mine"` // those of the clone
	Related bool       `json:"related"`
	Take    clade.Side `json:"take,omitempty"`
	Apply   bool       `json:"apply"` // carry over, unless there are conflicts that nobody decided
}

// A Merged is the answer: what was found, and whether it was carried over.
type Merged struct {
	Report  clade.Merge `json:"report"`
	Applied bool        `json:"applied"`
}

// A party is one of the machines that are merged, while it is mounted.
type party struct {
	*machine
	sys  *system
	at   *mounts
	tree *rootfs.Tree
	merge.Tree
}

// merge compares three states of one machine, and carries over what the clone
// changed to the new version, which it then mounts again and reads.
func (s *server) merge(req Request, tell clade.Progress) (result *Merged, notes []string, err error) {
	if req.Trio == nil {
		return nil, nil, errors.New("merge what with what?")
	}
	old, err := s.party(req.Trio.Old)
	if err != nil {
		return nil, nil, of("what the clone was made on", err)
	}
	defer func() { err = errors.Join(err, old.leave()) }()
	mine, err := s.party(req.Trio.Mine)
	if err != nil {
		return nil, nil, of("the clone", err)
	}
	defer func() { err = errors.Join(err, mine.leave()) }()
	m, err := s.machine(req.Disks, req.Trio.Apply)
	if err != nil {
		return nil, nil, of("the new version", err)
	}
	next := &party{machine: m}
	defer func() { err = errors.Join(err, next.leave()) }()
	if err := next.enter(false); err != nil {
		return nil, next.notes, of("the new version", err)
	}
	if err := sameLayout(old, mine, next); err != nil {
		return nil, nil, err
	}
	plan, err := compare(old, mine, next, *req.Trio, tell)
	if err != nil {
		return nil, mine.notes, err
	}
	plan.Report.System = mine.sys.name
	result = &Merged{Report: plan.Report}
	if !req.Trio.Apply || plan.Report.Open() {
		return result, mine.notes, nil
	}
	if err := next.carry(plan, mine.Tree, tell); err != nil {
		return nil, mine.notes, err
	}
	result.Applied = true
	return result, mine.notes, nil
}

// of says which of the three an error is about.
func of(who string, err error) error {
	return &clade.Error{Op: "merge", On: who, Kind: clade.KindOf(err), Err: err, Hint: clade.HintOf(err)}
}

func compare(old, mine, next *party, t Trio, tell clade.Progress) (*merge.Plan, error) {
	o := merge.Options{Related: t.Related, Take: t.Take, Tell: tell}
	found, err := identity.ReadAll(mine.tree, identity.All())
	mine.noteEach(err)
	for _, f := range found {
		mark, ok := identity.Find(f.Mark)
		if !ok || !mark.Default || mark.Will() == "edit" {
			continue // a part of a file that is more than the mark
		}
		if name := strings.TrimPrefix(f.Path, "/"); mark.Kind == identity.Residue {
			o.Traces = append(o.Traces, name)
		} else {
			o.Own = append(o.Own, name)
		}
	}
	for _, p := range []*party{old, mine, next} {
		for _, v := range p.volumes {
			if size, err := sectors(v.device); v.device != "" && err == nil {
				o.Limit += 4 * 512 * size
			}
		}
	}
	return merge.Compare(old.Tree, mine.Tree, next.Tree, o)
}

// party mounts the machine on disks that are only read, beside others that have
// the same file systems.
func (s *server) party(serials []string) (*party, error) {
	m, err := s.machineBeside(serials)
	if err != nil {
		return nil, err
	}
	p := &party{machine: m}
	if err := p.enter(false); err != nil {
		return nil, errors.Join(err, p.leave())
	}
	for _, v := range append(slices.Clone(p.at.used), p.sys.volume) {
		if v.stale {
			return nil, errors.Join(&clade.Error{Op: "read", On: v.String(), Kind: clade.Unsupported,
				Err: errors.New("it was not unmounted, and its journal cannot be replayed"), Hint: "boot the machine and shut it down"}, p.leave())
		}
	}
	return p, nil
}

// machineBeside is machine, only to read, for one of several that are mounted at
// once and have the same file systems.
func (s *server) machineBeside(serials []string) (*machine, error) {
	names, err := s.disks.find(serials)
	if err != nil {
		return nil, err
	}
	m := &machine{server: s}
	if m.dir, err = os.MkdirTemp("/run", "guest-"); err != nil {
		return nil, err
	}
	if m.volumes, err = volumesOf(names); err == nil {
		err = errors.Join(m.activate(), m.disguise())
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// enter finds the machine's system and mounts it.
func (p *party) enter(write bool) (err error) {
	if p.sys == nil {
		if p.sys, err = p.choose(""); err != nil {
			return err
		}
		if err := p.awake(); err != nil {
			return err
		}
	}
	if p.at, p.tree, err = p.assemble(p.sys, write); err != nil {
		return err
	}
	dir := p.sys.dir
	if dir == "" {
		dir = p.at.at[0]
	}
	p.Tree = merge.Tree{Dir: dir, Volumes: map[uint64]merge.Volume{}}
	if err := p.know(p.sys.volume, dir); err != nil {
		return err
	}
	for i, at := range p.at.at {
		if err := p.know(p.at.used[i], at); err != nil {
			return err
		}
	}
	return nil
}

// know notes which file system is mounted in a directory.
func (p *party) know(v *volume, dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	exact, err := v.exact()
	p.Volumes[st.Dev] = merge.Volume{ID: fmt.Sprintf("%s %s", v.format, v.uuid), Exact: exact}
	return err
}

// exact reports whether the file system keeps the time of a file's last change in
// nanoseconds: ext4 does where its inodes are large enough, FAT has no such time.
func (v *volume) exact() (bool, error) {
	switch v.format {
	case xfs, btrfs:
		return true, nil
	case ext:
		f, err := os.Open(v.device)
		if err != nil {
			return false, err
		}
		defer f.Close()
		head := make([]byte, 2)
		_, err = f.ReadAt(head, 0x400+0x58)
		return binary.LittleEndian.Uint16(head) >= 256, err
	}
	return false, nil
}

// leave unmounts the machine. It may be called twice.
func (p *party) leave() error {
	var err error
	if p.tree != nil {
		err = p.tree.Close()
	}
	if p.at != nil {
		err = errors.Join(err, p.at.unmount())
	}
	p.tree, p.at = nil, nil
	p.close()
	return err
}

// points returns where the machine has volumes mounted.
func (p *party) points() []string {
	points := []string{"/"}
	for _, at := range p.at.at {
		if rel, err := filepath.Rel(p.Dir, at); err == nil && rel != "." {
			points = append(points, "/"+rel)
		}
	}
	slices.Sort(points)
	return points
}

// sameLayout refuses machines that have volumes in different places: what lies
// there in one could not be told from what was removed in another.
func sameLayout(old, mine, next *party) error {
	for _, p := range []*party{old, next} {
		who := map[*party]string{old: "what the clone was made on", next: "the new version"}[p]
		if is, want := p.points(), mine.points(); !slices.Equal(is, want) {
			return &clade.Error{Op: "merge", On: "the trees of files", Kind: clade.Unsupported,
				Err:  fmt.Errorf("the clone has volumes at %s, and %s has them at %s", strings.Join(want, ", "), who, strings.Join(is, ", ")),
				Hint: "copy what is to be kept by hand: clade clone the new version, and clade cp"}
		}
	}
	return nil
}

// carry writes what the plan says, forces it out, and reads it again.
func (p *party) carry(plan *merge.Plan, mine merge.Tree, tell clade.Progress) (err error) {
	if err := errors.Join(p.tree.Close(), p.at.unmount(), p.looks.unmount(), p.unprotect()); err != nil {
		return err
	}
	p.tree, p.at, p.sys.dir = nil, nil, ""
	if err := p.enter(true); err != nil {
		return err
	}
	used := p.at.used
	err = plan.Apply(mine, p.Tree, tell)
	unix.Sync()
	err = errors.Join(err, p.tree.Close(), p.at.unmount())
	p.tree = nil
	if err != nil {
		return err
	}
	if err := errors.Join(intact(used), p.protect()); err != nil {
		return err
	}
	if err := p.enter(false); err != nil {
		return err
	}
	return plan.Verify(mine, p.Tree, tell)
}
