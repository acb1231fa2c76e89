package pool

import "time"

// A Clock is a moment as the computer sees it: the wall clock, which people and time
// servers set, and the ticks of one run of the computer, which only go on.
type Clock struct {
	Wall  time.Time
	Boot  string // which run of the computer
	Ticks time.Duration
}

// An Anchor is when a claim was last looked at, and how much it lasted then.
type Anchor struct {
	Boot    string
	Ticks   time.Duration
	Remains time.Duration
	Expires time.Time // by the wall clock; zero: the claim does not expire
}

// At returns the anchor of a claim that lasts ttl from now; for ever if that is 0.
func At(now Clock, ttl time.Duration) Anchor {
	a := Anchor{Boot: now.Boot, Ticks: now.Ticks, Remains: ttl}
	if ttl > 0 {
		a.Expires = now.Wall.Add(ttl)
	}
	return a
}

// Left tells how long the claim still lasts. Within one run of the computer only
// the ticks count: a wall clock that jumps ends no claim and prolongs none. Across
// runs the wall clock is all there is; it prolongs nothing.
func (a Anchor) Left(now Clock) time.Duration {
	if a.Expires.IsZero() {
		return time.Duration(1<<63 - 1)
	}
	if a.Boot == now.Boot {
		return max(0, a.Remains-max(0, now.Ticks-a.Ticks))
	}
	return max(0, min(a.Remains, a.Expires.Sub(now.Wall)))
}

// Again anchors the claim in this run of the computer, with what it lasts now.
func (a Anchor) Again(now Clock) Anchor {
	if a.Expires.IsZero() || a.Boot == now.Boot {
		return a
	}
	return At(now, max(1, a.Left(now)))
}

// MaxBackOff is the longest that a pool waits before it tries again what failed.
const MaxBackOff = 10 * time.Minute

// BackOff is how long to wait after this many failures in a row.
func BackOff(faults int) time.Duration {
	if faults <= 0 {
		return 0
	}
	return min(MaxBackOff, 2*time.Second<<min(faults-1, 20))
}

// Waits tells whether retry is still to come. A moment farther away than any back-off
// is what a clock that jumped back has left, and has come.
func Waits(retry, now time.Time) bool {
	return now.Before(retry) && retry.Sub(now) <= MaxBackOff
}
