package pool

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/clade-vm/clade"
)

// A Due is what must be done to a member before anybody gets it. It is recorded
// before it is begun, so that nobody claims the machine meanwhile and whoever comes
// after a crash does it again.
type Due string

// What may be due.
const (
	Nothing Due = ""
	Resets  Due = "reset"
	Updates Due = "update" // it is moved to the pool's template
	Leaves  Due = "leave"  // it is removed; where it is wanted, another one is made
)

// A Member is what is known of one machine of a pool.
type Member struct {
	Name     clade.Name
	Template string // "t:1"
	Running  bool
	Asleep   bool          // an instant clone, that a start wakes
	Proven   bool          // its agent has answered in this run
	Silent   time.Duration // how long it has not answered, since its start or its last answer
	Claimed  bool
	Due      Due
}

// ready tells whether the member can be claimed.
func (m Member) ready() bool { return m.Running && m.Proven && m.Due == Nothing && !m.Claimed }

// A Goal is what is wanted.
type Goal struct {
	Size     int // by declaration and schedule, now
	Spares   int
	Room     int    // what the ceilings allow
	Template string // "t:2"
	// Patience is how long a free machine may be silent after its start, Grace how long
	// once it has answered.
	Patience, Grace time.Duration
	Unavailable     int  // how many free machines an update takes away at the same time; 0: a quarter of them
	Forced          bool // claimed machines are updated too
	Remade          bool // machines are made anew where they would be reset
	Renewed         bool // and where they would be moved to another template
	Woken           bool // free ones that were ended are reset, as they wake sooner than they boot
	Held            bool // what failed is not tried again yet: nothing is made, started or moved
}

// Total is how many machines are wanted beside this many claims.
func (g Goal) Total(claimed int) int {
	return max(claimed, min(max(g.Size, claimed+g.Spares), g.Room))
}

// A Verb is what is done to a pool.
type Verb string

// The verbs.
const (
	Make   Verb = "make" // Count machines
	Start  Verb = "start"
	Prove  Verb = "prove" // ask the agent
	Reset  Verb = "reset"
	Update Verb = "update"
	Remove Verb = "remove"
)

// An Action is one thing to do.
type Action struct {
	Verb   Verb
	Member clade.Name // but for Make
	Count  int        // of Make
	Why    string
	Fault  bool // it is done because something failed
}

// String says it for people.
func (a Action) String() string {
	if a.Verb == Make {
		return fmt.Sprintf("make %d: %s", a.Count, a.Why)
	}
	return fmt.Sprintf("%s %s: %s", a.Verb, a.Member, a.Why)
}

// Plan says what brings the members to the goal. Asking the agent of a machine that
// is well is in it too, as nobody else watches; Settled leaves it out. A claimed
// machine is never removed or reset.
func Plan(g Goal, members []Member) []Action {
	members = slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	claimed := 0
	for _, m := range members {
		if m.Claimed {
			claimed++
		}
	}
	surplus := make(map[clade.Name]bool)
	staying := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return !m.Claimed && m.Due == Leaves })
	total := g.Total(claimed)
	if extra := len(staying) - total; extra > 0 {
		for _, m := range worst(g, staying)[:min(extra, len(staying)-claimed)] {
			surplus[m.Name] = true
		}
	}
	var actions []Action
	missing := max(0, total-len(staying))
	moves := newBudget(g, members, surplus, missing)
	for _, m := range members {
		if a, ok := one(g, m, surplus[m.Name], moves); ok {
			actions = append(actions, a)
		}
	}
	// What leaves because it failed is replaced once it is gone: its name is free then.
	if missing > 0 && !g.Held {
		actions = append(actions, Action{Verb: Make, Count: missing, Why: fmt.Sprintf("%d are wanted, %d there", total, len(staying))})
	}
	return actions
}

