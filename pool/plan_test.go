package pool_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
)

var goal = pool.Goal{Size: 2, Room: 100, Template: "t:1", Patience: time.Minute, Grace: 10 * time.Second}

// members reads "a:run,proven b:claimed,due=reset c:old".
func members(text string) (list []pool.Member) {
	for _, word := range strings.Fields(text) {
		name, marks, _ := strings.Cut(word, ":")
		m := pool.Member{Name: clade.Name(name), Template: "t:1"}
		for mark := range strings.SplitSeq(marks, ",") {
			key, value, _ := strings.Cut(mark, "=")
			switch key {
			case "ready":
				m.Running, m.Proven = true, true
			case "run":
				m.Running = true
			case "asleep":
				m.Asleep = true
			case "claimed":
				m.Claimed = true
			case "old":
				m.Template = "t:0"
			case "due":
				m.Due = pool.Due(value)
			case "silent":
				m.Silent, _ = time.ParseDuration(value)
			}
		}
		list = append(list, m)
	}
	return list
}

func TestPlan(t *testing.T) {
	change := func(do func(*pool.Goal)) pool.Goal { g := goal; do(&g); return g }
	for _, test := range []struct {
		name    string
		goal    pool.Goal
		members string
		want    string // the actions, without asking agents
	}{
		{"a new pool", goal, "", "make 2"},
		{"as wanted", goal, "a:ready b:ready", ""},
		{"one is gone", goal, "a:ready", "make 1"},
		{"after a reboot", goal, "a: b:claimed", "start a, start b"},
		{"after a reboot: instant clones", change(func(g *pool.Goal) { g.Woken, g.Size = true, 3 }), "a: b:asleep c:claimed", "reset a, start b, start c"},
		{"spares beside claims", change(func(g *pool.Goal) { g.Spares = 1 }), "a:ready,claimed b:ready,claimed", "make 1"},
		{"spares within the size", change(func(g *pool.Goal) { g.Spares = 1 }), "a:ready,claimed b:ready", ""},
		{"the ceiling bounds spares", change(func(g *pool.Goal) { g.Spares, g.Room = 5, 3 }), "a:ready,claimed b:ready,claimed", "make 1"},
		{"too many", goal, "a:ready b:ready c:ready", "remove c"},
		{"the least missed goes", goal, "a: b:ready c:ready", "remove a"},
		{"claimed ones stay", change(func(g *pool.Goal) { g.Size = 0 }), "a:ready,claimed b:ready", "remove b"},
		{"even all of them", change(func(g *pool.Goal) { g.Size = 0 }), "a:ready,claimed b:ready,claimed", ""},
		{"released", goal, "a:ready,due=reset b:ready", "reset a"},
		{"released, to be made anew", change(func(g *pool.Goal) { g.Remade = true }), "a:ready,due=reset b:ready", "remove a"},
		{"leaving", goal, "a:ready,due=leave b:ready", "remove a, make 1"},
		{"leaving, and not wanted", change(func(g *pool.Goal) { g.Size = 1 }), "a:ready,due=leave b:ready", "remove a"},
		{"silent after its start", goal, "a:run,silent=61s b:ready", "remove! a"},
		{"silent for a while", goal, "a:ready,silent=9s b:ready", ""},
		{"silent for too long", goal, "a:ready,silent=11s b:ready", "remove! a"},
		{"silent and claimed", goal, "a:ready,claimed,silent=1h b:ready", ""},
		{"held: nothing is made or started", change(func(g *pool.Goal) { g.Held, g.Size = true, 3 }), "a: b:ready,due=reset", ""},
		{"held: what is too many goes", change(func(g *pool.Goal) { g.Held, g.Size = true, 0 }), "a: b:claimed", "remove a"},
		{"update: free ones, one at a time", goal, "a:ready,old b:ready,old", "update a"},
		{"update: those that are down first", goal, "a:ready,old b:old", "update b"},
		{"update: two at a time", change(func(g *pool.Goal) { g.Unavailable = 2 }), "a:ready,old b:ready,old", "update a, update b"},
		{"update: not while another is away", goal, "a:ready,old b:run", ""},
		{"update: not while another is missing", change(func(g *pool.Goal) { g.Renewed = true }), "a:ready,old", "make 1"},
		{"update: two at a time, one is missing", change(func(g *pool.Goal) { g.Renewed, g.Unavailable, g.Size = true, 2, 3 }), "a:ready,old b:ready,old", "remove a, make 1"},
		{"update: claimed ones wait", goal, "a:ready,old,claimed b:ready", ""},
		{"update: until the deadline", change(func(g *pool.Goal) { g.Forced = true }), "a:ready,old,claimed b:ready", "update a"},
		{"update: at release", goal, "a:ready,old,due=reset b:ready", "update a"},
		{"update: begun", goal, "a:due=update b:ready", "update a"},
		{"update: begun and claimed", goal, "a:claimed,due=update b:ready", "update a"},
		{"update: made anew", change(func(g *pool.Goal) { g.Renewed = true }), "a:ready,old b:ready", "remove a"},
	} {
		var got []string
		for _, a := range pool.Plan(test.goal, members(test.members)) {
			switch {
			case a.Verb == pool.Prove:
			case a.Verb == pool.Make:
				got = append(got, fmt.Sprint("make ", a.Count))
			case a.Fault:
				got = append(got, fmt.Sprint(a.Verb, "! ", a.Member))
			default:
				got = append(got, fmt.Sprint(a.Verb, " ", a.Member))
			}
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%s: %s\n got %q\nwant %q", test.name, test.members, text, test.want)
		}
	}
}

