package merge

import (
	"errors"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
	"golang.org/x/sys/unix"
)

// A comparison is one run of Compare.
type comparison struct {
	judge
	Options
	plan    Plan
	entries int               // that were looked at
	texts   map[string]string // files of accounts, merged
	cannot  string            // why they are not
}

// Compare finds what a clone and the new version of its template changed since the
// old version. It writes nothing. Kind Unsupported beyond the bounds.
func Compare(old, mine, next Tree, o Options) (*Plan, error) {
	c := &comparison{Options: o, plan: Plan{links: map[inode]string{}}}
	c.judge = judge{tell: o.Tell, limit: o.Limit, trees: [3]Tree{old, mine, next}, related: o.Related}
	c.plan.Report = clade.Merge{Conflicts: []clade.Conflict{}, Settled: []clade.Settled{}, Clone: noChanges(), Template: noChanges()}
	var at [3]place
	for i, t := range c.trees {
		dir, err := rootfs.OpenHandle(t.Dir)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		if at[i], err = look(dir, "."); err != nil {
			return nil, err
		}
	}
	c.readAccounts(at)
	if err := c.visit("", at, 0); err != nil {
		return nil, err
	}
	if c.plan.Report.Conflict > 0 {
		c.plan.Report.Took = o.Take
	}
	return &c.plan, nil
}

func noChanges() clade.Changes {
	return clade.Changes{Added: []string{}, Changed: []string{}, Removed: []string{}}
}

// The three trees, by their numbers.
const (
	old = iota
	mine
	next
)

