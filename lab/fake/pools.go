package fake

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
)

// pooled is a pool in a fake home. Its machines are ready as soon as they run.
type pooled struct {
	Spec     clade.PoolSpec          `json:"spec"`
	Earlier  string                  `json:"earlier"`
	Machines []clade.Name            `json:"machines"`
	Claims   map[string]*clade.Claim `json:"claims"`
	Due      map[clade.Name]pool.Due `json:"due"`
}

func (h *Home) pool(op string, name clade.Name) (*pooled, error) {
	if p := h.s.Pools[name]; p != nil {
		return p, nil
	}
	return nil, fail(op, "pool "+string(name), clade.NotFound, "clade pool ls shows the pools there are", "no pool has this name")
}

// CreatePool implements clade.Pools.
func (h *Home) CreatePool(_ context.Context, spec clade.PoolSpec) (*clade.Pool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	spec, err := h.checkPool(spec)
	if err != nil {
		return nil, err
	}
	if h.s.Pools[spec.Name] != nil {
		return nil, fail("create", "pool "+string(spec.Name), clade.Exists, "choose another name", "the name is taken")
	}
	h.s.Pools[spec.Name] = &pooled{Spec: spec, Claims: map[string]*clade.Claim{}, Due: map[clade.Name]pool.Due{}}
	return h.poolStatus(h.s.Pools[spec.Name]), nil
}

func (h *Home) checkPool(spec clade.PoolSpec) (clade.PoolSpec, error) {
	spec, err := pool.Check(spec)
	if err != nil {
		return spec, err
	}
	t, err := h.template(spec.Template)
	if err != nil {
		return spec, fail("declare", "pool "+string(spec.Name), clade.NotFound, "clade template ls shows what there is", "no template has the name %s", spec.Template)
	}
	spec.Template = t.Ref()
	return spec, pool.Limits(spec, max(1, spec.CPUs), max(clade.GiB, spec.Memory), virtualSize+spec.DataDisk)
}

// ChangePool implements clade.Pools.
func (h *Home) ChangePool(_ context.Context, spec clade.PoolSpec) (*clade.Pool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.pool("change", spec.Name)
	if err != nil {
		return nil, err
	}
	if spec, err = h.checkPool(spec); err != nil {
		return nil, err
	}
	if spec.Template != p.Spec.Template {
		return nil, fail("change", "pool "+string(spec.Name), clade.Invalid, "clade pool update rolls one out", "template cannot be changed: its machines have it already")
	}
	p.Spec = spec
	return h.poolStatus(p), nil
}

// Pool implements clade.Pools.
func (h *Home) Pool(_ context.Context, name clade.Name) (*clade.Pool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.pool("find", name)
	if err != nil {
		return nil, err
	}
	return h.poolStatus(p), nil
}

// Pools implements clade.Pools.
func (h *Home) Pools(context.Context) ([]*clade.Pool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []*clade.Pool{}
	for _, name := range slices.Sorted(maps.Keys(h.s.Pools)) {
		all = append(all, h.poolStatus(h.s.Pools[name]))
	}
	return all, nil
}

func (p *pooled) holder(machine clade.Name) *clade.Claim {
	for _, c := range p.Claims {
		if c.Machine == machine {
			return c
		}
	}
	return nil
}

func (h *Home) poolStatus(p *pooled) *clade.Pool {
	s := &clade.Pool{PoolSpec: p.Spec, Earlier: p.Earlier, Claimed: len(p.Claims), Members: []clade.Member{}, Created: epoch}
	g := h.goal(p)
	s.Want = g.Total(s.Claimed)
	for _, name := range p.Machines {
		m := h.s.Machines[name]
		if m == nil {
			continue
		}
		t := clade.Member{Machine: name, Template: strings.TrimPrefix(m.Source, "template "), State: m.State, IP: m.Identity.IP, Phase: clade.Starting}
		c := p.holder(name)
		switch {
		case c != nil:
			t.Phase, t.Person, t.Expires = clade.Claimed, c.Person, c.Expires
		case p.Due[name] == pool.Resets:
			t.Phase = clade.Resetting
		case p.Due[name] == pool.Leaves:
			t.Phase = clade.Leaving
		case m.State == clade.Running:
			t.Phase = clade.Ready
			s.Ready++
		}
		if t.Template != g.Template {
			s.Outdated++
		}
		s.Members = append(s.Members, t)
	}
	schedule, _ := pool.ParseSchedule(p.Spec.Schedule)
	s.Change = schedule.Next(epoch, p.Spec.Size)
	return s
}