// Whatever a pool is like, doing what Plan says makes it what is wanted in few rounds,
// claimed machines are never removed or reset, and no more machines are taken away by
// an update than may be.
func TestPlansConverge(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 4000 {
		g := pool.Goal{Size: r.IntN(8), Spares: r.IntN(4), Room: 4 + r.IntN(10), Template: "t:1", Patience: time.Minute, Grace: time.Second,
			Unavailable: r.IntN(3), Forced: r.IntN(2) == 0, Remade: r.IntN(2) == 0, Renewed: r.IntN(2) == 0, Woken: r.IntN(2) == 0}
		var list []pool.Member
		for i := range r.IntN(10) {
			m := pool.Member{Name: clade.Name(fmt.Sprint("m", i)), Template: fmt.Sprint("t:", r.IntN(2)), Running: r.IntN(2) == 0, Claimed: r.IntN(3) == 0,
				Silent: time.Duration(r.IntN(3)) * time.Minute}
			m.Proven = m.Running && r.IntN(2) == 0
			if !m.Claimed {
				m.Due = []pool.Due{pool.Nothing, pool.Resets, pool.Updates, pool.Leaves}[r.IntN(4)]
			}
			list = append(list, m)
		}
		begin := slices.Clone(list)
		for step := 0; !pool.Settled(g, list); step++ {
			if step > 40 {
				t.Fatalf("round %d: %+v\n%+v\nis not settled: %+v", round, g, begin, list)
			}
			list = perform(t, g, list)
		}
		for _, m := range begin {
			if m.Claimed && !slices.ContainsFunc(list, func(n pool.Member) bool { return n.Name == m.Name && n.Claimed }) {
				t.Fatalf("round %d: %s was claimed and is gone: %+v", round, m.Name, list)
			}
		}
	}
}

// perform does what Plan says, on paper.
func perform(t *testing.T, g pool.Goal, list []pool.Member) []pool.Member {
	t.Helper()
	ready := func(m pool.Member) bool { return m.Running && m.Proven && m.Due == pool.Nothing && !m.Claimed }
	free, taken, away := 0, 0, 0
	plan := pool.Plan(g, slices.Clone(list))
	for _, m := range list {
		if slices.ContainsFunc(plan, func(a pool.Action) bool { return a.Member == m.Name && a.Verb == pool.Remove && m.Due != pool.Leaves }) {
			continue // it is too many, or failed
		}
		if !m.Claimed {
			free++
		}
		if !m.Claimed && !ready(m) {
			away++
		}
	}
	at := func(name clade.Name) int {
		return slices.IndexFunc(list, func(m pool.Member) bool { return m.Name == name })
	}
	for _, a := range plan {
		i := at(a.Member)
		if a.Verb != pool.Make && list[i].Claimed && (a.Verb == pool.Remove || a.Verb == pool.Reset) {
			t.Fatalf("%v of a claimed machine", a)
		}
		switch a.Verb {
		case pool.Make:
			for n := 0; a.Count > 0; n++ {
				if name := clade.Name(fmt.Sprint("n", n)); at(name) < 0 {
					list = append(list, pool.Member{Name: name, Template: g.Template})
					a.Count--
				}
			}
		case pool.Start:
			list[i].Running, list[i].Proven, list[i].Silent = true, false, 0
		case pool.Prove:
			list[i].Proven, list[i].Silent = true, 0
		case pool.Reset:
			list[i].Running, list[i].Proven, list[i].Due, list[i].Asleep = false, false, pool.Nothing, true
		case pool.Update:
			if ready(list[i]) {
				taken++
			}
			list[i].Running, list[i].Proven, list[i].Due, list[i].Template = false, false, pool.Nothing, g.Template
		case pool.Remove:
			list = slices.Delete(list, i, i+1)
		}
	}
	most := g.Unavailable
	if most == 0 {
		most = max(1, free/4)
	}
	if taken > 0 && taken+away > most {
		t.Fatalf("an update takes %d away, %d may be: %+v", taken, most, list)
	}
	return list
}

