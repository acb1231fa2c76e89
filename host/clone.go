package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
)

// A base is what clones are made from: by slot, the layers to rest on; or, for
// full clones of a stopped machine, the chains of files to copy.
type base struct {
	source   string       // for people: "template debian-12:1"
	of       []clade.Disk // by slot, the disks of the source that are cloned
	added    []clade.Disk // data disks that each clone has beside them
	hardware clade.Hardware
	user     string
	virtual  []clade.Bytes
	layers   []string          // what linked clones rest on
	tops     []string          // the image files that full clones copy, with all they rest on
	built    []*clade.Layer    // generalized layers in the operation's directory, to be placed with the clones
	heads    []*qcow2.Template // by slot: the empty head of a linked clone
	release  func()            // lets go of the source
	template *clade.Template   // the source, if it is a template
	warm     *clade.Warm       // of it, for instant clones
	machine  *store.Machine    // the source, if it is a machine
	pause    *clade.Pause      // that it took, if it ran
}

// Clone makes spec.Names clones of a template or a machine: all, or none.
func (h *Host) Clone(ctx context.Context, spec clade.CloneSpec, p clade.Progress) ([]*clade.Machine, error) {
	return h.cloneWith(ctx, spec, p, func(*store.Tx, []*store.Machine) error { return nil })
}

// cloneWith does what Clone does, and more in the transaction that records the clones.
func (h *Host) cloneWith(ctx context.Context, spec clade.CloneSpec, p clade.Progress, more func(*store.Tx, []*store.Machine) error) ([]*clade.Machine, error) {
	if err := h.checkClone(ctx, &spec); err != nil {
		return nil, err
	}
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	op, err := h.begin(ctx, "clone")
	if err != nil {
		return nil, err
	}
	defer op.end()
	b, err := h.base(ctx, op, spec, p)
	if err != nil {
		return nil, err
	}
	defer b.release()
	if err := h.checkSpace(ctx, b, spec); err != nil {
		return nil, err
	}
	if err := b.renderHeads(); err != nil {
		return nil, err
	}
	machines := make([]*store.Machine, len(spec.Names))
	for i, name := range spec.Names {
		if machines[i], err = h.buildClone(ctx, op, b, spec, name, machines, p); err != nil {
			return nil, fileError("clone", "machine "+string(name), err)
		}
	}
	if err := h.placeMachines(ctx, op, b.built, machines, func(tx *store.Tx) error { return more(tx, machines) }); err != nil {
		return nil, fileError("clone", b.source, err)
	}
	if spec.Kind == clade.Instant {
		if err := h.wakeAll(ctx, machines, p); err != nil {
			return nil, fileError("clone", b.source, err)
		}
	}
	return shown(h.listed(ctx, machines))
}

// renderHeads makes the bytes that the heads of all linked clones begin with.
func (b *base) renderHeads() error {
	b.heads = make([]*qcow2.Template, len(b.layers))
	for i, layer := range b.layers {
		if layer == "" {
			continue // a stopped machine to be copied: it may rest on nothing
		}
		head, err := head(layer, b.virtual[i]).Render()
		if err != nil {
			return err
		}
		b.heads[i] = head
	}
	return nil
}

