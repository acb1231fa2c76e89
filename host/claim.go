package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// glance is how long a claim looks whether a machine runs: its process is a fact that
// costs nothing, and what QEMU says besides is not waited for.
const glance = 20 * time.Millisecond

// sinceBoot is how long the computer runs, times of sleep included: it only goes on.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// Claim hands out a machine at once: the one that the person holds already, whose
// time begins again, or one that is ready. It writes one record; whoever controls the
// pool sees to the spares. Kinds: Invalid, NotFound; Busy where none is ready. Where it
// cannot be read whether one is, the kind of that failure.
func (h *Host) Claim(ctx context.Context, spec clade.ClaimSpec) (*clade.Claim, error) {
	if err := pool.CheckPerson(spec.Person); err != nil {
		return nil, err
	}
	// Between looking and recording another claim may take the machine: look again.
	for {
		members, err := h.members(ctx, spec.Pool)
		if err != nil {
			return nil, retitle("claim", err)
		}
		record, err := h.poolRecord(ctx, spec.Pool)
		if err != nil {
			return nil, retitle("claim", err)
		}
		m, ready, err := h.choose(ctx, record, members, spec.Person)
		if m == nil {
			return nil, noneReady(record, members, err)
		}
		c, err := h.claim(ctx, record, m, spec)
		if errors.Is(err, clade.Exists) || errors.Is(err, clade.InUse) {
			continue
		}
		if err != nil {
			return nil, err
		}
		h.did("claimed")
		c.Ready = ready
		return c, nil
	}
}

// choose returns the machine that the person holds, or one that is ready, those of the
// pool's template first; and whether it is. The error is why that is not known of one.
func (h *Host) choose(ctx context.Context, p *store.Pool, members []*member, person string) (m *member, ready bool, err error) {
	for _, m := range members {
		if m.claim != nil && m.claim.Person == person {
			runs, err := h.inProvenRun(ctx, m)
			return m, m.Due == "" && runs, err
		}
	}
	var old *member
	for _, m := range members {
		if m.claim != nil || m.Due != "" || m.Proven == "" || !m.Silent.IsZero() {
			continue
		}
		runs, unknown := h.inProvenRun(ctx, m)
		err = errors.Join(err, unknown)
		switch {
		case !runs:
		case m.record.Source == "template "+p.Template.String():
			return m, true, nil
		case old == nil:
			old = m
		}
	}
	return old, true, err
}

// inProvenRun tells whether the machine runs, in the run in which its agent answered.
func (h *Host) inProvenRun(ctx context.Context, m *member) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	status, err := h.Driver.Status(ctx, h.place(m.record.ID))
	return err == nil && status.State == clade.Running && runOf(status) == m.Proven, err
}

// claim records that the person holds m, or holds it longer. Kind Exists where another
// claim was first, InUse where something became due of m meanwhile.
func (h *Host) claim(ctx context.Context, p *store.Pool, m *member, spec clade.ClaimSpec) (*clade.Claim, error) {
	now := clock()
	a := pool.At(now, time.Duration(first(spec.TTL, p.TTL)))
	c := &store.Claim{Pool: p.Name, Person: spec.Person, Machine: m.record.ID, Created: now.Wall.UTC(),
		Expires: a.Expires.UTC(), Remains: a.Remains, Boot: a.Boot, Ticks: a.Ticks}
	if a.Expires.IsZero() {
		c.Expires = time.Time{}
	}
	again := m.claim != nil
	err := h.db.Write(ctx, func(tx *store.Tx) error {
		if again {
			return holdsStill(tx, c, m)
		}
		free, err := tx.Due(m.record.ID, "", "", true)
		if err == nil && !free {
			return &clade.Error{Op: "claim", On: "machine " + string(m.record.Name), Kind: clade.InUse}
		}
		if err != nil {
			return err
		}
		return tx.AddClaim(c)
	})
	if err != nil {
		return nil, err
	}
	return told(c, m.record, again), nil
}

