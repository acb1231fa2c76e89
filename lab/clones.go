package lab

import (
	"context"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

// clone is part 2: one full and one linked clone, what they take and rest on.
func (r *run) clone(ctx context.Context) error {
	for _, c := range []struct {
		name clade.Name
		kind clade.CloneKind
	}{{Full, clade.Full}, {Linked, clade.Linked}} {
		err := r.step(2, "make the "+string(c.kind)+" clone", func() error {
			began := r.since()
			made, err := r.s.Clone(ctx, clade.CloneSpec{Source: r.template.String(), Names: []clade.Name{c.name}, Kind: c.kind,
				AcceptTwins: r.accepted(), Options: clade.Options{Network: string(Network)}}, r.w.Progress)
			if err != nil {
				return err
			}
			for _, m := range made {
				r.add(m).Made = r.since() - began
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := r.measure(ctx, beforeBoot); err != nil {
		return err
	}
	l, err := r.s.Lineage(ctx)
	if err != nil {
		return err
	}
	r.report.Lineage = l
	return r.checkBases(l)
}

// accepted are the marks that clones may share with the parent: all, where the
// run shows what comes of not generalizing.
func (r *run) accepted() []string {
	if r.o.SkipGeneralize {
		return []string{clade.AllMarks}
	}
	return nil
}

// The two moments at which disk usage is taken.
const (
	beforeBoot = false
	afterBoot  = true
)

// measure takes the disk usage: before boot, of machines that have not booted.
func (r *run) measure(ctx context.Context, booted bool) error {
	u, err := r.s.Usage(ctx)
	if err != nil {
		return err
	}
	for _, mu := range u.Machines {
		m := r.machines[mu.Name]
		switch {
		case m == nil: // not of this run
		case booted:
			m.After = mu.Heads
		case m.Before == 0:
			m.Before = mu.Heads
		}
	}
	r.report.Usage = u
	return nil
}

// checkBases notes what each machine rests on, and checks that the full clone
// rests on nothing and the linked one on the template's layers.
func (r *run) checkBases(l *clade.Lineage) error {
	tree := lineage.New(l)
	sealed := map[string]bool{}
	for _, t := range l.Templates {
		for _, d := range t.Disks {
			sealed[d.Layer] = sealed[d.Layer] || t.Ref() == r.template
		}
	}
	onTemplate := false
	for _, m := range l.Machines {
		own := r.machines[m.Name]
		if own == nil {
			continue
		}
		own.RestsOn = []string{}
		for _, d := range m.Disks {
			chain, err := tree.Chain(d.Layer)
			if err != nil {
				return err
			}
			for _, layer := range chain {
				own.RestsOn = append(own.RestsOn, layer.ID)
			}
			onTemplate = onTemplate || m.Name == Linked && sealed[d.Layer]
		}
	}
	full, linked := r.machines[Full], r.machines[Linked]
	r.check(verdict(Check{Part: 2, Group: Rooted, Name: "the full clone rests on nothing"}, len(full.RestsOn) == 0,
		fmt.Sprintf("it rests on %v", full.RestsOn)))
	r.check(verdict(Check{Part: 2, Group: Rooted, Name: "the linked clone rests on the template's layer"}, onTemplate,
		fmt.Sprintf("it rests on %v", linked.RestsOn)))
	c := Check{Part: 2, Group: Rooted, Name: "the linked clone takes less than a hundredth of the full one",
		Values: map[string]string{string(Full): full.Before.String(), string(Linked): linked.Before.String()}}
	r.check(verdict(c, linked.Before*100 < full.Before, fmt.Sprintf("%v against %v", linked.Before, full.Before)))
	return nil
}

// verdict completes a check: why is kept only where it does not hold.
func verdict(c Check, ok bool, why string) Check {
	if c.OK = ok; !ok {
		c.Detail = why
	}
	return c
}