// one says what is to be done to one member.
func one(g Goal, m Member, surplus bool, moves *budget) (Action, bool) {
	act := func(v Verb, why string) (Action, bool) { return Action{Verb: v, Member: m.Name, Why: why}, true }
	switch {
	case m.Claimed:
		return held(g, m)
	case m.Due == Leaves:
		return act(Remove, "it is leaving")
	case surplus:
		return act(Remove, "the pool is larger than wanted")
	case g.Held && (m.Due != Nothing || !m.Running):
		return Action{}, false
	case m.Due == Updates, m.Due == Resets && m.Template != g.Template:
		return move(g, m)
	case m.Due == Resets:
		if g.Remade {
			return act(Remove, "another one is made in its place")
		}
		return act(Reset, "it was released")
	case m.Template != g.Template && !g.Held && moves.take(m):
		return move(g, m)
	case !m.Running && g.Woken && !m.Asleep:
		return act(Reset, "it is stopped, and wakes sooner than it boots")
	case !m.Running:
		return act(Start, "it is stopped")
	case !m.Proven && m.Silent > g.Patience:
		return Action{Verb: Remove, Member: m.Name, Fault: true, Why: fmt.Sprintf("it did not answer in %v after its start", clade.Span(g.Patience))}, true
	case m.Proven && m.Silent > g.Grace:
		return Action{Verb: Remove, Member: m.Name, Fault: true, Why: fmt.Sprintf("it has not answered for %v", m.Silent.Round(time.Second))}, true
	}
	return act(Prove, "does it answer?")
}

// move brings a free member to the goal's template.
func move(g Goal, m Member) (Action, bool) {
	if g.Renewed {
		return Action{Verb: Remove, Member: m.Name, Why: "another one is made of " + g.Template}, true
	}
	return Action{Verb: Update, Member: m.Name, Why: "to " + g.Template}, true
}

// held says what is to be done to a claimed member: what is on it is a person's.
func held(g Goal, m Member) (Action, bool) {
	switch {
	case m.Due == Updates || g.Forced && m.Template != g.Template:
		if g.Held {
			return Action{}, false
		}
		return Action{Verb: Update, Member: m.Name, Why: "to " + g.Template + ", as the deadline has passed"}, true
	case !m.Running && !g.Held:
		return Action{Verb: Start, Member: m.Name, Why: "it is stopped"}, true
	case m.Running:
		return Action{Verb: Prove, Member: m.Name, Why: "does it answer?"}, true
	}
	return Action{}, false
}

// worst sorts the free members, those first that are missed least.
func worst(g Goal, members []Member) []Member {
	free := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Claimed })
	rank := func(m Member) int {
		switch {
		case m.Due != Nothing:
			return 0
		case !m.Running:
			return 1
		case !m.Proven || m.Silent > 0:
			return 2
		case m.Template != g.Template:
			return 3
		}
		return 4
	}
	slices.SortStableFunc(free, func(a, b Member) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Name, a.Name))
	})
	return free
}

// A budget is how many free machines an update may still take away.
type budget struct{ left int }

// newBudget counts those that are missing as away: what was removed to be made anew is,
// until it is made.
func newBudget(g Goal, members []Member, surplus map[clade.Name]bool, missing int) *budget {
	free, away := missing, missing
	for _, m := range members {
		if m.Claimed || surplus[m.Name] {
			continue
		}
		free++
		if !m.ready() {
			away++
		}
	}
	most := g.Unavailable
	if most == 0 {
		most = max(1, free/4)
	}
	return &budget{most - away}
}

// take takes m away if that may be. One that nobody could claim anyhow costs nothing.
func (b *budget) take(m Member) bool {
	if !m.ready() {
		return true
	}
	b.left--
	return b.left >= 0
}

// Settled tells whether members are what the goal says: nothing is to be done, all
// run and have answered, and the free ones are of the goal's template. A claimed one
// that does not answer is not waited for longer than others.
func Settled(g Goal, members []Member) bool {
	for _, a := range Plan(g, members) {
		if a.Verb != Prove {
			return false
		}
	}
	claimed := 0
	for _, m := range members {
		if m.Claimed {
			if claimed++; !m.Proven && m.Silent <= g.Patience {
				return false
			}
		} else if !m.ready() || m.Silent > 0 || m.Template != g.Template {
			return false
		}
	}
	return len(members) >= g.Total(claimed)
}
