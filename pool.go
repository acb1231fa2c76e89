package clade

import (
	"fmt"
	"net/netip"
	"time"
)

// A PoolSpec says what is wanted of a pool: how many machines of which template are
// kept ready, and what becomes of one that is released. Zero values mean the
// default. It means nothing that only one host can do; what a host cannot do (a kind
// of clone) it refuses with kind Unsupported.
type PoolSpec struct {
	Name     Name      `json:"name"`
	Template Ref       `json:"template"`           // without a version: the newest when the pool is made
	Size     int       `json:"size"`               // machines the pool has at least
	Spares   int       `json:"spares,omitempty"`   // of them or besides them, machines that nobody holds
	Schedule string    `json:"schedule,omitempty"` // sizes by time of day: "Mon-Fri 08:00 size=30; 18:00 size=0"
	Kind     CloneKind `json:"kind,omitempty"`     // empty: linked
	Policy   Policy    `json:"policy,omitempty"`   // empty: recreate
	Names    string    `json:"names,omitempty"`    // a pattern with the machine's number: "lab-{n:02}"; empty: NAME-{n}
	TTL      Span      `json:"ttl,omitempty"`      // how long a claim lasts unless it says so itself; 0: until it is released
	DataDisk Bytes     `json:"data_disk,omitempty"`
	CPUs     int       `json:"cpus,omitempty"` // of each machine
	Memory   Bytes     `json:"memory,omitempty"`
	Network  string    `json:"network,omitempty"`
	Isolated bool      `json:"isolated,omitempty"` // machines reach the gateway and not one another
	UserData string    `json:"user_data,omitempty"`
	SSHKeys  []string  `json:"ssh_keys,omitempty"`
	// Patience is how long a machine may take to answer after its start, before it is
	// replaced; 0: DefaultPatience.
	Patience Span `json:"patience,omitempty"`
	// MaxUnavailable is how many free machines an update takes away at the same time;
	// 0: a quarter of the pool.
	MaxUnavailable int `json:"max_unavailable,omitempty"`
	// The ceilings of the pool as a whole, disks as large as guests can fill them; 0: none.
	MaxCPUs   int   `json:"max_cpus,omitempty"`
	MaxMemory Bytes `json:"max_memory,omitempty"`
	MaxDisk   Bytes `json:"max_disk,omitempty"`
}

// DefaultPatience is enough for a first boot under emulation.
const DefaultPatience = Span(10 * time.Minute)

// A Policy says what becomes of a machine that is released.
type Policy string

// The policies.
const (
	Keep     Policy = "keep"     // the next person gets it as it is
	Reset    Policy = "reset"    // it becomes what it was when it was made, with its identity
	Recreate Policy = "recreate" // it goes, and another one with a new identity takes its place
)

// A Span is a length of time, written like 90m or 3h.
type Span time.Duration

// String returns the span as Go writes it, without needless zeros.
func (s Span) String() string {
	d := time.Duration(s)
	switch {
	case d == 0:
		return "0"
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// MarshalText makes a Span one string in JSON.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads 90s, 3h or 1h30m. Its error is of kind Invalid.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return &Error{Op: "read", On: fmt.Sprintf("span %.40q", text), Kind: Invalid, Err: fmt.Errorf("not a length of time"), Hint: "write it like 90s, 45m or 3h"}
	}
	*s = Span(d)
	return nil
}

// Set makes Span a command-line flag.
func (s *Span) Set(text string) error { return s.UnmarshalText([]byte(text)) }

// Type names the flag's value in help texts.
func (s *Span) Type() string { return "span" }

// A Pool is N machines kept ready from a template and handed out by claims: what is
// wanted of it, and what it is now.
type Pool struct {
	PoolSpec
	Want       int         `json:"want"`             // machines wanted now, by size, schedule, spares and claims
	Change     *PoolChange `json:"change,omitempty"` // the next one of its schedule
	Ready      int         `json:"ready"`            // that nobody holds and can be claimed
	Claimed    int         `json:"claimed"`
	Outdated   int         `json:"outdated"`          // made of another template than the pool's
	Earlier    string      `json:"earlier,omitempty"` // the template before the last update, to which it can be undone
	Deadline   time.Time   `json:"deadline,omitzero"` // when claimed machines are updated too
	Faults     int         `json:"faults,omitempty"`  // failures in a row
	Retry      time.Time   `json:"retry,omitzero"`    // before which nothing is tried again
	Reason     string      `json:"reason,omitempty"`  // of the last failure, or why there are fewer than wanted
	Controlled bool        `json:"controlled"`        // a controller is at work in this home
	Members    []Member    `json:"members"`
	Created    time.Time   `json:"created"`
}

// A PoolChange is a change of size that a schedule brings.
type PoolChange struct {
	At   time.Time `json:"at"`
	Size int       `json:"size"`
}

// A Member is one machine of a pool.
type Member struct {
	Machine  Name       `json:"machine"`
	Template string     `json:"template"`
	State    State      `json:"state"`
	Phase    Phase      `json:"phase"`
	Person   string     `json:"person,omitempty"`
	Expires  time.Time  `json:"expires,omitzero"` // when the claim does, as the wall clock goes
	IP       netip.Addr `json:"ip,omitzero"`
	Reason   string     `json:"reason,omitempty"`
}

// A Phase is what a member is to its pool right now.
type Phase string

// The phases. Only a ready machine is handed out.
const (
	Starting  Phase = "starting" // it runs and has not answered yet, or is about to be started
	Ready     Phase = "ready"    // it answers, and nobody holds it
	Claimed   Phase = "claimed"
	Resetting Phase = "resetting"
	Updating  Phase = "updating"
	Leaving   Phase = "leaving" // it is about to be removed, or replaced
)

// A Claim is the hold of one person on one machine of a pool.
type Claim struct {
	Pool    Name       `json:"pool"`
	Person  string     `json:"person"`
	Machine Name       `json:"machine"`
	IP      netip.Addr `json:"ip,omitzero"`
	User    string     `json:"user,omitempty"` // the login made by cloud-init
	Ready   bool       `json:"ready"`          // it answers; false where it is being started or updated
	Again   bool       `json:"again"`          // the person held it before
	Created time.Time  `json:"created"`
	Expires time.Time  `json:"expires,omitzero"`
}

// ClaimSpec asks for a claim.
type ClaimSpec struct {
	Pool   Name
	Person string
	TTL    Span // 0: the pool's
}

// PoolUpdate asks for the rollout of another template.
type PoolUpdate struct {
	Pool           Name
	To             Ref
	Undo           bool // to the template before the last update, instead
	MaxUnavailable int  // 0: as the pool has it
	Deadline       Span // from now; then claimed machines are updated too. 0: when they are released
}

// A Reconciliation says what was done to make a pool what is wanted.
type Reconciliation struct {
	Pool    Name     `json:"pool"`
	Done    []string `json:"done"`            // in words: "start lab-01: it is stopped"
	Settled bool     `json:"settled"`         // it is as wanted
	Waits   string   `json:"waits,omitempty"` // for what, where it is not
}
