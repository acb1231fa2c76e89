package host

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// Usage accounts for every byte of the home. It changes nothing and waits for
// nobody; what commands change meanwhile may be counted as before or after.
func (h *Host) Usage(ctx context.Context) (*clade.Usage, error) {
	a, err := h.account(ctx)
	if err != nil {
		return nil, fileError("measure", "home "+h.Dir, err)
	}
	return a.usage(), nil
}

// An account is what the home's records say and what its files take.
type account struct {
	h        *Host
	records  []*store.Machine
	machines map[string]int // of records by id
	lineage  *clade.Lineage
	tree     *lineage.Tree
	owners   map[string]lineage.Owner // of layers
	unused   map[string]bool          // layers that nothing rests on
	ledger   *ledger
	shared   *sharing
	orphans  []clade.Garbage
	total    clade.Bytes
	parts    map[string]clade.Bytes
	layers   map[string]clade.Bytes        // what each layer takes
	needed   map[lineage.Owner]clade.Bytes // what goes with each machine or template, of layers and its own
	owned    map[lineage.Owner]clade.Bytes // and what its files share among themselves alone
}

func (h *Host) account(ctx context.Context) (*account, error) {
	a := &account{h: h, parts: map[string]clade.Bytes{}, needed: map[lineage.Owner]clade.Bytes{}, layers: map[string]clade.Bytes{}, unused: map[string]bool{}, machines: map[string]int{}}
	var err error
	// Files first: what is recorded after they were looked at is missing from them,
	// which is no harm; a file that is not recorded yet would be an orphan.
	if a.ledger, err = h.measure(); err != nil {
		return nil, err
	}
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		a.lineage, a.records, err = readRecords(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, m := range a.records {
		a.machines[m.ID] = i
	}
	a.tree = lineage.New(a.lineage)
	a.owners = a.tree.Owners()
	for _, l := range a.tree.Unused() {
		a.unused[l.ID] = true
	}
	if err := a.findOrphans(ctx); err != nil {
		return nil, err
	}
	a.shared, err = h.sharing(a.ledger)
	return a, err
}

// usage adds all up.
func (a *account) usage() *clade.Usage {
	u := &clade.Usage{Machines: []clade.MachineUsage{}, Layers: []clade.LayerUsage{}, Templates: []clade.TemplateUsage{},
		Orphans: a.orphans}
	a.owned, u.Reflinked = groups(a.shared, a.owner)
	for _, g := range a.orphans {
		a.count("orphans", g.Bytes)
	}
	for _, f := range a.ledger.rest.files {
		a.count(partOf(f.name), f.bytes)
	}
	for _, p := range a.ledger.building {
		a.count("being built", p.sum())
	}
	for _, p := range a.ledger.arrived {
		a.count("being built", p.sum())
	}
	a.addLayers(u)
	a.addMachines(u)
	for _, t := range a.lineage.Templates {
		u.Templates = append(u.Templates, a.template(t))
	}
	for i := range u.Machines {
		u.Machines[i].Freed = a.freed(lineage.Owner{Machine: u.Machines[i].Name})
	}
	for what, n := range a.parts {
		if what != "heads" && what != "layers" && what != "snapshots" && what != "orphans" {
			u.FullCost += n
		}
		u.Parts = append(u.Parts, clade.PartUsage{What: what, Allocated: n})
	}
	slices.SortFunc(u.Parts, func(a, b clade.PartUsage) int {
		return cmp.Or(cmp.Compare(b.Allocated, a.Allocated), cmp.Compare(a.What, b.What))
	})
	u.Allocated = a.total
	return u
}

func (a *account) count(what string, n clade.Bytes) {
	a.parts[what] += n
	a.total += n
}

// owner returns with which machine or template the machine or layer of an id goes.
func (a *account) owner(id string) lineage.Owner {
	if i, found := a.machines[id]; found {
		return lineage.Owner{Machine: a.records[i].Name}
	}
	return a.owners[id]
}

// freed is what goes from the disk with a machine or template.
func (a *account) freed(o lineage.Owner) clade.Bytes { return a.needed[o] + a.owned[o] }

func (a *account) addLayers(u *clade.Usage) {
	inSnapshots := a.onlyInSnapshots()
	for _, l := range a.lineage.Layers {
		if a.unused[l.ID] {
			continue // an orphan
		}
		n := a.ledger.layers[l.ID].sum()
		exclusive := max(n-a.shared.of[l.ID], 0)
		owner := a.owners[l.ID]
		machines, templates := a.tree.Above(l.ID)
		one := clade.LayerUsage{ID: l.ID, Origin: l.Origin, Virtual: l.Virtual, Allocated: n, Exclusive: exclusive,
			FreedWith: owner.String(), Machines: machines, Templates: templates}
		if owner != (lineage.Owner{}) {
			one.Freed = exclusive
			a.needed[owner] += exclusive
		}
		a.layers[l.ID] = n
		what := "layers"
		if inSnapshots[l.ID] {
			what = "snapshots"
		}
		a.count(what, n)
		u.Layers = append(u.Layers, one)
	}
}

// onlyInSnapshots returns the layers that no machine works on and no template has.
func (a *account) onlyInSnapshots() map[string]bool {
	only := make(map[string]bool)
	if len(a.lineage.Snapshots) == 0 {
		return only
	}
	without := *a.lineage
	without.Snapshots = nil
	for _, l := range lineage.New(&without).Unused() {
		only[l.ID] = true
	}
	return only
}

func (a *account) addMachines(u *clade.Usage) {
	snapshots := make(map[clade.Name][]clade.Disk)
	for _, s := range a.lineage.Snapshots {
		snapshots[s.Machine] = append(snapshots[s.Machine], s.Disks...)
	}
	for _, m := range a.records {
		p := a.ledger.machines[m.ID]
		one := clade.MachineUsage{Name: m.Name, Clone: m.Clone, Allocated: p.sum()}
		one.Exclusive = max(one.Allocated-a.shared.of[m.ID], 0)
		for i, d := range m.Disks {
			one.Virtual += d.Virtual
			one.Heads += p.has(m.Heads[i])
		}
		a.countMachine(m, p)
		below := a.below(m.Disks)
		one.Shared = below
		if more := snapshots[m.Name]; len(more) > 0 {
			one.Shared = a.below(append(slices.Clone(m.Disks), more...))
		}
		a.needed[lineage.Owner{Machine: m.Name}] += one.Exclusive
		u.FullCost += one.Heads + below
		u.Machines = append(u.Machines, one)
	}
}

// countMachine adds up the files of a machine by what they are.
func (a *account) countMachine(m *store.Machine, p *pile) {
	if p == nil {
		return
	}
	for _, f := range p.files {
		if slices.Contains(m.Heads, f.name) {
			a.count("heads", f.bytes)
		} else {
			a.count(partOfMachine(f.name), f.bytes)
		}
	}
}

// below is what the layers below disks take, each once.
func (a *account) below(disks []clade.Disk) (sum clade.Bytes) {
	var seen []string
	for _, d := range disks {
		for id := d.Layer; id != ""; {
			l := a.tree.Layer(id)
			if l == nil || slices.Contains(seen, id) {
				break // those below were counted with it
			}
			seen = append(seen, id)
			sum += a.layers[id]
			id = l.Parent
		}
	}
	return sum
}

func (a *account) template(t *clade.Template) clade.TemplateUsage {
	ref := t.Ref().String()
	owner := lineage.Owner{Template: ref}
	one := clade.TemplateUsage{Template: ref, Freed: a.freed(owner)}
	seen := make(map[string]bool)
	for _, d := range t.Disks {
		one.Virtual += d.Virtual
		for l := a.tree.Layer(d.Layer); l != nil && !seen[l.ID]; l = a.tree.Layer(l.Parent) {
			seen[l.ID] = true
			one.Allocated += a.layers[l.ID]
			if a.owners[l.ID] == owner {
				one.Exclusive += a.layers[l.ID]
			}
		}
	}
	one.Shared = one.Allocated - one.Exclusive
	return one
}

// findOrphans takes out of the ledger what gc would remove. What has no record may
// be on its way to one: to be sure, the home is held for a moment, but only where
// there is such a thing. Where it cannot be had, that is being built.
func (a *account) findOrphans(ctx context.Context) error {
	a.orphans = []clade.Garbage{}
	for _, id := range slices.Sorted(maps.Keys(a.unused)) {
		a.orphan(a.h.layerDir(id), "nothing rests on the layer")
	}
	strange := a.strangers()
	if len(strange) == 0 && len(a.ledger.building) == 0 && len(a.ledger.arrived) == 0 {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if f, err := lock(wait, a.h.path(homeLock), unix.LOCK_EX); err == nil {
		all, err := a.h.garbage(ctx, 0)
		_ = f.Close()
		if err != nil {
			return err
		}
		for _, g := range all {
			a.orphan(g.path, g.why)
		}
	}
	for _, dir := range a.strangers() {
		a.ledger.building[dir] = a.take(dir)
	}
	return nil
}

// strangers are the directories of machines and layers that have no record.
func (a *account) strangers() (dirs []string) {
	for id := range a.ledger.machines {
		if _, known := a.machines[id]; !known {
			dirs = append(dirs, a.h.machineDir(id))
		}
	}
	for id := range a.ledger.layers {
		if a.tree.Layer(id) == nil {
			dirs = append(dirs, a.h.layerDir(id))
		}
	}
	return dirs
}

// orphan moves what lies at path from the ledger to the orphans.
func (a *account) orphan(path, why string) {
	if p := a.take(path); p != nil {
		a.orphans = append(a.orphans, clade.Garbage{Path: path, Bytes: p.bytes, Why: why})
	}
}

// take takes what lies at path out of the ledger. It is nil for what was not there
// when the home was measured.
func (a *account) take(path string) *pile {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(path, a.h.Dir+"/"), "/")
	id, file, inside := strings.Cut(rest, "/")
	piles := map[string]map[string]*pile{machinesDir: a.ledger.machines, layersDir: a.ledger.layers, tmpDir: a.ledger.building, arrivedDir: a.ledger.arrived}[kind]
	p := piles[id]
	if p == nil || !inside {
		delete(piles, id)
		return p
	}
	for i, f := range p.files {
		if f.name == file {
			p.files = slices.Delete(p.files, i, i+1)
			p.bytes -= f.bytes
			return &pile{bytes: f.bytes, files: []item{f}}
		}
	}
	return nil
}