func (h *Home) goal(p *pooled) pool.Goal {
	schedule, _ := pool.ParseSchedule(p.Spec.Schedule)
	room, _ := pool.Room(p.Spec, max(1, p.Spec.CPUs), max(clade.GiB, p.Spec.Memory), virtualSize+p.Spec.DataDisk)
	return pool.Goal{Size: schedule.Size(epoch, p.Spec.Size), Spares: p.Spec.Spares, Room: room, Template: p.Spec.Template.String(),
		Unavailable: p.Spec.MaxUnavailable, Remade: true, Renewed: true}
}

// RemovePool implements clade.Pools.
func (h *Home) RemovePool(ctx context.Context, name clade.Name, claims bool, _ clade.Progress) (*clade.Removal, error) {
	h.mu.Lock()
	p, err := h.pool("remove", name)
	if err == nil && len(p.Claims) > 0 && !claims {
		err = fail("remove", "pool "+string(name), clade.InUse, "release them, or end the claims too: --force", "%d of its machines are claimed", len(p.Claims))
	}
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r := &clade.Removal{Removed: "pool " + string(name)}
	for _, m := range p.Machines {
		one, err := h.drop(ctx, m)
		if err != nil {
			return nil, err
		}
		r.Freed += one.Freed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.s.Pools, name)
	return r, nil
}

// drop ends and removes a machine.
func (h *Home) drop(ctx context.Context, name clade.Name) (*clade.Removal, error) {
	_ = h.Kill(ctx, name) // it may be off
	return h.Remove(ctx, name)
}

// UpdatePool implements clade.Pools.
func (h *Home) UpdatePool(_ context.Context, u clade.PoolUpdate) (*clade.Pool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.pool("update", u.Pool)
	if err != nil {
		return nil, err
	}
	if u.Undo {
		if p.Earlier == "" {
			return nil, fail("update", "pool "+string(u.Pool), clade.NotFound, "", "it has no update to undo")
		}
		u.To, _ = clade.ParseRef(p.Earlier)
	}
	spec := p.Spec
	spec.Template = u.To
	if spec, err = h.checkPool(spec); err != nil {
		return nil, err
	}
	if spec.Template != p.Spec.Template {
		p.Earlier = p.Spec.Template.String()
	}
	p.Spec = spec
	return h.poolStatus(p), nil
}

// Claim implements clade.Pools.
func (h *Home) Claim(_ context.Context, spec clade.ClaimSpec) (*clade.Claim, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := pool.CheckPerson(spec.Person); err != nil {
		return nil, err
	}
	p, err := h.pool("claim", spec.Pool)
	if err != nil {
		return nil, err
	}
	if c := p.Claims[spec.Person]; c != nil {
		again := *c
		again.Again = true
		return &again, nil
	}
	for _, m := range h.poolStatus(p).Members {
		if m.Phase != clade.Ready {
			continue
		}
		c := &clade.Claim{Pool: spec.Pool, Person: spec.Person, Machine: m.Machine, IP: m.IP, User: h.s.Machines[m.Machine].User, Ready: true, Created: epoch}
		if ttl := cmp.Or(spec.TTL, p.Spec.TTL); ttl > 0 {
			c.Expires = epoch.Add(3 * 3600 * 1e9)
		}
		p.Claims[spec.Person] = c
		return c, nil
	}
	return nil, fail("claim", "pool "+string(spec.Pool), clade.Busy, "wait for one: --wait 2m", "no machine is ready: it has %d, %d of them are claimed", len(p.Machines), len(p.Claims))
}

