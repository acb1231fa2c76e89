package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
)

// verify is part 3: boot all, and prove that they are distinct, reachable and
// apart, and that what they rest on is bit for bit what it was.
func (r *run) verify(ctx context.Context) error {
	clones := r.names()[1:]
	if err := each(ctx, clones, func(ctx context.Context, name clade.Name) error { return r.boot(ctx, 3, name) }); err != nil {
		return err
	}
	if err := each(ctx, r.names(), r.sync); err != nil {
		return err
	}
	if err := r.measure(ctx, afterBoot); err != nil {
		return err
	}
	if err := each(ctx, r.names(), func(ctx context.Context, name clade.Name) error { return r.read(ctx, 3, name) }); err != nil {
		return err
	}
	r.checkIdentities()
	if err := r.step(3, "reach every machine from everywhere", func() error { return r.checkReach(ctx) }); err != nil {
		return err
	}
	if err := r.step(3, "write files and look for them elsewhere", func() error { return r.checkApart(ctx) }); err != nil {
		return err
	}
	if err := each(ctx, r.names(), r.stop); err != nil {
		return err
	}
	if err := r.step(3, "audit the marks on all disks", func() error { return r.checkMarks(ctx) }); err != nil {
		return err
	}
	return r.step(3, "verify the sealed layers", func() error { return r.checkLayers(ctx) })
}

// checkMarks reads every mark on the disks of the stopped machines, and checks
// that they share none that must differ.
func (r *run) checkMarks(ctx context.Context) error {
	result, err := r.s.Audit(ctx, clade.AuditSpec{Machines: r.names()}, r.w.Progress)
	if err != nil {
		return err
	}
	c := Check{Part: 3, Group: Distinct, Name: "the machines' disks share no mark that must differ", Values: map[string]string{}}
	var wrong []string
	for _, read := range result.Read {
		c.Values[read.Name] = fmt.Sprintf("%d places with marks", read.Found)
		if read.Error != "" {
			wrong = append(wrong, read.Name+" could not be read: "+read.Error)
		}
	}
	for _, s := range result.Shared {
		if s.Severe {
			wrong = append(wrong, s.Mark+" of "+strings.Join(s.Machines, " and "))
		}
	}
	r.check(verdict(c, len(wrong) == 0, strings.Join(wrong, "; ")))
	return nil
}

func (r *run) stop(ctx context.Context, name clade.Name) error {
	ctx, cancel := context.WithTimeout(ctx, r.o.Boot)
	defer cancel()
	return r.step(3, "stop "+string(name), func() error { return r.s.Stop(ctx, name, r.w.Progress) })
}

// checkLayers compares every layer with what was sealed before the clones were
// booted: its recorded digest, and the digest of its file now.
func (r *run) checkLayers(ctx context.Context) error {
	verdicts, err := r.s.Verify(ctx, clade.VerifySpec{}, r.w.Progress)
	if err != nil && clade.KindOf(err) != clade.Corrupt {
		return err
	}
	intact := map[string]clade.Verdict{}
	for _, v := range verdicts {
		intact[v.Layer] = v
	}
	now, err := r.s.Lineage(ctx)
	if err != nil {
		return err
	}
	digests := map[string]string{}
	for _, layer := range now.Layers {
		digests[layer.ID] = layer.Digest
	}
	for _, layer := range r.report.Lineage.Layers {
		v, checked := intact[layer.ID]
		c := Check{Part: 3, Group: Rooted, Name: "layer " + layer.ID + " (" + layer.Origin + ") is bit for bit what it was",
			Values: map[string]string{"sealed": layer.Digest}}
		switch {
		case !checked:
			c.Detail = "it is gone"
		case !v.Intact:
			c.Detail = v.Detail
		case digests[layer.ID] != layer.Digest:
			c.Detail = "its record says " + digests[layer.ID] + " now"
		}
		c.OK = c.Detail == ""
		r.check(c)
	}
	return nil
}

// checkApart writes files on each machine, in /tmp and on a path that is surely
// on the disk, and looks for them on the others.
func (r *run) checkApart(ctx context.Context) error {
	paths := func(name clade.Name) []string {
		return []string{"/tmp/" + string(name) + "-test", "/var/lib/" + string(name) + "-test"}
	}
	err := each(ctx, r.names(), func(ctx context.Context, name clade.Name) error {
		_, err := r.guest(ctx, name, []byte("written on "+string(name)+"\n"), append([]string{"tee"}, paths(name)...)...)
		if err != nil {
			return err
		}
		return r.sync(ctx, name)
	})
	if err != nil {
		return err
	}
	seen := map[clade.Name]map[string]bool{} // by machine: which files it has
	for _, name := range r.names() {
		seen[name] = map[string]bool{}
	}
	err = each(ctx, r.names(), func(ctx context.Context, name clade.Name) error {
		for _, writer := range r.names() {
			for _, path := range paths(writer) {
				exit, err := r.s.Exec(ctx, name, clade.Command{Args: []string{"test", "-e", path}})
				if err != nil {
					return err
				}
				seen[name][path] = exit.Status == 0 // each goroutine has its own map
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, writer := range r.names() {
		r.check(apart(writer, paths(writer), seen))
	}
	return nil
}

// apart judges who has the writer's files.
func apart(writer clade.Name, paths []string, seen map[clade.Name]map[string]bool) Check {
	c := Check{Part: 3, Group: Apart, Name: "what " + string(writer) + " writes is on " + string(writer) + " only", Values: map[string]string{}}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		var has []string
		for _, path := range paths {
			there := seen[name][path]
			if there {
				has = append(has, path)
			}
			if there != (name == writer) {
				wrong = append(wrong, fmt.Sprintf("%s on %s: %s", path, name, map[bool]string{true: "there", false: "lost"}[there]))
			}
		}
		c.Values[string(name)] = strings.Join(has, " ")
	}
	return verdict(c, len(wrong) == 0, strings.Join(wrong, "; "))
}
