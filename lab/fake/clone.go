package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clade-vm/clade"
)

// PlanClone implements clade.Machines.
func (h *Home) PlanClone(ctx context.Context, spec clade.CloneSpec) (*clade.Plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, layer, label, err := h.source(ctx, spec)
	if err != nil {
		return nil, err
	}
	if spec.Kind == clade.Instant {
		if _, layer, err = h.instant(spec, layer); err != nil {
			return nil, err
		}
	}
	each := linkedSize
	if spec.Kind == clade.Full {
		each = h.below(layer)
	}
	plan := &clade.Plan{Source: label, Kind: spec.Kind, Free: freeSpace, Steps: []string{"write heads", "give identities", "record"}}
	for _, l := range h.chain(layer) {
		plan.RestsOn = append(plan.RestsOn, l.ID)
	}
	if spec.Kind == clade.Full {
		plan.RestsOn = nil
	}
	for _, name := range spec.Names {
		plan.Machines = append(plan.Machines, clade.PlanMachine{Name: name, Bytes: each})
		plan.Bytes += each
		plan.Virtual += virtualSize
	}
	return plan, nil
}

// Clone implements clade.Machines.
func (h *Home) Clone(ctx context.Context, spec clade.CloneSpec, p clade.Progress) ([]*clade.Machine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "clone"); err != nil {
		return nil, err
	}
	from, layer, label, err := h.source(ctx, spec)
	if err != nil {
		return nil, err
	}
	var stood *clade.Pause
	if m := h.s.Machines[clade.Name(spec.Source)]; m != nil {
		layer, stood = h.freeze(m).ID, pause(m)
	}
	var warm string
	if spec.Kind == clade.Instant {
		if warm, layer, err = h.instant(spec, layer); err != nil {
			return nil, err
		}
	}
	size := h.below(layer)
	if spec.Kind == clade.Full && h.s.Knobs.Full > 0 && size > h.s.Knobs.Full {
		return nil, fail("clone", label, clade.NoSpace, "free some space: clade du", "%v needed, %v free", size, h.s.Knobs.Full)
	}
	var made []*clade.Machine
	for _, name := range spec.Names {
		disk := clade.Disk{Serial: "serial-" + string(name), Virtual: virtualSize}
		head := size
		if spec.Kind != clade.Full {
			disk.Layer, disk.Base, disk.Depth, head = layer, layer, len(h.chain(layer)), linkedSize
		}
		disks := append([]clade.Disk{disk}, h.data(spec, name)...)
		m, err := h.add("clone", name, spec.Options, clade.Machine{Clone: spec.Kind, Warm: warm, Source: label, User: "debian", Disks: disks})
		if err != nil {
			return nil, err
		}
		h.s.Heads[name] = head
		h.s.Guests[m.ID] = from.copy()
		if spec.Kind == clade.Instant {
			h.boot(m, h.s.Guests[m.ID])
		}
		p.Tell(clade.Event{Step: "clone " + string(name), End: true})
		m = copied(m)
		m.Pause = stood
		made = append(made, m)
	}
	return made, nil
}

// data returns the data disks that a clone has of its source.
func (h *Home) data(spec clade.CloneSpec, name clade.Name) (disks []clade.Disk) {
	if m := h.s.Machines[clade.Name(spec.Source)]; m != nil && spec.WithData {
		disks = slices.Clone(m.Disks[1:])
	} else if ref, err := clade.ParseRef(spec.Source); m == nil && err == nil {
		if t, err := h.template(ref); err == nil {
			for _, d := range t.Disks[1:] {
				disks = append(disks, clade.Disk{Slot: d.Slot, Layer: d.Layer, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount, Depth: 1})
			}
		}
	}
	for i := range disks {
		disks[i].Serial = fmt.Sprintf("serial-%s-%d", name, disks[i].Slot)
	}
	return disks
}

