package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/rootfs"
)

// mendWait bounds one command that mends: host keys take long without KVM.
const mendWait = 15 * time.Minute

// An Identity is what the mended guest is to be called.
type Identity struct {
	Hostname   clade.Name
	InstanceID string // cloud-init's, as the guest's seed says it at the next start; may be empty
}

var instanceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func (to Identity) check() error {
	if _, err := clade.ParseName(string(to.Hostname)); err != nil {
		return err
	}
	if to.InstanceID != "" && !instanceForm.MatchString(to.InstanceID) {
		return &clade.Error{Op: "mend", On: fmt.Sprintf("instance-id %.80q", to.InstanceID), Kind: clade.Invalid}
	}
	return nil
}

// Mend erases marks in the running guest, makes anew at once what a boot would make
// (the machine-id, the keys that nothing else makes, the random seed) and proves that
// no conflict and no secret is what it was. Residue is erased and not proven: the
// guest lives on, and leaves traces. It has the guest's programs take notice: the
// kernel of the name, the journal of the machine-id, servers of their keys, and last,
// without waiting, DHCP clients of who they are now.
//
// Of cloud-init, whose seed will say to.InstanceID at the next start: if marks take
// the record of its work, nothing is put in its place, and that start is a first one
// to it, with host keys made once more. An instance-id without the record would be
// worse: the work would be done all the same, half of it as on a known machine. If
// the record stays, it goes on under to.InstanceID, and nothing is done again.
//
// The machine-id is written last. A guest that dies on the way is a twin still, and
// can be mended again; what was taken already it makes at its next boot, as a clone
// of a template does.
//
// After an error the guest may be mended in part; the report, where there is one,
// says what was found, and Verified is false. Kinds: Invalid (of to, or no marks),
// Unproven (which names the mark), Unsupported, Timeout, and those of the agent.
func Mend(ctx context.Context, g Agent, marks []identity.Mark, to Identity, p clade.Progress) (*generalize.Report, error) {
	if err := to.check(); err != nil {
		return nil, err
	}
	p.Tell(clade.Event{Step: "read the marks"})
	m := newMirror(g)
	report, err := survey(ctx, m, marks)
	if err != nil {
		return nil, explained("mend", err)
	}
	w, err := prepare(m, marks, report, to)
	if err != nil {
		return report, explained("mend", err)
	}
	p.Tell(clade.Event{Step: "read the marks", End: true})
	p.Tell(clade.Event{Step: "renew the identity"})
	said, err := do(ctx, g, w.acts)
	if err != nil {
		return report, explained("mend", err)
	}
	for i := range report.Marks {
		report.Marks[i].Erased = true
	}
	p.Tell(clade.Event{Step: "renew the identity", End: true})
	p.Tell(clade.Event{Step: "prove it"})
	if err := w.prove(ctx, newMirror(g), report); err != nil {
		if said != "" {
			err = fmt.Errorf("%w (the guest said %.200q)", err, said)
		}
		return report, explained("mend", err)
	}
	p.Tell(clade.Event{Step: "prove it", End: true})
	if _, err := do(ctx, g, []act{newAct("d", "", "")}); err != nil {
		return report, explained("renew the DHCP leases of", err)
	}
	return report, nil
}

// programs are directories whose entries, and those of the directories in them, tell
// what is installed. Erasing a mark may ask for a program where reading it does not.
var programs = []string{"etc", "usr/bin", "usr/sbin", "usr/lib", "usr/libexec", "usr/local/bin", "usr/local/sbin", "opt", "var/lib"}

// survey reads all of the guest that mending it takes, and returns what there is to
// erase.
func survey(ctx context.Context, m *mirror, marks []identity.Mark) (*generalize.Report, error) {
	m.want(programs...)
	if _, err := readMarks(ctx, m, marks); err != nil {
		return nil, err
	}
	var report *generalize.Report
	err := m.settle(ctx, func() (err error) {
		for _, dir := range programs {
			entries, _ := fs.ReadDir(m, dir)
			for _, e := range entries {
				if e.IsDir() {
					_, _ = fs.ReadDir(m, path.Join(dir, e.Name()))
				}
			}
		}
		for _, name := range append(slices.Clone(seeds), hostsFile, hostnameFile, machineIDFile, dbusIDFile) {
			_, _ = rootfs.ReadFile(m, name, maxFile)
		}
		for _, mark := range marks {
			wanted(m, mark)
		}
		report, err = generalize.Plan(m, marks)
		return err
	})
	return report, err
}