// buildClone makes the heads of one clone aside and drafts its record. For full
// clones of an ungeneralized machine the first copy is generalized and the
// others are copies of it.
func (h *Host) buildClone(ctx context.Context, op *operation, b *base, spec clade.CloneSpec, name clade.Name, before []*store.Machine, p clade.Progress) (*store.Machine, error) {
	m := draft(name, spec.Options, b.hardware, b.user)
	m.Clone, m.Source, m.MachineID, m.Pause = spec.Kind, b.source, b.machineID(spec), b.pause
	if b.warm != nil {
		m.Warm, m.Asleep = b.warm.ID, true
	}
	dir := filepath.Join(op.dir, m.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	for slot, virtual := range b.virtual {
		head := filepath.Join(dir, headName(slot, 0))
		d := clade.Disk{Slot: slot, Virtual: virtual, Label: b.of[slot].Label, Mount: b.of[slot].Mount}
		if rests(spec.Kind) {
			if d.Layer = b.layers[slot]; !d.Data() {
				d.Base = d.Layer
			}
			if err := b.heads[slot].Write(head); err != nil {
				return nil, err
			}
		} else if err := h.copyHead(ctx, op, b, slot, head, before, p); err != nil {
			return nil, err
		}
		m.Disks, m.Heads = append(m.Disks, d), append(m.Heads, headName(slot, 0))
	}
	if err := addDataDisks(dir, m, spec.DataDisks); err != nil {
		return nil, err
	}
	if spec.Kind == clade.Full && spec.Generalize && before[0] == nil {
		if _, err := h.generalizeFiles(ctx, paths(dir, m.Heads[:b.system()]), clade.Marks{}, "clone "+string(name), p); err != nil {
			return nil, err
		}
	}
	h.did("clone: heads built")
	return m, nil
}

// copyHead makes a full copy of one disk, of the first clone's if there is one.
func (h *Host) copyHead(ctx context.Context, op *operation, b *base, slot int, head string, before []*store.Machine, p clade.Progress) error {
	top := b.tops[slot]
	if before[0] != nil {
		top = filepath.Join(op.dir, before[0].ID, headName(slot, 0))
	}
	_, err := image.Flatten(ctx, top, head, p)
	return err
}

// paths joins a directory and names.
func paths(dir string, names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = filepath.Join(dir, name)
	}
	return list
}

// checkClone refuses what is wrong with the request itself and fills in the kind.
func (h *Host) checkClone(ctx context.Context, spec *clade.CloneSpec) error {
	if err := checkOptions(spec.Options, spec.Names); err != nil {
		return err
	}
	if spec.Kind == "" {
		spec.Kind = clade.Linked
	}
	if !rests(spec.Kind) && spec.Kind != clade.Full {
		return &clade.Error{Op: "clone", On: spec.Source, Kind: clade.Unsupported,
			Err: fmt.Errorf("the kind %q cannot be made here", spec.Kind), Hint: "use --linked, --full or --instant"}
	}
	if err := h.checkNetwork(ctx, spec.Network); err != nil {
		return retitle("clone", err)
	}
	return h.checkNames(ctx, spec.Names)
}

// checkNames refuses names that are taken before work is done for them. The
// database refuses them again when they are recorded.
func (h *Host) checkNames(ctx context.Context, names []clade.Name) error {
	return h.db.Read(ctx, func(tx *store.Tx) error {
		for _, name := range names {
			if m, _ := tx.Machine(name); m != nil {
				return &clade.Error{Op: "create", On: "machine " + string(name), Kind: clade.Exists,
					Err: errors.New("the name is taken"), Hint: "choose another name, or remove it: clade rm " + string(name)}
			}
		}
		return nil
	})
}

// base finds the source and makes it ready to be rested on, or copied.
func (h *Host) base(ctx context.Context, op *operation, spec clade.CloneSpec, p clade.Progress) (*base, error) {
	b, err := h.source(ctx, spec)
	if err != nil {
		return nil, err
	}
	if b.machine != nil {
		m, release, err := h.hold(ctx, b.machine.Name, "clone")
		if err != nil {
			return nil, err
		}
		b.release = release
		if err := h.machineBase(ctx, op, b, m, spec, p); err != nil {
			release()
			return nil, err
		}
		return b, nil
	}
	if err := h.chainIntact(ctx, b.layers...); err != nil {
		return nil, err
	}
	b.tops = h.layerPaths(b.layers)
	return b, nil
}

