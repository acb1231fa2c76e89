package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
	"github.com/clade-vm/clade/store"
)

const (
	// askLimit is how long a guest may take to answer one question.
	askLimit = 2 * time.Second
	// stopLimit is how long the guest of a claimed machine may take to power off.
	stopLimit = 30 * time.Second
	// instantHands is how many instant clones one round makes.
	instantHands = 4
)

// A fault is something that failed, or a machine that had to be given up.
type fault struct{ why string }

// perform does the actions: what is asked or done to machines that are there, several
// at a time, and then makes new ones. It returns what failed.
func (c *controller) perform(ctx context.Context, record *store.Pool, members []*member, actions []pool.Action, out *clade.Reconciliation, p clade.Progress) []fault {
	byName := make(map[clade.Name]*member)
	for _, m := range members {
		byName[m.record.Name] = m
	}
	var (
		mu     sync.Mutex
		faults []fault
		hands  = make(chan struct{}, poolHands)
	)
	one := func(a pool.Action) {
		did, err := c.act(ctx, record, byName[a.Member], a, p)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, clade.Busy): // another command works on it; the next round finds it free
		case err != nil && ctx.Err() == nil:
			faults = append(faults, fault{fmt.Sprintf("%s: %v%s", a, err, mends(err))})
		case did && a.Fault:
			faults = append(faults, fault{fmt.Sprintf("%s was replaced: %s", a.Member, a.Why)})
			fallthrough
		case did:
			out.Done = append(out.Done, a.String())
		}
	}
	// A guest that somebody works on may take long to power off: nobody waits for that.
	var claimed, free sync.WaitGroup
	for _, a := range actions {
		if a.Verb == pool.Make {
			continue
		}
		group := &free
		if byName[a.Member].claim != nil {
			group = &claimed
		}
		hands <- struct{}{}
		group.Go(func() {
			defer func() { <-hands }()
			one(a)
		})
	}
	free.Wait()
	for _, a := range actions {
		if a.Verb == pool.Make && ctx.Err() == nil {
			one(a)
		}
	}
	claimed.Wait()
	return faults
}

// mends is what can be done about a failure, for the pool's reason: nobody sees what a
// controller prints.
func mends(err error) string {
	if hint := clade.HintOf(err); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}

// act does one action, and tells whether it changed something. A free machine with
// which it cannot be done is due to leave.
func (c *controller) act(ctx context.Context, record *store.Pool, m *member, a pool.Action, p clade.Progress) (bool, error) {
	did, err := c.try(ctx, record, m, a, p)
	if err == nil || m == nil || m.claim != nil || a.Verb == pool.Remove || ctx.Err() != nil || !itsOwnFault(err) {
		return did, err
	}
	_, again := c.host.becomes(ctx, m, pool.Leaves, true)
	return did, errors.Join(err, again)
}

// itsOwnFault tells whether another machine may do better: not where the computer is
// at its end, or another command works on the machine.
func itsOwnFault(err error) bool {
	switch clade.KindOf(err) {
	case clade.Busy, clade.NoSpace, clade.Missing, clade.Denied:
		return false
	}
	return true
}

func (c *controller) try(ctx context.Context, record *store.Pool, m *member, a pool.Action, p clade.Progress) (bool, error) {
	h := c.host
	switch a.Verb {
	case pool.Make:
		return true, h.makeMembers(ctx, record, a.Count, p)
	case pool.Start:
		return true, c.startMember(ctx, m, p)
	case pool.Prove:
		return false, c.prove(ctx, m)
	case pool.Reset:
		// One that was ended is not due yet. From here on it is nobody's.
		if m.Due == "" {
			if due, err := h.becomes(ctx, m, pool.Resets, true); err != nil || !due {
				return false, err
			}
		}
		return true, c.resetMember(ctx, m, p)
	case pool.Update:
		return c.updateMember(ctx, record, m, p)
	case pool.Remove:
		// Nobody may have asked it for a while.
		if a.Fault {
			if well, err := c.answersNow(ctx, m); well || err != nil {
				return false, err
			}
		}
		// From here on nobody can claim it; where somebody has, it stays.
		if due, err := h.becomes(ctx, m, pool.Leaves, true); err != nil || !due {
			return false, err
		}
		_, err := h.removeMember(ctx, m)
		return true, err
	}
	return false, fmt.Errorf("no such action: %s", a)
}

