package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
	"github.com/clade-vm/clade/store"
)

const (
	// askPause is how long a machine that is well is not asked again.
	askPause = 10 * time.Second
	// grace is how long a free machine that has answered may be silent.
	grace = time.Minute
	// poolHands is how many machines of a pool are worked on at the same time.
	poolHands = 8
)

// controlPatience is how long Reconcile waits for another controller to be gone.
const controlPatience = 3 * time.Second

// Reconcile does one round of what a controller does. Kinds: NotFound; Busy while a
// controller works in this home.
func (h *Host) Reconcile(ctx context.Context, name clade.Name, p clade.Progress) (*clade.Reconciliation, error) {
	c, err := h.takeControl()
	// A program that a controller was just starting when it ended has the lock's file
	// for a moment more, on a busy computer a long one.
	for until := time.Now().Add(controlPatience); c == nil && err == nil && time.Now().Before(until) && pause(ctx, 10*time.Millisecond); {
		c, err = h.takeControl()
	}
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, &clade.Error{Op: "reconcile", On: "pool " + string(name), Kind: clade.Busy, Err: errors.New("a controller works in this home"),
			Hint: "it does the same: clade pool show " + string(name)}
	}
	defer c.lock.Release()
	return c.round(ctx, name, p)
}

// round looks at one pool, decides, and does it. Failures are noted in the pool's
// record with the time before which nothing is tried again.
func (c *controller) round(ctx context.Context, name clade.Name, p clade.Progress) (*clade.Reconciliation, error) {
	h := c.host
	out := &clade.Reconciliation{Pool: name, Done: []string{}}
	if err := c.expire(ctx, name, out); err != nil {
		return nil, err
	}
	record, err := h.poolRecord(ctx, name)
	if err != nil {
		return nil, retitle("reconcile", err)
	}
	goal, members, known, err := h.look(ctx, record)
	if err != nil {
		return nil, err
	}
	if err := h.tendMembers(ctx, members, known); err != nil {
		h.Config.Log.Error("network", "pool", name, "error", err)
	}
	plan := pool.Plan(goal, known)
	faults := c.perform(ctx, record, members, plan, out, p)
	if len(faults) == 0 && slices.ContainsFunc(plan, func(a pool.Action) bool { return a.Verb == pool.Make }) {
		more, err := c.startMade(ctx, record, out, p)
		if faults = more; err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return out, err
	}
	if err := c.note(ctx, record, faults); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(plan, func(a pool.Action) bool { return a.Verb != pool.Prove }) || !pool.Settled(goal, known) {
		if goal, members, known, err = h.look(ctx, record); err != nil {
			return nil, err
		}
	}
	out.Settled = len(faults) == 0 && pool.Settled(goal, known)
	if !out.Settled {
		out.Waits = waits(record, goal, members, known, faults)
	}
	return out, nil
}

// tendMembers gives the pool's network its switch back, if machines run on it.
func (h *Host) tendMembers(ctx context.Context, members []*member, known []pool.Member) error {
	for i, m := range members {
		if known[i].Running && userNetwork(m.record.Network) {
			if h.switchRuns(clade.Name(m.record.Network)) {
				return nil
			}
			return h.connect(ctx, m.record.Network)
		}
	}
	return nil
}

// startMade starts what a round has made, or asks it where it runs already, without
// waiting for the next one.
func (c *controller) startMade(ctx context.Context, record *store.Pool, out *clade.Reconciliation, p clade.Progress) ([]fault, error) {
	goal, members, known, err := c.host.look(ctx, record)
	if err != nil {
		return nil, err
	}
	starts := slices.DeleteFunc(pool.Plan(goal, known), func(a pool.Action) bool {
		return a.Verb != pool.Start && (a.Verb != pool.Prove || record.Kind != clade.Instant)
	})
	return c.perform(ctx, record, members, starts, out, p), nil
}

// look reads what is wanted and what is there.
func (h *Host) look(ctx context.Context, record *store.Pool) (pool.Goal, []*member, []pool.Member, error) {
	now := time.Now()
	goal, err := h.goal(ctx, record, now)
	if err != nil {
		return goal, nil, nil, err
	}
	members, err := h.members(ctx, record.Name)
	if err != nil {
		return goal, nil, nil, err
	}
	known := make([]pool.Member, len(members))
	for i, m := range members {
		status, err := h.Driver.Status(ctx, h.place(m.record.ID))
		if err != nil {
			return goal, nil, nil, fileError("find", "machine "+string(m.record.Name), err)
		}
		m.status = status
		known[i] = m.known(status, now)
	}
	return goal, members, known, nil
}

// waits says, for people, what a pool that is not settled waits for.
func waits(record *store.Pool, goal pool.Goal, members []*member, known []pool.Member, faults []fault) string {
	if len(faults) > 0 {
		return faults[0].why
	}
	if goal.Held {
		return "the next try at " + record.Retry.Local().Format(time.TimeOnly) + ": " + record.Reason
	}
	starting := 0
	for i, k := range known {
		if k.Running && !k.Proven && members[i].claim == nil {
			starting++
		}
	}
	if starting > 0 {
		return fmt.Sprintf("%d machines to answer", starting)
	}
	return "the next round"
}

// expire releases what has lasted as long as it was claimed for, and takes the time of
// a computer that was restarted for the claims of its last run.
func (c *controller) expire(ctx context.Context, name clade.Name, out *clade.Reconciliation) error {
	h, now := c.host, clock()
	anchor := func(s *store.Claim) pool.Anchor {
		return pool.Anchor{Boot: s.Boot, Ticks: s.Ticks, Remains: s.Remains, Expires: s.Expires}
	}
	var claims []*store.Claim
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		claims, err = tx.Claims(name)
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range claims {
		if anchor(s).Left(now) == 0 {
			_, err := h.release(ctx, name, s.Person, "its claim expired", func(c *store.Claim) bool { return anchor(c).Left(now) == 0 })
			if errors.Is(err, clade.NotFound) {
				continue // renewed or released meanwhile
			}
			if err != nil {
				return err
			}
			out.Done = append(out.Done, "release the claim of "+s.Person+": it has expired")
			continue
		}
		if s.Boot != now.Boot && !s.Expires.IsZero() {
			if err := h.anchorAgain(ctx, s, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// anchorAgain records what a claim lasts in this run of the computer.
func (h *Host) anchorAgain(ctx context.Context, s *store.Claim, now pool.Clock) error {
	a := pool.Anchor{Boot: s.Boot, Ticks: s.Ticks, Remains: s.Remains, Expires: s.Expires}.Again(now)
	renewed := *s
	renewed.Boot, renewed.Ticks, renewed.Remains, renewed.Expires = a.Boot, a.Ticks, a.Remains, a.Expires
	return h.db.Write(ctx, func(tx *store.Tx) error {
		list, err := tx.Claims(s.Pool)
		if err != nil || !slices.ContainsFunc(list, func(c *store.Claim) bool { return c.Person == s.Person && c.Boot == s.Boot }) {
			return err
		}
		return tx.SetClaim(&renewed)
	})
}