// source finds what to clone and refuses what must be refused.
func (h *Home) source(ctx context.Context, spec clade.CloneSpec) (from *guest, layer, label string, err error) {
	for i, name := range spec.Names {
		if _, err := clade.ParseName(string(name)); err != nil {
			return nil, "", "", err
		}
		if h.s.Machines[name] != nil || slices.Contains(spec.Names[:i], name) {
			return nil, "", "", fail("create", "machine "+string(name), clade.Exists, "choose another name", "the name is taken")
		}
	}
	if m := h.s.Machines[clade.Name(spec.Source)]; m != nil {
		if len(spec.AcceptTwins) == 0 && !spec.Generalize {
			return nil, "", "", fail("clone", "machine "+spec.Source, clade.Unproven, "use --generalize", "it is not generalized: clones would share its identity")
		}
		g := h.s.Guests[m.ID].copy()
		if spec.Generalize {
			g = &guest{Files: g.Files}
		}
		return g, m.Disks[0].Layer, "machine " + spec.Source, nil
	}
	ref, err := clade.ParseRef(spec.Source)
	if err != nil {
		return nil, "", "", err
	}
	t, err := h.template(ref)
	if err != nil {
		return nil, "", "", fail("clone", spec.Source, clade.NotFound, "clade template ls and clade ls show what there is", "no template and no machine has this name")
	}
	if !t.Generalized && len(spec.AcceptTwins) == 0 {
		return nil, "", "", fail("clone", "template "+t.Ref().String(), clade.Unproven, "use --accept-twins all", "it is not generalized: clones would share its identity")
	}
	return h.s.Guests[t.Disks[0].Layer], t.Disks[0].Layer, "template " + t.Ref().String(), nil
}

// instant returns the warm template of what is cloned, and the layer its clones rest on.
func (h *Home) instant(spec clade.CloneSpec, layer string) (warm, warmLayer string, err error) {
	for _, t := range h.s.Templates {
		if t.Disks[0].Layer != layer || spec.Source == "" {
			continue
		}
		if w := h.warm(t.Ref()); w != nil {
			return w.ID, w.Disks[0].Layer, nil
		}
		return "", "", h.notWarm("clone", t)
	}
	return "", "", fail("clone", spec.Source, clade.Unsupported, "clade template ls shows what there is", "instant clones are made of templates")
}

func (g *guest) copy() *guest {
	return &guest{MachineID: g.MachineID, Keys: slices.Clone(g.Keys), Instance: g.Instance, Files: maps.Clone(g.Files)}
}

// pause is how long a machine stands still when it is frozen now.
func pause(m *clade.Machine) *clade.Pause {
	if m.State != clade.Running {
		return nil
	}
	return &clade.Pause{Length: 12 * time.Millisecond, Frozen: true}
}

// freeze makes a machine's head a layer.
func (h *Home) freeze(m *clade.Machine) *clade.Layer {
	l := h.addLayer(m.Disks[0].Layer, "freeze of machine "+string(m.Name), h.s.Heads[m.Name])
	h.s.Guests[l.ID] = h.s.Guests[m.ID].copy()
	m.Disks[0].Layer, m.Disks[0].Depth = l.ID, len(h.chain(l.ID))
	h.s.Heads[m.Name] = linkedSize
	return l
}

func (h *Home) addLayer(parent, origin string, size clade.Bytes) *clade.Layer {
	n := h.next()
	l := &clade.Layer{ID: fmt.Sprintf("l%d", n), Parent: parent, Origin: origin, Digest: fmt.Sprintf("sha256:%064x", n), Verity: fmt.Sprintf("sha256:%064x", ^n),
		Virtual: virtualSize, Size: size, Allocated: size, Sealed: true, Created: epoch}
	h.s.Layers = append(h.s.Layers, l)
	return l
}

// chain returns the layers from id down.
func (h *Home) chain(id string) []*clade.Layer {
	for _, l := range h.s.Layers {
		if l.ID == id {
			return append([]*clade.Layer{l}, h.chain(l.Parent)...)
		}
	}
	return nil
}

func (h *Home) below(id string) (sum clade.Bytes) {
	for _, l := range h.chain(id) {
		sum += l.Allocated
	}
	return sum
}