// Release implements clade.Pools.
func (h *Home) Release(_ context.Context, name clade.Name, person string) (*clade.Claim, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.pool("release", name)
	if err != nil {
		return nil, err
	}
	c := p.Claims[person]
	if c == nil {
		return nil, fail("release", "the claim of "+person+" on pool "+string(name), clade.NotFound, "clade pool show "+string(name)+" shows who holds what", "there is none")
	}
	delete(p.Claims, person)
	if p.Spec.Policy != clade.Keep {
		p.Due[c.Machine] = pool.Resets
	}
	return c, nil
}

// Claims implements clade.Pools.
func (h *Home) Claims(_ context.Context, name clade.Name) ([]*clade.Claim, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name != "" {
		if _, err := h.pool("find", name); err != nil {
			return nil, err
		}
	}
	all := []*clade.Claim{}
	for pool, p := range h.s.Pools {
		for _, c := range p.Claims {
			if name == "" || pool == name {
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, func(a, b *clade.Claim) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Person, b.Person))
	})
	return all, nil
}

// Reconcile implements clade.Pools, by the plan that real homes have.
func (h *Home) Reconcile(ctx context.Context, name clade.Name, p clade.Progress) (*clade.Reconciliation, error) {
	h.mu.Lock()
	record, err := h.pool("reconcile", name)
	if err != nil {
		h.mu.Unlock()
		return nil, err
	}
	r := &clade.Reconciliation{Pool: name, Done: []string{}}
	plan := pool.Plan(h.goal(record), h.known(record))
	h.mu.Unlock()
	for _, a := range plan {
		if a.Verb == pool.Prove {
			continue
		}
		if err := h.perform(ctx, record, a, p); err != nil {
			return nil, err
		}
		r.Done = append(r.Done, a.String())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Settled = pool.Settled(h.goal(record), h.known(record)); !r.Settled {
		r.Waits = "the next round"
	}
	return r, nil
}

func (h *Home) known(p *pooled) (list []pool.Member) {
	for _, t := range h.poolStatus(p).Members {
		running := t.State == clade.Running
		list = append(list, pool.Member{Name: t.Machine, Template: t.Template, Running: running, Proven: running, Claimed: t.Person != "", Due: p.Due[t.Machine]})
	}
	return list
}

func (h *Home) perform(ctx context.Context, p *pooled, a pool.Action, progress clade.Progress) error {
	switch a.Verb {
	case pool.Start:
		return h.Start(ctx, a.Member, clade.StartOptions{}, progress)
	case pool.Remove:
		p.Machines = slices.DeleteFunc(p.Machines, func(n clade.Name) bool { return n == a.Member })
		delete(p.Due, a.Member)
		_, err := h.drop(ctx, a.Member)
		return err
	case pool.Make:
		names, err := pool.Pattern(p.Spec.Names).Free(a.Count, func(n clade.Name) bool { return h.s.Machines[n] != nil })
		if err != nil {
			return err
		}
		if _, err := h.Clone(ctx, clade.CloneSpec{Source: p.Spec.Template.String(), Names: names, Kind: p.Spec.Kind,
			Options: clade.Options{Network: p.Spec.Network, Isolated: p.Spec.Isolated}}, progress); err != nil {
			return err
		}
		p.Machines = append(p.Machines, names...)
		slices.Sort(p.Machines)
		for _, n := range names {
			if err := h.Start(ctx, n, clade.StartOptions{}, progress); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("a fake home does not %s", a.Verb)
}

// Control implements clade.Pools: one round of each, and then it waits for the end.
func (h *Home) Control(ctx context.Context, p clade.Progress) error {
	h.mu.Lock()
	names := slices.Sorted(maps.Keys(h.s.Pools))
	h.mu.Unlock()
	for _, name := range names {
		r, err := h.Reconcile(ctx, name, p)
		if err != nil {
			return err
		}
		for _, did := range r.Done {
			p.Tell(clade.Event{Step: fmt.Sprintf("pool %s: %s", name, did), End: true})
		}
	}
	<-ctx.Done()
	return nil
}
