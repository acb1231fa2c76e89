package guest

import (
	"errors"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/rootfs"
	"golang.org/x/sys/unix"
)

// A Machine is what was read of one machine's disks.
type Machine struct {
	System   string             `json:"system"` // as the guest calls itself
	Reading  *identity.Reading  `json:"reading"`
	Findings []identity.Finding `json:"findings"`
}

// read returns who the guest is, and its marks to the extent that is asked for. A mark
// that cannot be read is a note: the others are known all the same.
func (s *server) read(req Request) (result *Machine, notes []string, err error) {
	m, err := s.machine(req.Disks, false)
	if err != nil {
		return nil, nil, err
	}
	defer m.close()
	sys, err := m.choose(req.System)
	if err != nil {
		return nil, m.notes, err
	}
	at, tree, err := m.assemble(sys, false)
	if err != nil {
		return nil, m.notes, err
	}
	defer func() { err = errors.Join(err, tree.Close(), at.unmount()) }()
	m.noteEach(m.awake())
	result = &Machine{System: sys.name}
	still := tree.Still()
	defer still.Release()
	result.Findings, err = req.Extent.Read(still, s.marks())
	m.noteEach(err)
	if result.Reading, err = identity.Read(still); err != nil {
		return nil, m.notes, err
	}
	return result, m.notes, nil
}

// generalize erases the marks, writes everything out, and proves on what is then
// on the disks that they are gone.
func (s *server) generalize(req Request, tell clade.Progress) (*generalize.Report, []string, error) {
	marks, err := generalize.Select(req.Enable, req.Disable)
	if err != nil {
		return nil, nil, err
	}
	m, err := s.machine(req.Disks, true)
	if err != nil {
		return nil, nil, err
	}
	defer m.close()
	sys, err := m.choose(req.System)
	if err != nil {
		return nil, m.notes, err
	}
	if err := m.awake(); err != nil {
		return nil, m.notes, err
	}
	report, err := m.erase(sys, marks, tell)
	if err != nil {
		return nil, m.notes, err
	}
	tell(clade.Event{Step: "generalize", Note: "prove it"})
	return report, m.notes, m.verify(sys, report)
}

// awake refuses a guest that is hibernated: what is changed under it would be undone
// or torn when it wakes up, and every twin would wake up as the same machine.
func (m *machine) awake() error {
	for _, v := range m.volumes {
		if v.format == swap && v.trouble != nil {
			return &clade.Error{Op: "generalize", On: v.String(), Kind: clade.InUse, Err: v.trouble, Hint: "boot the machine and shut it down"}
		}
	}
	return nil
}

// erase mounts the guest for writing, does the work, and unmounts it.
func (m *machine) erase(sys *system, marks []identity.Mark, tell clade.Progress) (report *generalize.Report, err error) {
	if err := errors.Join(m.looks.unmount(), m.unprotect()); err != nil {
		return nil, err
	}
	sys.dir = ""
	at, tree, err := m.assemble(sys, true)
	if err != nil {
		return nil, err
	}
	used := at.used
	report, err = planAndErase(tree, marks, tell)
	unix.Sync()
	err = errors.Join(err, tree.Close(), at.unmount())
	if err != nil {
		return nil, err
	}
	if err := intact(used); err != nil {
		return nil, err
	}
	tell(clade.Event{Step: "generalize", Note: "clear what was erased"})
	m.trim(used)
	return report, intact(used)
}

func planAndErase(tree *rootfs.Tree, marks []identity.Mark, tell clade.Progress) (*generalize.Report, error) {
	tell(clade.Event{Step: "generalize", Note: "find the marks"})
	report, err := generalize.Plan(tree, marks)
	if err != nil {
		return nil, err
	}
	found := 0
	for _, step := range report.Marks {
		if len(step.Findings) > 0 {
			found++
		}
	}
	tell(clade.Event{Step: "generalize", Note: fmt.Sprintf("erase %d marks", found)})
	if err := generalize.Erase(tree, report); err != nil {
		return nil, err
	}
	return report, relabel(tree, report)
}

// intact writes unmounted volumes out, and refuses those on which the kernel met
// an error meanwhile.
func intact(volumes []*volume) error {
	for _, v := range volumes {
		if err := v.settle(); err != nil {
			return fmt.Errorf("write out %s: %w", v, err)
		}
		if err := v.probe(); err != nil {
			return err
		}
		if v.trouble != nil {
			return &clade.Error{Op: "check", On: v.String(), Kind: clade.Corrupt, Err: v.trouble, Hint: v.fsck()}
		}
	}
	return nil
}

// verify mounts what is now on the disks, reading only, and reads all marks again.
func (m *machine) verify(sys *system, report *generalize.Report) (err error) {
	if err := m.protect(); err != nil {
		return err
	}
	at, tree, err := m.assemble(sys, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close(), at.unmount()) }()
	return generalize.Verify(tree, report)
}