func TestLimits(t *testing.T) {
	s := clade.PoolSpec{Name: "p", Size: 4, MaxCPUs: 9, MaxMemory: 4 * clade.GiB, Schedule: "08:00 size=5"}
	if err := pool.Limits(s, 1, 800*clade.MiB, clade.TiB); err != nil {
		t.Errorf("Limits = %v", err)
	}
	for what, err := range map[string]error{
		"max-cpus":   pool.Limits(s, 2, clade.MiB, 0),
		"max-memory": pool.Limits(s, 1, clade.GiB, 0), // at eight o'clock
		"max-disk":   pool.Limits(clade.PoolSpec{Name: "p", Spares: 3, MaxDisk: 10 * clade.GiB}, 1, clade.GiB, 4*clade.GiB),
	} {
		if clade.KindOf(err) != clade.Invalid || !strings.Contains(err.Error(), what) {
			t.Errorf("Limits = %v, want a refusal by %s", err, what)
		}
	}
	if n, what := pool.Room(s, 2, clade.GiB, 0); n != 4 || what != "max-cpus" && what != "max-memory" {
		t.Errorf("Room = %d by %s, want 4", n, what)
	}
}

func TestFreeNames(t *testing.T) {
	taken := map[clade.Name]bool{"lab-02": true}
	got, err := pool.Pattern("lab-{n:02}").Free(3, func(n clade.Name) bool { return taken[n] })
	if err != nil || !slices.Equal(got, []clade.Name{"lab-01", "lab-03", "lab-04"}) {
		t.Errorf("Free = %v, %v", got, err)
	}
	if _, err := pool.Pattern("same").Free(2, func(clade.Name) bool { return false }); clade.KindOf(err) != clade.Invalid {
		t.Errorf("Free of a name without a number = %v", err)
	}
}

// A claim lasts as long as it was given for, whatever the wall clock does.
func TestClockThatJumps(t *testing.T) {
	wall := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	a := pool.At(pool.Clock{Wall: wall, Boot: "x", Ticks: time.Hour}, 3*time.Hour)
	for _, test := range []struct {
		name string
		now  pool.Clock
		want time.Duration
	}{
		{"at once", pool.Clock{wall, "x", time.Hour}, 3 * time.Hour},
		{"an hour later", pool.Clock{wall.Add(time.Hour), "x", 2 * time.Hour}, 2 * time.Hour},
		{"the clock jumps ahead", pool.Clock{wall.Add(99 * time.Hour), "x", 2 * time.Hour}, 2 * time.Hour},
		{"the clock jumps back", pool.Clock{wall.Add(-99 * time.Hour), "x", 2 * time.Hour}, 2 * time.Hour},
		{"it is over", pool.Clock{wall, "x", 5 * time.Hour}, 0},
		{"after a reboot", pool.Clock{wall.Add(time.Hour), "y", time.Minute}, 2 * time.Hour},
		{"after a reboot into the past", pool.Clock{wall.Add(-time.Hour), "y", time.Minute}, 3 * time.Hour},
		{"after a long night", pool.Clock{wall.Add(9 * time.Hour), "y", time.Minute}, 0},
	} {
		if got := a.Left(test.now); got != test.want {
			t.Errorf("%s: %v left, want %v", test.name, got, test.want)
		}
	}
	again := a.Again(pool.Clock{wall.Add(time.Hour), "y", time.Minute})
	if got := again.Left(pool.Clock{wall.Add(77 * time.Hour), "y", time.Hour + time.Minute}); got != time.Hour {
		t.Errorf("anchored again after a reboot, an hour later %v are left, want 1h", got)
	}
	forever := pool.At(pool.Clock{Wall: wall, Boot: "x"}, 0)
	if got := forever.Left(pool.Clock{wall.Add(1e6 * time.Hour), "z", 0}); got < 1e6*time.Hour {
		t.Errorf("a claim without an end has %v left", got)
	}
}

func TestBackOff(t *testing.T) {
	last := time.Duration(0)
	for n := range 100 {
		got := pool.BackOff(n)
		if got < last || got > pool.MaxBackOff || n > 0 && got == 0 {
			t.Errorf("BackOff(%d) = %v after %v", n, got, last)
		}
		last = got
	}
	now := time.Now()
	if !pool.Waits(now.Add(time.Minute), now) || pool.Waits(now.Add(-time.Second), now) || pool.Waits(now.Add(time.Hour), now) {
		t.Error("Waits does not end, or not when it should")
	}
}
