// Package lab is the classic exercise on cloning virtual machines, as a program:
// prepare a master, make a full and a linked clone, and prove that the three are
// distinct, reachable and apart, and that what they rest on did not change.
//
// It works through the service interfaces only, so it proves whatever is behind
// them. A failed check never ends the run; what cannot be done does. The report
// is a value: WriteText and WriteHTML show it, and its JSON is for machines.
package lab

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/clade-vm/clade"
	"golang.org/x/sync/errgroup"
)

// The names of what a run makes. The home must not hold machines of these names.
const (
	Parent  clade.Name = "parent"
	Full    clade.Name = "full"
	Linked  clade.Name = "linked"
	Network clade.Name = "lab"
)

// The titles of the three parts, by number from 1.
var titles = [...]string{"Prepare the master", "Make the clones", "Verify"}

// Options say how to run. The zero value is the exercise as it should be.
type Options struct {
	Recipe         string        // of the master; empty: debian-12
	SkipGeneralize bool          // the counter-proof: clones of a template that keeps its marks
	Keep           bool          // leave machines, template and network in the home
	Boot           time.Duration // how long a guest may take to boot or to power off; 0: 15 minutes
	Greet          time.Duration // how long a machine may take to answer another; 0: 30 seconds
}

// A Watch follows a run. Its functions may be nil; they are called from one
// goroutine at a time, Progress from several.
type Watch struct {
	Part     func(number int, title string) // a part begins
	Step     func(Step)                     // a step ended
	Check    func(Check)                    // a check was made
	Progress clade.Progress
}

// Run performs the exercise and returns its report, which is never nil. The error
// is what ended the run early, or what could not be cleaned up; failed checks are
// no error. Unless o.Keep is set, all that the run made is removed again, also
// when ctx has ended.
func Run(ctx context.Context, s clade.Services, o Options, w Watch) (*Report, error) {
	if o.Recipe == "" {
		o.Recipe = "debian-12"
	}
	if o.Boot == 0 {
		o.Boot = 15 * time.Minute
	}
	if o.Greet == 0 {
		o.Greet = 30 * time.Second
	}
	r := &run{s: s, o: o, w: w, began: time.Now(), machines: map[clade.Name]*Machine{},
		report: &Report{Started: time.Now().UTC().Truncate(time.Second), Recipe: o.Recipe, SkipGeneralize: o.SkipGeneralize,
			Steps: []Step{}, Machines: []*Machine{}, Checks: []Check{}, Shared: []Shared{}}}
	err := r.parts(ctx)
	if !o.Keep {
		err = errors.Join(err, r.clean(ctx))
	}
	r.report.Seconds = r.since()
	r.report.Verdict = err == nil && len(r.report.Failed()) == 0
	if err != nil {
		r.report.Problem = err.Error()
	}
	return r.report, err
}

// A run is the state of one exercise.
type run struct {
	s     clade.Services
	o     Options
	w     Watch
	began time.Time

	template clade.Ref
	network  bool
	before   *clade.Reading // the parent, before its template was made

	mu       sync.Mutex // guards what follows
	report   *Report
	machines map[clade.Name]*Machine
}

func (r *run) parts(ctx context.Context) error {
	for i, part := range []func(context.Context) error{r.prepare, r.clone, r.verify} {
		if r.w.Part != nil {
			r.w.Part(i+1, titles[i])
		}
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step does one step of a part and records how long it took.
func (r *run) step(part int, name string, do func() error) error {
	began := time.Now()
	s := Step{Part: part, Name: name, Start: r.since()}
	err := do()
	s.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	s.OK = err == nil
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Steps = append(r.report.Steps, s)
	if r.w.Step != nil {
		r.w.Step(s)
	}
	return err
}

// check records what a check found.
func (r *run) check(c Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Checks = append(r.report.Checks, c)
	if r.w.Check != nil {
		r.w.Check(c)
	}
}

func (r *run) since() float64 {
	return time.Since(r.began).Round(time.Millisecond).Seconds()
}

// add takes a machine that was made into the report, and so into the cleaning.
func (r *run) add(m *clade.Machine) *Machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := &Machine{Name: m.Name, Clone: m.Clone, Identity: m.Identity}
	r.machines[m.Name] = own
	r.report.Machines = append(r.report.Machines, own)
	return own
}

// names returns the machines in the order of their making.
func (r *run) names() []clade.Name {
	var names []clade.Name
	for _, m := range r.report.Machines {
		names = append(names, m.Name)
	}
	return names
}

// each does one thing on several machines at once and returns the first error.
func each(ctx context.Context, names []clade.Name, do func(context.Context, clade.Name) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		g.Go(func() error { return do(ctx, name) })
	}
	return g.Wait()
}