// source finds a template, or else a machine, by name, and holds the gate: what
// is not generalized is not cloned unless the user says so.
func (h *Host) source(ctx context.Context, spec clade.CloneSpec) (*base, error) {
	b := &base{release: func() {}}
	err := h.db.Read(ctx, func(tx *store.Tx) error {
		ref, bad := clade.ParseRef(spec.Source)
		if bad != nil {
			return retitle("clone", bad)
		}
		t, err := tx.Template(ref)
		if err == nil {
			b.fromTemplate(t)
			return nil
		}
		if !errors.Is(err, clade.NotFound) {
			return err
		}
		m, missing := tx.Machine(clade.Name(spec.Source))
		if missing == nil {
			b.fromMachine(m, spec.WithData)
			return nil
		}
		if errors.Is(missing, clade.NotFound) {
			return &clade.Error{Op: "clone", On: spec.Source, Kind: clade.NotFound,
				Err: errors.New("no template and no machine has this name"), Hint: "clade template ls and clade ls show what there is"}
		}
		return missing
	})
	if err != nil {
		return nil, err
	}
	if b.added, err = clade.AddDataDisks(b.of, spec.DataDisks); err != nil {
		return nil, retitle("clone", err)
	}
	if err := h.gate(ctx, b, spec); err != nil || spec.Kind != clade.Instant {
		return b, err
	}
	return b, h.instantBase(ctx, b, spec)
}

// system is how many of the source's disks are no data disks; they come first.
func (b *base) system() int { return len(systemDisks(b.of)) }

func (b *base) fromTemplate(t *clade.Template) {
	b.template, b.source, b.hardware, b.user = t, "template "+t.Ref().String(), t.Hardware, t.User
	for _, d := range t.Disks {
		b.of = append(b.of, clade.Disk{Slot: d.Slot, Layer: d.Layer, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount})
		b.virtual, b.layers = append(b.virtual, d.Virtual), append(b.layers, d.Layer)
	}
}

func (b *base) fromMachine(m *store.Machine, withData bool) {
	b.machine, b.source, b.hardware, b.user = m, "machine "+string(m.Name), m.Hardware, m.User
	b.of = disksOf(m, withData)
	for _, d := range b.of {
		b.virtual, b.layers = append(b.virtual, d.Virtual), append(b.layers, d.Layer)
	}
}

// machineBase freezes a machine for linked clones and generalizes what they
// will rest on. Full clones of a stopped machine copy its heads as they are.
func (h *Host) machineBase(ctx context.Context, op *operation, b *base, m *store.Machine, spec clade.CloneSpec, p clade.Progress) error {
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return err
	}
	if err := awake(m, "clone"); err != nil {
		return err
	}
	if spec.Kind == clade.Full && status.State == clade.Stopped {
		if err := h.settle(ctx, m); err != nil {
			return err
		}
		b.tops = h.headsOf(m, b.of)
		return nil
	}
	frozen, err := h.freezeDisks(ctx, m, disksOf(m, spec.WithData), p)
	if err != nil {
		return err
	}
	b.machine, b.of = frozen, disksOf(frozen, spec.WithData)
	b.layers = layersOf(b.of)
	b.pause = frozen.Pause
	b.release()
	b.release = func() {}
	b.tops = h.layerPaths(b.layers)
	if spec.Kind == clade.Full || !spec.Generalize {
		return nil
	}
	b.built, _, err = h.generalizeLayers(ctx, op, b.layers[:b.system()], b.virtual[:b.system()], clade.Marks{}, "generalized "+b.source, p)
	for i, l := range b.built {
		b.layers[i] = l.ID
	}
	return err
}

func (h *Host) layerPaths(ids []string) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = h.layerPath(id)
	}
	return list
}

// chains returns, for each layer, the files from it down to the bottom.
func (h *Host) chains(ctx context.Context, tops []string) ([][]string, error) {
	tree, err := h.tree(ctx)
	if err != nil {
		return nil, err
	}
	chains := make([][]string, len(tops))
	for i, top := range tops {
		layers, err := tree.Chain(top)
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			chains[i] = append(chains[i], h.layerPath(l.ID))
		}
	}
	return chains, nil
}
