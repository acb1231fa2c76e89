package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
	"github.com/clade-vm/clade/store"
)

// CreatePool records a pool, once it is sure that its machines can be made. It makes
// none: that is for Reconcile. Kinds: Invalid, NotFound, Exists, Unsupported, Unproven.
func (h *Host) CreatePool(ctx context.Context, spec clade.PoolSpec) (*clade.Pool, error) {
	spec, err := h.checkPool(ctx, spec)
	if err != nil {
		return nil, err
	}
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Template(spec.Template); err != nil { // removed meanwhile
			return retitle("declare pool of", err)
		}
		return tx.AddPool(&store.Pool{PoolSpec: spec, Created: time.Now().UTC()})
	})
	if err != nil {
		return nil, err
	}
	h.did("pool recorded")
	return shown(h.Pool(ctx, spec.Name))
}

// ChangePool makes spec what is wanted of the pool of its name. Its template is
// UpdatePool's to change; the kind and the network are those of the machines there are.
// A pool that becomes no larger needs no machine that could be made.
func (h *Host) ChangePool(ctx context.Context, spec clade.PoolSpec) (*clade.Pool, error) {
	old, err := h.poolRecord(ctx, spec.Name)
	if err != nil {
		return nil, retitle("change", err)
	}
	if noLarger(old.PoolSpec, spec) {
		spec, err = pool.Check(spec)
	} else {
		spec, err = h.checkPool(ctx, spec)
	}
	if err != nil {
		return nil, err
	}
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		p, err := tx.Pool(spec.Name)
		if err != nil {
			return retitle("change", err)
		}
		if err := pool.CheckChange(p.PoolSpec, spec); err != nil {
			return err
		}
		if spec.Template != p.Template {
			return &clade.Error{Op: "change", On: "pool " + string(spec.Name), Kind: clade.Invalid, Err: errors.New("another template is rolled out"),
				Hint: fmt.Sprintf("clade pool update %s --to %s", spec.Name, spec.Template)}
		}
		p.PoolSpec, p.Faults, p.Retry, p.Reason = spec, 0, time.Time{}, ""
		return tx.SetPool(p)
	})
	if err != nil {
		return nil, err
	}
	h.did("pool changed")
	return shown(h.Pool(ctx, spec.Name))
}

// noLarger tells whether a pool can be no larger by spec than it is.
func noLarger(old, spec clade.PoolSpec) bool {
	ceilings := func(s clade.PoolSpec) [3]int64 {
		return [3]int64{int64(s.MaxCPUs), int64(s.MaxMemory), int64(s.MaxDisk)}
	}
	return spec.Size <= old.Size && spec.Spares <= old.Spares && spec.Schedule == old.Schedule && spec.Template == old.Template && ceilings(spec) == ceilings(old)
}

// checkPool fills in spec and refuses what would fail later: a template that is not
// there or not proven, a kind that cannot be made, ceilings that are too low.
func (h *Host) checkPool(ctx context.Context, spec clade.PoolSpec) (clade.PoolSpec, error) {
	spec, err := pool.Check(spec)
	if err != nil {
		return spec, err
	}
	t, err := h.Template(ctx, spec.Template)
	if err != nil {
		return spec, retitle("declare pool of", err)
	}
	spec.Template = t.Ref()
	if spec.Kind == clade.Instant && t.Warm == nil {
		return spec, coldPool(spec)
	}
	cpus, memory, disk := sizeOf(spec, t)
	if err := pool.Limits(spec, cpus, memory, disk); err != nil {
		return spec, err
	}
	names, err := h.freeNames(ctx, spec, 1)
	if err != nil {
		return spec, err
	}
	_, err = h.PlanClone(ctx, poolClones(spec, names))
	return spec, err
}

// coldPool is the refusal of a pool of instant clones whose template is not warm, with
// the command that warms it as the pool wants its machines.
func coldPool(spec clade.PoolSpec) error {
	warm := "clade template warm " + spec.Template.String()
	if spec.CPUs > 0 {
		warm += fmt.Sprintf(" --cpus %d", spec.CPUs)
	}
	if spec.Memory > 0 {
		warm += " --memory " + spec.Memory.Flag()
	}
	return &clade.Error{Op: "declare", On: "pool " + string(spec.Name), Kind: clade.Unsupported,
		Err: fmt.Errorf("instant clones need a warm template, and %s is not warm", spec.Template), Hint: "warm it: " + warm}
}

