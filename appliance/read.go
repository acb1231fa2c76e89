package appliance

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance/guest"
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

// maxCPUs is how many processors the VM gets at most: more make its boot longer.
const maxCPUs = 4

// Read reads who the guests on many machines' disks are, and their marks to an extent,
// in one boot. Not a byte of the disks is written, whatever Disk.ReadOnly says. What is
// wrong with one machine is in its Result; an error is about all of them.
func (a *Appliance) Read(ctx context.Context, machines [][]Disk, extent identity.Extent, p clade.Progress) ([]Result, error) {
	r := reader{run: a.run, machines: machines, extent: extent, results: make([]Result, len(machines)), progress: p}
	var good []int
	for i, disks := range machines {
		for _, d := range disks {
			if _, err := d.chain(); err != nil {
				r.results[i].Err = err
			}
		}
		if r.results[i].Err == nil {
			good = append(good, i)
		}
	}
	r.done = len(machines) - len(good)
	if err := r.read(ctx, good); err != nil {
		return nil, err
	}
	return r.results, nil
}

// A reader is one call of Read on its way.
type reader struct {
	run      func(context.Context, []Disk, int, clade.Progress, func(*session) error) error
	machines [][]Disk
	extent   identity.Extent
	results  []Result
	boots    [][]int // the machines, by number, of each boot that is still to do
	done     int     // how many machines have a result
	progress clade.Progress
}

// read reads machines, by number, in as many boots as it takes.
func (r *reader) read(ctx context.Context, machines []int) error {
	r.enqueue(machines)
	for len(r.boots) > 0 {
		boot := r.boots[0]
		r.boots = r.boots[1:]
		if err := r.boot(ctx, boot); err != nil {
			return err
		}
	}
	r.progress.Tell(r.event(clade.Event{End: true}))
	return nil
}

// enqueue plans boots for machines, of no more disks each than fit one.
func (r *reader) enqueue(machines []int) {
	var boot []int
	disks := 0
	for _, i := range machines {
		if n := len(r.machines[i]); len(boot) > 0 && disks+n > MaxDisks {
			r.boots, boot, disks = append(r.boots, boot), nil, 0
		}
		boot = append(boot, i)
		disks += len(r.machines[i])
	}
	if boot != nil {
		r.boots = append(r.boots, boot)
	}
}

// event completes an event of the one step that reading is.
func (r *reader) event(e clade.Event) clade.Event {
	e.Step, e.Done, e.Total, e.Unit = "read the disks", int64(r.done), int64(len(r.machines)), "machines"
	return e
}

// boot reads machines in one boot. If the disks of one of them bring the VM down,
// those that were at work then are read again, each in a boot of its own: so it is
// known whose fault it was.
func (r *reader) boot(ctx context.Context, todo []int) error {
	var disks []Disk
	first := make(map[int]int) // the number of each machine's first disk
	for _, i := range todo {
		first[i] = len(disks)
		for _, d := range r.machines[i] {
			d.ReadOnly = true
			disks = append(disks, d)
		}
	}
	r.progress.Tell(r.event(clade.Event{Note: "boot the appliance"}))
	cpus := min(len(todo), maxCPUs, runtime.NumCPU())
	working := map[uint64]int{} // the machines that the VM works on, by request
	up, next := false, 0
	err := r.run(ctx, disks, cpus, r.progress, func(t *session) error {
		up = true
		for next < len(todo) || len(working) > 0 {
			// One more than it has processors, so that none waits for a disk.
			if next < len(todo) && len(working) <= cpus {
				i := todo[next]
				id, err := t.send(ctx, guest.Request{Verb: guest.Read, Disks: serials(first[i], len(r.machines[i])), Extent: r.extent})
				if err != nil {
					return err
				}
				working[id], next = i, next+1
				continue
			}
			reply, err := t.receive(ctx, r.progress)
			if reply == nil {
				return err
			}
			i, ok := working[reply.ID]
			if !ok {
				return t.broken(ctx, fmt.Errorf("reply %d to no request", reply.ID))
			}
			r.settle(i, result(reply, err))
			delete(working, reply.ID)
		}
		return nil
	})
	switch c, about := errors.AsType[*complaint](err); {
	case err == nil || ctx.Err() != nil:
		return err
	case about && !up:
		r.refused(todo, c.disk, err)
		return nil
	case len(working) > 0:
		r.fallen(todo, next, working, err)
		return nil
	}
	return err
}

// refused plans anew after QEMU would not open a disk, which is the fault of the
// machine that it is of.
func (r *reader) refused(todo []int, disk int, err error) {
	for at, i := range todo {
		if disk -= len(r.machines[i]); disk < 0 {
			r.settle(i, Result{Err: err})
			r.enqueue(slices.Concat(todo[:at], todo[at+1:]))
			return
		}
	}
}

// settle notes the result of a machine.
func (r *reader) settle(i int, result Result) {
	r.results[i] = result
	r.done++
	r.progress.Tell(r.event(clade.Event{}))
}

// fallen plans anew after the VM went down with some machines at work and others
// not begun.
func (r *reader) fallen(todo []int, next int, working map[uint64]int, err error) {
	if len(working) == 1 {
		for _, i := range working {
			r.settle(i, Result{Err: err})
		}
	} else {
		for _, i := range working {
			r.boots = append(r.boots, []int{i})
		}
	}
	r.enqueue(todo[next:])
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