// visit compares what lies under one name. Directories that both sides have are
// compared entry by entry, all else as a whole.
func (c *comparison) visit(path string, at [3]place, depth int) error {
	if !at[mine].isDir() || !at[next].isDir() {
		return c.whole(path, at, depth)
	}
	if !at[old].isDir() {
		at[old].is = false
	}
	if err := c.directory(path, at); err != nil {
		return err
	}
	if depth == maxDepth {
		return refuse(path, clade.Unsupported, "it lies more than %d directories deep", maxDepth)
	}
	var dirs [3]*rootfs.Handle
	for i, p := range at {
		dir, err := p.open()
		if err != nil {
			return err
		}
		dirs[i] = dir
		defer p.close(dir)
	}
	names, err := c.list(path, dirs)
	if err != nil {
		return err
	}
	defer c.hold(-len(names))
	for _, name := range names {
		below := join(path, name)
		if passing(below) {
			continue
		}
		var there [3]place
		for i, dir := range dirs {
			if there[i], err = look(dir, name); err != nil {
				return err
			}
		}
		if err := c.visit(below, there, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// list returns the names that any of the directories has, in order.
func (c *comparison) list(path string, dirs [3]*rootfs.Handle) (all []string, err error) {
	for _, dir := range dirs {
		if dir == nil {
			continue
		}
		names, err := dir.Names(maxNames)
		if err != nil {
			return nil, limited(path, err)
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if c.entries += len(all); c.entries > maxEntries {
		return nil, refuse(path, clade.Unsupported, "there are more than %d files", maxEntries)
	}
	if !c.hold(len(all)) {
		return nil, refuse(path, clade.Unsupported, "more than %d entries in the directories on the way to it", maxHeld)
	}
	c.told(c.entries)
	return all, nil
}

// told tells how far the comparison is, now and then.
func (c *comparison) told(n int) {
	if n-c.last < 2000 {
		return
	}
	c.last = n
	c.Tell.Tell(clade.Event{Step: "merge", Note: "compare", Done: int64(n), Unit: "files"})
}

// directory decides about the directories themselves, not what is in them.
func (c *comparison) directory(path string, at [3]place) error {
	if path == "" && !at[old].is {
		return errors.New("no root")
	}
	return c.decide(path, at, c.dressed, dress)
}

// whole decides about what lies under a name with all that is below it.
func (c *comparison) whole(path string, at [3]place, depth int) error {
	return c.decide(path, at, func(x, y int, at [3]place) (bool, error) {
		return c.alike(path, at[x], at[y], x, y, depth)
	}, put)
}

// decide finds who changed a place, and plans what follows from that.
func (c *comparison) decide(path string, at [3]place, same func(x, y int, at [3]place) (bool, error), do deed) error {
	kept, err := same(old, mine, at)
	if err != nil {
		return err
	}
	stayed, err := same(old, next, at)
	if err != nil {
		return err
	}
	if !kept {
		if err := c.count(&c.plan.Report.Clone, path, at[old], at[mine], do); err != nil {
			return err
		}
	}
	if !stayed {
		if err := c.count(&c.plan.Report.Template, path, at[old], at[next], do); err != nil {
			return err
		}
	}
	own := within(c.Own, path) && at[mine].is
	if stayed && kept && at[mine].kind() == unix.S_IFREG && at[mine].st.Nlink > 1 && len(c.plan.links) < maxLinks {
		c.plan.links[inodeOf(at[mine])] = path
	}
	if stayed && kept || kept && !own {
		return nil
	}
	if !stayed {
		agree, err := same(mine, next, at)
		if err != nil || agree {
			return err
		}
		if text, ok := c.joined(path, at, do); ok {
			return c.write(path, text)
		}
		if !c.settle(path, at, own) {
			return nil
		}
	}
	return c.act(path, at[mine], do)
}

// joined returns the content of a file that is merged by its lines, and notes it.
func (c *comparison) joined(path string, at [3]place, do deed) (string, bool) {
	text, ok := c.texts[path]
	why := "accounts, merged name by name"
	if path == "etc/hosts" && do == put {
		if texts, err := c.text(at); err == nil {
			text, why, ok = mergeLines(texts), "merged line by line", true
		}
	}
	if ok {
		c.ruled(path, clade.BothSides, why)
	}
	return text, ok
}

// write plans to give a file of the new tree other content.
func (c *comparison) write(path, text string) error {
	if len(c.plan.actions) == maxActions {
		return refuse(path, clade.Unsupported, "the clone changed more than %d files", maxActions)
	}
	c.plan.actions = append(c.plan.actions, action{path, rewrite, text})
	c.plan.Report.Carried++
	c.plan.Report.Bytes += clade.Bytes(len(text))
	return nil
}

// ruled notes a conflict that a rule decides.
func (c *comparison) ruled(path string, side clade.Side, why string) {
	r := &c.plan.Report
	r.Settle++
	if len(r.Settled) < maxListed {
		r.Settled = append(r.Settled, clade.Settled{Path: shown(path), Side: side, Why: why})
	}
}

// settle decides about what both sides changed, and reports whether the clone's
// version is taken.
func (c *comparison) settle(path string, at [3]place, own bool) bool {
	r := &c.plan.Report
	side, why := c.rule(path, own)
	if side != "" {
		c.ruled(path, side, why)
		return side == clade.CloneSide
	}
	r.Conflict++
	if len(r.Conflicts) < maxListed {
		r.Conflicts = append(r.Conflicts, clade.Conflict{Path: shown(path), Clone: change(at[old], at[mine]),
			Template: change(at[old], at[next]), Why: c.known(path)})
	}
	return c.Take == clade.CloneSide
}

// act plans to make a place what it is in the clone.
func (c *comparison) act(path string, p place, do deed) error {
	if !p.is {
		do = remove
	}
	if len(c.plan.actions) == maxActions {
		return refuse(path, clade.Unsupported, "the clone changed more than %d files", maxActions)
	}
	c.plan.actions = append(c.plan.actions, action{path: path, do: do})
	n, bytes := 1, int64(0)
	if do == put {
		var err error
		if n, bytes, err = c.weigh(path, p, 0); err != nil {
			return err
		}
	}
	c.plan.Report.Carried += n
	c.plan.Report.Bytes += clade.Bytes(bytes)
	return nil
}

// change says what became of a place.
func change(was, is place) string {
	switch {
	case !was.is:
		return "added"
	case !is.is:
		return "removed"
	}
	return "changed"
}

// count notes a change in a report.
func (c *comparison) count(r *clade.Changes, path string, was, is place, do deed) (err error) {
	list, total, what := &r.Changed, &r.Changes, place{}
	switch change(was, is) {
	case "added":
		list, total, what = &r.Added, &r.Adds, is
	case "removed":
		list, total, what = &r.Removed, &r.Removes, was
	}
	n := 1
	if what.isDir() && do == put {
		if n, _, err = c.weigh(path, what, 0); err != nil {
			return err
		}
	}
	*total += n
	if len(*list) < maxListed {
		name := shown(path)
		if (was.isDir() || is.isDir()) && path != "" {
			name += "/"
		}
		*list = append(*list, name)
	}
	return nil
}
