package host

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/hold"
	"github.com/clade-vm/clade/pool"
	"github.com/clade-vm/clade/store"
)

// A member is one machine of a pool, as recorded.
type member struct {
	*store.Member
	record *store.Machine
	claim  *store.Claim      // nil: nobody holds it
	status hypervisor.Status // what it did when the controller looked
}

// members returns those of one pool, or of all where pool is empty, by name.
func (h *Host) members(ctx context.Context, name clade.Name) (list []*member, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		list, err = readMembers(tx, name)
		return err
	})
	return list, err
}

func readMembers(tx *store.Tx, name clade.Name) ([]*member, error) {
	members, err := tx.Members(name)
	if err != nil || len(members) == 0 {
		return nil, err
	}
	claims, err := tx.Claims(name)
	if err != nil {
		return nil, err
	}
	machines, err := tx.Machines()
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*member)
	for _, m := range members {
		byID[m.Machine] = &member{Member: m}
	}
	for _, c := range claims {
		byID[c.Machine].claim = c
	}
	var list []*member
	for _, r := range machines { // by name
		if m := byID[r.ID]; m != nil {
			m.record = r
			list = append(list, m)
		}
	}
	return list, nil
}

// runOf names one run of a machine: another process, or the same one at another
// time, is another run.
func runOf(s hypervisor.Status) string { return fmt.Sprintf("%d@%d", s.PID, s.Since.UnixNano()) }

// known is what the plan is made of: the record of a member and what it does now.
func (m *member) known(s hypervisor.Status, now time.Time) pool.Member {
	// An instant clone that runs asleep is one whose waking was cut short: it is nobody
	// yet, or a twin, and has to be started again.
	k := pool.Member{Name: m.record.Name, Template: strings.TrimPrefix(m.record.Source, "template "), Running: s.State != clade.Stopped && !m.record.Asleep,
		Asleep: m.record.Asleep, Claimed: m.claim != nil, Due: pool.Due(m.Due)}
	k.Proven = k.Running && m.Proven == runOf(s)
	switch {
	case !k.Running:
	case !k.Proven:
		k.Silent = max(0, now.Sub(s.Since))
	case !m.Silent.IsZero():
		k.Silent = max(0, now.Sub(m.Silent))
	}
	return k
}

// goal is what is wanted of the pool now.
func (h *Host) goal(ctx context.Context, p *store.Pool, now time.Time) (pool.Goal, error) {
	schedule, err := pool.ParseSchedule(p.Schedule)
	if err != nil {
		return pool.Goal{}, err
	}
	g := pool.Goal{Size: schedule.Size(now, p.Size), Spares: p.Spares, Template: p.Template.String(), Room: pool.MaxSize,
		Patience: time.Duration(p.Patience), Grace: grace, Unavailable: p.MaxUnavailable,
		Forced: !p.Deadline.IsZero() && !now.Before(p.Deadline), Remade: p.Policy == clade.Recreate,
		Renewed: p.Policy == clade.Recreate || p.Kind == clade.Full || p.Kind == clade.Instant && p.Policy != clade.Keep,
		Woken:   p.Kind == clade.Instant && p.Policy != clade.Keep, Held: pool.Waits(p.Retry, now)}
	if t, err := h.Template(ctx, p.Template); err == nil {
		cpus, memory, disk := sizeOf(p.PoolSpec, t)
		g.Room, _ = pool.Room(p.PoolSpec, cpus, memory, disk)
	}
	return g, nil
}

// Pool returns one pool, with what its machines do now. Kind NotFound.
func (h *Host) Pool(ctx context.Context, name clade.Name) (*clade.Pool, error) {
	p, err := h.poolRecord(ctx, name)
	if err != nil {
		return nil, err
	}
	return h.poolStatus(ctx, p)
}

// Pools returns all pools by name.
func (h *Host) Pools(ctx context.Context) ([]*clade.Pool, error) {
	var records []*store.Pool
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		records, err = tx.Pools()
		return err
	})
	if err != nil {
		return nil, err
	}
	list := []*clade.Pool{}
	for _, r := range records {
		p, err := h.poolStatus(ctx, r)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func (h *Host) poolStatus(ctx context.Context, r *store.Pool) (*clade.Pool, error) {
	now := time.Now()
	g, err := h.goal(ctx, r, now)
	if err != nil {
		return nil, err
	}
	members, err := h.members(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	p := &clade.Pool{PoolSpec: r.PoolSpec, Earlier: r.Earlier, Deadline: r.Deadline, Faults: r.Faults, Reason: r.Reason,
		Members: []clade.Member{}, Created: r.Created}
	if g.Held {
		p.Retry = r.Retry
	}
	for _, m := range members {
		status, err := h.Driver.Status(ctx, h.place(m.record.ID))
		if err != nil {
			return nil, fileError("find", "machine "+string(m.record.Name), err)
		}
		p.Members = append(p.Members, m.told(g, status, now))
	}
	slices.SortFunc(p.Members, func(a, b clade.Member) int { return cmp.Compare(a.Machine, b.Machine) })
	count(p, g)
	schedule, _ := pool.ParseSchedule(r.Schedule)
	p.Change = schedule.Next(now, r.Size)
	p.Controlled, err = hold.Held(h.path(controlLock))
	return p, err
}

// told is what people are told of a member.
func (m *member) told(g pool.Goal, s hypervisor.Status, now time.Time) clade.Member {
	k := m.known(s, now)
	t := clade.Member{Machine: k.Name, Template: k.Template, State: s.State, IP: m.record.Identity.IP, Reason: m.Reason}
	switch {
	case k.Due == pool.Leaves:
		t.Phase = clade.Leaving
	case k.Due == pool.Updates || k.Due == pool.Resets && k.Template != g.Template:
		t.Phase = clade.Updating
	case k.Due == pool.Resets:
		t.Phase = clade.Resetting
	case m.claim != nil:
		t.Phase = clade.Claimed
	case k.Proven && k.Silent == 0:
		t.Phase = clade.Ready
	default:
		t.Phase = clade.Starting
	}
	if m.claim != nil {
		t.Person, t.Expires = m.claim.Person, m.claim.Expires
	}
	return t
}

// count adds up what the members are.
func count(p *clade.Pool, g pool.Goal) {
	for _, m := range p.Members {
		if m.Person != "" {
			p.Claimed++
		}
		if m.Phase == clade.Ready {
			p.Ready++
		}
		if m.Template != g.Template {
			p.Outdated++
		}
	}
	p.Want = g.Total(p.Claimed)
	if wanted := max(g.Size, p.Claimed+g.Spares); p.Want < wanted && p.Reason == "" {
		p.Reason = fmt.Sprintf("%d machines are wanted, its ceilings allow %d", wanted, g.Room)
	}
}
