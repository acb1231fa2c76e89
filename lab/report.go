package lab

import (
	"time"

	"github.com/clade-vm/clade"
)

// A Report is what a run did and found. Its JSON fields are stable.
type Report struct {
	Verdict        bool           `json:"verdict"`         // every check holds and nothing ended the run
	Problem        string         `json:"error,omitempty"` // what ended the run early
	Started        time.Time      `json:"started"`
	Seconds        float64        `json:"seconds"`
	Recipe         string         `json:"recipe"`
	Template       string         `json:"template,omitempty"`
	SkipGeneralize bool           `json:"skip_generalize"`
	Steps          []Step         `json:"steps"` // in the order in which they ended
	Machines       []*Machine     `json:"machines"`
	Checks         []Check        `json:"checks"`
	Shared         []Shared       `json:"shared"`            // the marks that machines share: none, if all is well
	Usage          *clade.Usage   `json:"usage,omitempty"`   // with all machines booted
	Lineage        *clade.Lineage `json:"lineage,omitempty"` // with all machines made
}

// A Step is one act of the run. Seconds are counted from the start of the run.
type Step struct {
	Part    int     `json:"part"`
	Name    string  `json:"name"`
	Start   float64 `json:"start"`
	Seconds float64 `json:"seconds"`
	OK      bool    `json:"ok"`
}

// A Check is one statement that the run has tested.
type Check struct {
	Part   int               `json:"part"`
	Group  string            `json:"group"` // which promise it belongs to
	Name   string            `json:"name"`
	OK     bool              `json:"ok"`
	Detail string            `json:"detail,omitempty"` // why it does not hold
	Values map[string]string `json:"values,omitempty"` // what was seen; by machine, mostly
}

// The groups of checks.
const (
	Sources  = "the master and its template"
	Distinct = "distinct: no two machines share an identity"
	Reach    = "reachable: from the host and from one another"
	Apart    = "apart: what one machine writes, no other sees"
	Rooted   = "rooted: what clones rest on did not change"
)

// A Machine is what a run knows of one of its machines.
type Machine struct {
	Name     clade.Name      `json:"name"`
	Clone    clade.CloneKind `json:"clone,omitempty"`
	Identity clade.Identity  `json:"identity"`          // as clade gave it
	Reading  *clade.Reading  `json:"reading,omitempty"` // as the guest told it
	Made     float64         `json:"made_seconds"`      // how long building or cloning took
	Boot     float64         `json:"boot_seconds"`      // from power-on until cloud-init was done
	Before   clade.Bytes     `json:"bytes_before_boot"` // of its own on the host's disk
	After    clade.Bytes     `json:"bytes_after_boot"`
	RestsOn  []string        `json:"rests_on"` // layer ids
}

// A Shared is one value that several machines have and should not.
type Shared struct {
	Mark     string       `json:"mark"`
	Value    string       `json:"value"`
	Machines []clade.Name `json:"machines"`
}

// Failed returns the checks that do not hold.
func (r *Report) Failed() []Check {
	var failed []Check
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c)
		}
	}
	return failed
}

// groups returns the groups that checks were made of, in the order in which they
// are shown.
func (r *Report) groups() []string {
	var groups []string
	for _, group := range []string{Sources, Distinct, Reach, Apart, Rooted} {
		if len(r.in(group)) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

// in returns the checks of one group.
func (r *Report) in(group string) []Check {
	var checks []Check
	for _, c := range r.Checks {
		if c.Group == group {
			checks = append(checks, c)
		}
	}
	return checks
}