// holdsStill renews c, unless the person has let go of the machine meanwhile.
func holdsStill(tx *store.Tx, c *store.Claim, m *member) error {
	list, err := tx.Claims(c.Pool)
	if err != nil {
		return err
	}
	for _, other := range list {
		if other.Person == c.Person && other.Machine == m.record.ID {
			c.Created = other.Created
			return tx.SetClaim(c)
		}
	}
	return &clade.Error{Op: "claim", On: "machine " + string(m.record.Name), Kind: clade.InUse}
}

func told(c *store.Claim, m *store.Machine, again bool) *clade.Claim {
	return &clade.Claim{Pool: c.Pool, Person: c.Person, Machine: m.Name, IP: m.Identity.IP, User: m.User, Again: again,
		Created: c.Created, Expires: c.Expires}
}

// noneReady says that no machine can be handed out, or why that is not known.
func noneReady(p *store.Pool, members []*member, unknown error) error {
	if unknown != nil {
		return fileError("claim", "pool "+string(p.Name), unknown)
	}
	claimed := 0
	for _, m := range members {
		if m.claim != nil {
			claimed++
		}
	}
	hint := fmt.Sprintf("wait for one: --wait 2m; clade pool show %s tells what they do", p.Name)
	if claimed == len(members) {
		hint = fmt.Sprintf("clade pool reconcile %s makes what is wanted; clade serve does so all the time", p.Name)
	}
	return &clade.Error{Op: "claim", On: "pool " + string(p.Name), Kind: clade.Busy,
		Err: fmt.Errorf("no machine is ready: it has %d, %d of them are claimed", len(members), claimed), Hint: hint}
}

// Release ends the person's claim. Together with it is recorded what the policy says
// must be done to the machine before anybody gets it. Kind NotFound.
func (h *Host) Release(ctx context.Context, name clade.Name, person string) (*clade.Claim, error) {
	return h.release(ctx, name, person, "it was released", func(*store.Claim) bool { return true })
}

// release ends a claim of which that still holds.
func (h *Host) release(ctx context.Context, name clade.Name, person, why string, that func(*store.Claim) bool) (out *clade.Claim, err error) {
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		p, err := tx.Pool(name)
		if err != nil {
			return retitle("release", err)
		}
		list, err := tx.Claims(name)
		if err != nil {
			return err
		}
		for _, c := range list {
			if c.Person != person || !that(c) {
				continue
			}
			m, err := memberOf(tx, c.Machine)
			if err != nil {
				return err
			}
			out = told(c, m, false)
			if _, err := tx.RemoveClaim(name, person); err != nil {
				return err
			}
			if p.Policy == clade.Keep {
				return nil // what an update had begun goes on
			}
			return tx.SetDue(c.Machine, string(dueAtRelease(p, m)), why)
		}
		return &clade.Error{Op: "release", On: "the claim of " + person + " on pool " + string(name), Kind: clade.NotFound,
			Err: errors.New("there is none"), Hint: "clade pool show " + string(name) + " shows who holds what"}
	})
	if err == nil {
		h.did("released")
	}
	return out, err
}

// dueAtRelease is what the policy wants. A machine that has become of another kind,
// as by clade promote, is not reset to what the pool's are.
func dueAtRelease(p *store.Pool, m *store.Machine) pool.Due {
	if p.Policy == clade.Recreate || m.Clone != p.Kind {
		return pool.Leaves
	}
	return pool.Resets
}

func memberOf(tx *store.Tx, id string) (*store.Machine, error) {
	machines, err := tx.Machines()
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if m.ID == id {
			return m, nil
		}
	}
	return nil, &clade.Error{Op: "find", On: "machine " + id, Kind: clade.NotFound}
}

// Claims returns the claims on one pool, or on all where pool is empty.
func (h *Host) Claims(ctx context.Context, name clade.Name) ([]*clade.Claim, error) {
	if name != "" {
		if _, err := h.poolRecord(ctx, name); err != nil {
			return nil, err
		}
	}
	members, err := h.members(ctx, name)
	if err != nil {
		return nil, err
	}
	list := []*clade.Claim{}
	for _, m := range members {
		if m.claim != nil {
			c := told(m.claim, m.record, true)
			runs, _ := h.inProvenRun(ctx, m) // where that is not known, it is not ready
			c.Ready = m.Due == "" && runs
			list = append(list, c)
		}
	}
	return list, nil
}
