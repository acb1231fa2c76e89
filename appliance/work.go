package appliance

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance/guest"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
)

// A Result is what Read found out about one machine: the rest or Err.
type Result struct {
	System   string // as the guest calls itself
	Reading  *identity.Reading
	Findings []identity.Finding
	Notes    []string // what could not be looked at, and why
	Err      error
}

// Generalize erases the marks of the guest on a machine's disks, given by slot,
// and proves on what is then in the files that they are gone. The files are
// written in place: give overlays. After an error they are to be thrown away.
//
// Kinds: Unproven (a mark is left), Corrupt (a damaged image or file system, with
// what to do), Unsupported (locked or of an unknown kind), NotFound (no operating
// system, or a disk is missing), Invalid (several: Options.System chooses), InUse.
func (a *Appliance) Generalize(ctx context.Context, disks []Disk, o Options, p clade.Progress) (*generalize.Report, error) {
	if _, err := generalize.Select(o.Enable, o.Disable); err != nil {
		return nil, err
	}
	p.Tell(clade.Event{Step: "generalize", Note: "boot the appliance"})
	var report generalize.Report
	err := a.run(ctx, disks, p, func(t *session) error {
		reply, err := t.call(ctx, guest.Request{Verb: guest.Generalize, Disks: serials(0, len(disks)),
			System: o.System, Enable: o.Enable, Disable: o.Disable}, p)
		if err != nil {
			return err
		}
		for _, note := range reply.Notes {
			a.log().Warn("generalize", "note", note)
		}
		return decode(reply, &report)
	})
	if err != nil {
		return nil, err
	}
	if !report.Verified {
		return nil, &clade.Error{Op: "generalize", On: "the disks", Kind: clade.Unproven, Err: fmt.Errorf("the appliance proved nothing")}
	}
	p.Tell(clade.Event{Step: "generalize", End: true})
	return &report, nil
}

// Read reads who the guests on many machines' disks are, and their marks, in one
// boot. Not a byte of the disks is written, whatever Disk.ReadOnly says. What is
// wrong with one machine is in its Result; an error is about all of them.
func (a *Appliance) Read(ctx context.Context, machines [][]Disk, p clade.Progress) ([]Result, error) {
	results := make([]Result, len(machines))
	var todo []int // the numbers of machines
	for i, disks := range machines {
		for _, d := range disks {
			if _, err := d.chain(); err != nil {
				results[i].Err = err
			}
		}
		if results[i].Err == nil {
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		n, err := a.readSome(ctx, machines, todo, results, p)
		if err != nil {
			return nil, err
		}
		todo = todo[n:]
	}
	return results, nil
}

// readSome boots once and reads machines from the front of todo. It returns how
// many it is done with: fewer than all if the disks of the last one brought the
// VM down, which is that machine's error, or if there are too many for one boot.
func (a *Appliance) readSome(ctx context.Context, machines [][]Disk, todo []int, results []Result, p clade.Progress) (int, error) {
	var disks []Disk
	first := make(map[int]int) // the number of each machine's first disk
	for n, i := range todo {
		if n > 0 && len(disks)+len(machines[i]) > MaxDisks {
			todo = todo[:n]
			break
		}
		first[i] = len(disks)
		for _, d := range machines[i] {
			d.ReadOnly = true
			disks = append(disks, d)
		}
	}
	const step = "read the disks"
	p.Tell(clade.Event{Step: step, Note: "boot the appliance"})
	done, fallen := 0, false
	err := a.run(ctx, disks, p, func(t *session) error {
		for _, i := range todo {
			p.Tell(clade.Event{Step: step, Done: int64(i), Total: int64(len(machines)), Unit: "machines"})
			reply, err := t.call(ctx, guest.Request{Verb: guest.Read, Disks: serials(first[i], len(machines[i]))}, p)
			done++
			if reply == nil {
				results[i].Err, fallen = err, true
				return err
			}
			results[i] = result(reply, err)
		}
		return nil
	})
	if fallen && ctx.Err() == nil {
		return done, nil
	}
	if err == nil && done == len(todo) && todo[done-1] == len(machines)-1 {
		p.Tell(clade.Event{Step: step, Done: int64(len(machines)), Total: int64(len(machines)), Unit: "machines", End: true})
	}
	return done, err
}

func result(reply *guest.Reply, err error) Result {
	r := Result{Notes: reply.Notes, Err: err}
	var m guest.Machine
	if r.Err == nil {
		r.Err = decode(reply, &m)
	}
	r.System, r.Reading, r.Findings = clean(m.System), m.Reading, m.Findings
	return r
}

// serials names n disks of the VM from number first.
func serials(first, n int) []string {
	var names []string
	for i := range n {
		names = append(names, serial(first+i))
	}
	return names
}

func decode(reply *guest.Reply, to any) error {
	if err := json.Unmarshal(reply.Result, to); err != nil {
		return &clade.Error{Op: "read", On: "the appliance's answer", Kind: clade.Internal, Err: err}
	}
	return nil
}