// sizeOf is what one machine of the pool takes: processors, memory, and disks as
// large as its guest can fill them. Instant clones have what their warm template has.
func sizeOf(spec clade.PoolSpec, t *clade.Template) (cpus int, memory, disk clade.Bytes) {
	base, disks := t.Hardware, t.Disks
	if spec.Kind == clade.Instant && t.Warm != nil {
		base, disks = t.Warm.Hardware, t.Warm.Disks
	}
	hw := hardware(clade.Hardware{CPUs: spec.CPUs, Memory: spec.Memory}, base)
	for _, d := range disks {
		disk += d.Virtual
	}
	return hw.CPUs, hw.Memory, disk + spec.DataDisk
}

// poolClones asks for machines of the pool.
func poolClones(spec clade.PoolSpec, names []clade.Name) clade.CloneSpec {
	o := clade.Options{Hardware: clade.Hardware{CPUs: spec.CPUs, Memory: spec.Memory}, Network: spec.Network, Isolated: spec.Isolated,
		UserData: []byte(spec.UserData), SSHKeys: spec.SSHKeys}
	if spec.DataDisk > 0 {
		o.DataDisks = []clade.DataDisk{{Size: spec.DataDisk}}
	}
	return clade.CloneSpec{Source: spec.Template.String(), Names: names, Kind: spec.Kind, Options: o}
}

// freeNames returns names for count more machines of the pool.
func (h *Host) freeNames(ctx context.Context, spec clade.PoolSpec, count int) (names []clade.Name, err error) {
	taken := make(map[clade.Name]bool)
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		machines, err := tx.Machines()
		for _, m := range machines {
			taken[m.Name] = true
			if m.Network == first(spec.Network, defaultNetwork) {
				taken[m.Identity.Hostname] = true
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return pool.Pattern(spec.Names).Free(count, func(n clade.Name) bool { return taken[n] })
}

// UpdatePool makes another template the pool's. Reconcile moves the machines: free
// ones first, claimed ones when they are released, or once the deadline has passed.
func (h *Host) UpdatePool(ctx context.Context, u clade.PoolUpdate) (*clade.Pool, error) {
	p, err := h.poolRecord(ctx, u.Pool)
	if err != nil {
		return nil, retitle("update", err)
	}
	on := "pool " + string(u.Pool)
	if u.Undo {
		if p.Earlier == "" {
			return nil, &clade.Error{Op: "update", On: on, Kind: clade.NotFound, Err: errors.New("it has no update to undo")}
		}
		if u.To, err = clade.ParseRef(p.Earlier); err != nil {
			return nil, err
		}
	}
	spec := p.PoolSpec
	spec.Template, spec.MaxUnavailable = u.To, first(u.MaxUnavailable, spec.MaxUnavailable)
	if spec, err = h.checkPool(ctx, spec); err != nil {
		return nil, err
	}
	if p.Kind == clade.Full && u.Deadline > 0 {
		return nil, &clade.Error{Op: "update", On: on, Kind: clade.Unsupported, Err: errors.New("full clones cannot be moved while somebody holds them"),
			Hint: "leave --deadline out: they are replaced when they are released"}
	}
	if spec.Template == p.Template && u.Undo {
		return nil, &clade.Error{Op: "update", On: on, Kind: clade.Exists, Err: fmt.Errorf("it is at %s", p.Template)}
	}
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		p, err := tx.Pool(u.Pool)
		if err == nil {
			_, err = tx.Template(spec.Template) // it may have been removed meanwhile
		}
		if err != nil {
			return retitle("update", err)
		}
		if spec.Template != p.Template {
			p.Earlier = p.Template.String()
		}
		p.Template, p.MaxUnavailable, p.Deadline = spec.Template, spec.MaxUnavailable, time.Time{}
		if u.Deadline > 0 {
			p.Deadline = time.Now().Add(time.Duration(u.Deadline)).UTC()
		}
		p.Faults, p.Retry, p.Reason = 0, time.Time{}, ""
		return tx.SetPool(p)
	})
	if err != nil {
		return nil, err
	}
	h.did("pool's template changed")
	return shown(h.Pool(ctx, u.Pool))
}