// wanted reports whether the guest has what makes the mark anew by a command.
func wanted(fsys fs.FS, mark identity.Mark) bool {
	for _, name := range mark.Firstboot.Needs {
		if _, err := fs.Stat(fsys, name); err != nil {
			return false
		}
	}
	return mark.Firstboot.Command != ""
}

// A work is what is done to one guest, and how it is proven.
type work struct {
	to        Identity
	marks     []identity.Mark
	acts      []act
	machineID string          // the new one; "" if it stays
	pieces    []identity.Mark // whose files are made anew by a command
}

// prepare erases what the report says in a double of m, and makes acts of the
// difference. Nothing happens in the guest.
func prepare(m *mirror, marks []identity.Mark, report *generalize.Report, to Identity) (w *work, err error) {
	d, err := newDouble(m)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	tree, err := rootfs.Open(d.dir)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	plan := *report
	plan.Marks = slices.Clone(report.Marks)
	if err := generalize.Erase(tree, &plan); err != nil {
		return nil, err
	}
	if err := generalize.Verify(tree, &plan); err != nil {
		return nil, err
	}
	if err := to.dress(tree, m); err != nil {
		return nil, err
	}
	changes, err := d.changes(m)
	if err != nil {
		return nil, err
	}
	w = &work{to: to, marks: marks}
	for _, mark := range marks {
		had := func(s generalize.Step) bool { return s.Mark == mark.Name && len(s.Findings) > 0 }
		if wanted(m, mark) && slices.ContainsFunc(report.Marks, had) {
			w.pieces = append(w.pieces, mark)
		}
	}
	w.order(changes)
	return w, nil
}

// order makes acts of changes: what is added first, so that a guest without its keys
// has what makes them at its next boot; then what is rewritten or taken, and what is
// made at once; the machine-id last. Then programs are told.
func (w *work) order(changes []change) {
	var last []act
	for _, c := range changes {
		switch c.name {
		case dbusIDFile:
			last = append([]act{remove(dbusIDFile), makeLink(dbusIDFile, "/"+machineIDFile)}, last...)
		case machineIDFile:
			w.machineID = newMachineID()
			if len(c.acts) > 1 {
				last = append(last, c.acts[0])
			}
			last = append(last, write(machineIDFile, 0o444, []byte(w.machineID+"\n"))...)
		default:
			w.acts = append(w.acts, c.acts...)
		}
	}
	var units []string
	for _, mark := range w.pieces {
		w.acts = append(w.acts, newAct("p", mark.Firstboot.Missing, mark.Firstboot.Command))
		units = append(units, mark.Firstboot.Before...)
	}
	w.acts = append(w.acts, newAct("s", "", seed()))
	if w.to.InstanceID != "" && !slices.ContainsFunc(w.marks, takesRecord) {
		w.acts = append(w.acts, newAct("c", "", w.to.InstanceID))
	}
	w.acts = append(w.acts, last...)
	w.acts = append(w.acts, newAct("n", "", string(w.to.Hostname)), newAct("u", "", "systemd-hostnamed.service"))
	if w.machineID != "" {
		w.acts = append(w.acts, newAct("u", "", "systemd-journald.service"))
	}
	for _, unit := range slices.Compact(slices.Sorted(slices.Values(units))) {
		w.acts = append(w.acts, newAct("u", "", unit))
	}
}

// takesRecord reports whether erasing the mark leaves work to cloud-init, which it
// must then take the guest for a new one to do.
func takesRecord(m identity.Mark) bool {
	return m.Family == "cloud-init" && m.Kind == identity.Residue
}