// becomes makes due what is about to be done to m, and tells whether that may be.
func (h *Host) becomes(ctx context.Context, m *member, due pool.Due, free bool) (may bool, err error) {
	err = h.db.Write(ctx, func(tx *store.Tx) (err error) {
		may, err = tx.Due(m.record.ID, m.Due, string(due), free)
		return err
	})
	if may && err == nil {
		m.Due = string(due)
		h.did("member: due " + string(due))
	}
	return may, err
}

// done says that nothing is due of m any more, unless something else has become due.
func (h *Host) done(ctx context.Context, m *member, due pool.Due) error {
	err := h.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Due(m.record.ID, string(due), "", false)
		return err
	})
	if err == nil {
		h.did("member: done " + string(due))
	}
	return err
}

// makeMembers makes machines. They are members by the same transaction that records
// them. Instant clones are awake when they are made: a few at a time, so that what is
// released meanwhile does not wait for all of them, and those there are stay where
// the computer has no memory for more.
func (h *Host) makeMembers(ctx context.Context, record *store.Pool, count int, p clade.Progress) error {
	if record.Kind == clade.Instant {
		count = min(count, instantHands)
	}
	names, err := h.freeNames(ctx, record.PoolSpec, count)
	if err != nil {
		return err
	}
	_, err = h.cloneWith(ctx, poolClones(record.PoolSpec, names), p, func(tx *store.Tx, machines []*store.Machine) error {
		for _, m := range machines {
			if err := tx.AddMember(m.ID, record.Name); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// startMember starts a machine. One that runs although it is asleep was left by a
// command that died while it woke it, and is ended first. One that was woken has
// answered already, so it is asked at once whether it is ready.
func (c *controller) startMember(ctx context.Context, m *member, p clade.Progress) error {
	h := c.host
	if m.record.Asleep {
		now, release, err := h.hold(ctx, m.record.Name, "start")
		if err != nil {
			return err
		}
		if now.Asleep {
			err = h.Driver.Kill(ctx, h.place(now.ID))
		}
		if release(); err != nil {
			return err
		}
	}
	if err := h.Start(ctx, m.record.Name, clade.StartOptions{}, p); err != nil || m.record.Clone != clade.Instant {
		return err
	}
	status, err := h.Driver.Status(ctx, h.place(m.record.ID))
	if err != nil {
		return err
	}
	m.status = status
	return c.prove(ctx, m)
}

// updateMember moves a machine to the pool's template. A claimed one is asked to
// power off first, and what its person had is kept until the claim ends, so that the
// update can be undone; a free one is reset on the way.
func (c *controller) updateMember(ctx context.Context, record *store.Pool, m *member, p clade.Progress) (bool, error) {
	h := c.host
	free := m.claim == nil
	released := free && m.Due == string(pool.Resets)
	if m.Due == "" {
		if due, err := h.becomes(ctx, m, pool.Updates, free); err != nil || !due {
			return false, err
		}
	}
	due := pool.Due(m.Due)
	if free && (released || record.Policy != clade.Keep) {
		if err := h.clear(ctx, m); err != nil {
			return false, err
		}
	} else if err := h.stopGently(ctx, m, p); err != nil {
		return false, err
	}
	if released && record.Policy != clade.Keep {
		if err := h.emptyData(ctx, m); err != nil {
			return false, err
		}
	}
	if err := h.moveTo(ctx, record, m, p); err != nil {
		return false, err
	}
	if free {
		if _, err := h.ConfirmRebase(ctx, m.record.Name); err != nil && !errors.Is(err, clade.NotFound) {
			return false, err
		}
	}
	if err := h.done(ctx, m, due); err != nil {
		return false, err
	}
	return true, c.startMember(ctx, m, p)
}

// moveTo rebases m to the pool's template, or back to it where that is what it was
// rebased from. One that was moved before its controller died is left as it is.
func (h *Host) moveTo(ctx context.Context, record *store.Pool, m *member, p clade.Progress) error {
	want := "template " + record.Template.String()
	now, err := h.record(ctx, m.record.Name)
	if err != nil || now.Source == want {
		return err
	}
	s, err := h.kept(ctx, now, beforeRebase)
	if err != nil {
		return err
	}
	if s != nil {
		if s.Source == want {
			_, err := h.UndoRebase(ctx, now.Name, p)
			return err
		}
		if _, err := h.ConfirmRebase(ctx, now.Name); err != nil {
			return err
		}
	}
	_, err = h.Rebase(ctx, clade.RebaseSpec{Machine: now.Name, To: record.Template}, p)
	return err
}

// stopGently asks a guest to power off and pulls the plug if it does not.
func (h *Host) stopGently(ctx context.Context, m *member, p clade.Progress) error {
	limited, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	err := h.Stop(limited, m.record.Name, p)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return h.Driver.Kill(ctx, h.place(m.record.ID))
}

// answersNow asks once more a guest that is about to be given up.
func (c *controller) answersNow(ctx context.Context, m *member) (bool, error) {
	if err := c.prove(ctx, m); err != nil {
		return false, err
	}
	members, err := c.host.members(ctx, m.Pool)
	for _, now := range members {
		if now.record.ID == m.record.ID {
			return now.Proven == runOf(m.status) && now.Silent.IsZero(), err
		}
	}
	return false, err
}

// prove asks the guest whether it is ready, and records what it said: the run in
// which it answered, or since when it does not.
func (c *controller) prove(ctx context.Context, m *member) error {
	h, run := c.host, runOf(m.status)
	well := m.Proven == run && m.Silent.IsZero()
	if well && c.askedLately(m.record.ID) {
		return nil
	}
	why := h.ask(ctx, m)
	switch {
	case ctx.Err() != nil:
		return nil
	case why == "" && well:
		return nil
	case why == "":
		return h.db.Write(ctx, func(tx *store.Tx) error { return tx.SetProven(m.record.ID, run) })
	case m.Proven == run && m.Silent.IsZero():
		return h.db.Write(ctx, func(tx *store.Tx) error { return tx.SetSilent(m.record.ID, time.Now(), why) })
	case m.Reason != why:
		return h.db.Write(ctx, func(tx *store.Tx) error { return tx.SetSilent(m.record.ID, m.Silent, why) })
	}
	return nil
}

// askedLately tells whether the machine was asked a moment ago, and notes that it is now.
func (c *controller) askedLately(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.asked[id]) < askPause {
		return true
	}
	c.asked[id] = now
	return false
}

// ask tells why a machine cannot be handed out; "" where it can: its agent answers,
// and cloud-init, where the guest has it, is done.
func (h *Host) ask(ctx context.Context, m *member) string {
	if m.status.State == clade.Paused {
		return "it stands still: " + m.status.Reason
	}
	reach, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	g, _, err := h.guest(reach, m.record.Name, "ask")
	if err != nil {
		return "its agent does not answer"
	}
	defer g.Close()
	if _, err := g.ReadFile(reach, "/run/cloud-init/result.json", 64); err != nil {
		if _, has := g.ReadFile(reach, "/usr/bin/cloud-init", 1); has == nil || reach.Err() != nil {
			return "cloud-init is not done in its guest"
		}
	}
	if m.record.MachineID == "" {
		if text, err := g.ReadFile(reach, "/etc/machine-id", 64); err == nil {
			_ = h.learn(ctx, m.record, strings.TrimSpace(string(text)))
		}
	}
	return ""
}

// note records how the tries of a round came out. Failures are in a row until the
// pool is what is wanted.
func (c *controller) note(ctx context.Context, record *store.Pool, faults []fault) error {
	switch {
	case len(faults) > 0:
		n := record.Faults + 1
		record.Faults, record.Retry, record.Reason = n, time.Now().Add(pool.BackOff(n)).UTC(), faults[0].why
	case record.Faults == 0 || pool.Waits(record.Retry, time.Now()):
		return nil
	default:
		goal, _, known, err := c.host.look(ctx, record)
		if err != nil || !pool.Settled(goal, known) {
			return err
		}
		record.Faults, record.Retry = 0, time.Time{} // the reason stays, to be read
	}
	return c.host.db.Write(ctx, func(tx *store.Tx) error {
		return tx.SetFaults(record.Name, record.Faults, record.Retry, record.Reason)
	})
}