// wanted refuses to remove a template of which a pool makes its machines. One that
// it was updated from may go: the update can then not be undone. Kind InUse.
func wanted(pools []*store.Pool, ref clade.Ref) error {
	for _, p := range pools {
		if p.Template == ref {
			return &clade.Error{Op: "remove", On: "template " + ref.String(), Kind: clade.InUse, Err: fmt.Errorf("pool %s makes its machines of it", p.Name),
				Hint: fmt.Sprintf("move the pool to another one: clade pool update %s --to %s:VERSION; or remove it: clade pool rm %s", p.Name, ref.Name, p.Name)}
		}
	}
	return nil
}

// RemovePool removes a pool and its machines: first all of them are due to leave, so
// that nobody gets one any more, then they go, and the record goes last. A pool whose
// removal was cut short is removed by the same command again.
func (h *Host) RemovePool(ctx context.Context, name clade.Name, claims bool, p clade.Progress) (*clade.Removal, error) {
	on := "pool " + string(name)
	err := h.db.Write(ctx, func(tx *store.Tx) error {
		record, err := tx.Pool(name)
		if err != nil {
			return retitle("remove", err)
		}
		if err := endClaims(tx, name, claims); err != nil {
			return err
		}
		record.Size, record.Spares, record.Schedule = 0, 0, "" // whatever controls it makes no more
		if err := tx.SetPool(record); err != nil {
			return err
		}
		members, err := tx.Members(name)
		for _, m := range members {
			err = errors.Join(err, tx.SetDue(m.Machine, string(pool.Leaves), "its pool is removed"))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	h.did("pool's machines are to leave")
	r := &clade.Removal{Removed: on}
	// A controller may be making the last one meanwhile.
	for {
		members, err := h.members(ctx, name)
		if err != nil {
			return nil, err
		}
		for i, m := range members {
			p.Tell(clade.Event{Step: "remove " + on, Note: string(m.record.Name), Done: int64(i), Total: int64(len(members)), Unit: "machines"})
			one, err := h.removeMember(ctx, m)
			if err != nil {
				return nil, fileError("remove", on, err)
			}
			r.Freed += one.Freed
		}
		err = h.db.Write(ctx, func(tx *store.Tx) error { return tx.RemovePool(name) })
		if err == nil {
			break
		}
		if !errors.Is(err, clade.InUse) {
			return nil, fileError("remove", on, err)
		}
	}
	h.did("pool's record removed")
	p.Tell(clade.Event{Step: "remove " + on, End: true})
	return r, nil
}

// endClaims deletes a pool's claims, or refuses to where there are some.
func endClaims(tx *store.Tx, name clade.Name, may bool) error {
	list, err := tx.Claims(name)
	if err != nil {
		return err
	}
	if len(list) > 0 && !may {
		return &clade.Error{Op: "remove", On: "pool " + string(name), Kind: clade.InUse, Err: fmt.Errorf("%d of its machines are claimed", len(list)),
			Hint: fmt.Sprintf("release them (clade pool show %s), or end the claims too: --force", name)}
	}
	for _, c := range list {
		if _, err := tx.RemoveClaim(name, c.Person); err != nil {
			return err
		}
	}
	return nil
}

// removeMember ends and removes a machine that nobody holds.
func (h *Host) removeMember(ctx context.Context, m *member) (*clade.Removal, error) {
	if err := h.Driver.Kill(ctx, h.place(m.record.ID)); err != nil {
		return nil, err
	}
	h.did("member ended")
	r, err := h.Remove(ctx, m.record.Name)
	if errors.Is(err, clade.NotFound) {
		return &clade.Removal{}, nil
	}
	return r, err
}

func (h *Host) poolRecord(ctx context.Context, name clade.Name) (p *store.Pool, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		p, err = tx.Pool(name)
		return err
	})
	return p, err
}

// clock is now, as claims are measured by.
func clock() pool.Clock {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return pool.Clock{Wall: time.Now(), Boot: strings.TrimSpace(string(boot)), Ticks: sinceBoot()}
}
