package fake

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
)

// What things take in a fake home.
const (
	masterSize  = 600 * clade.MiB
	linkedSize  = 32 * clade.KiB
	bootWrites  = 6 * clade.MiB
	virtualSize = 10 * clade.GiB
	freeSpace   = 100 * clade.GiB
)

// Create implements clade.Machines.
func (h *Home) Create(ctx context.Context, spec clade.CreateSpec, p clade.Progress) (*clade.Machine, error) {
	return h.Import(ctx, clade.ImportSpec{Name: spec.Name, From: spec.Disk, Options: spec.Options}, p)
}

// Import implements clade.Masters: any file that exists is a disk, unless it
// begins with "not an image".
func (h *Home) Import(ctx context.Context, spec clade.ImportSpec, p clade.Progress) (*clade.Machine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	data, err := os.ReadFile(spec.From)
	if err != nil {
		return nil, fail("import", "image "+spec.From, clade.NotFound, "check the path", "no such file")
	}
	if strings.HasPrefix(string(data), "not an image") {
		return nil, fail("import", "image "+spec.From, clade.Invalid, "give a qcow2, raw, vmdk, vdi or vhdx file", "not a disk image")
	}
	return h.master(ctx, spec.Name, spec.Options, "image "+spec.From, p)
}

// Build implements clade.Masters.
func (h *Home) Build(ctx context.Context, spec clade.BuildSpec, p clade.Progress) (*clade.Machine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if spec.Recipe != "debian-12" && spec.Recipe != "debian-13" {
		return nil, fail("build", "recipe "+spec.Recipe, clade.NotFound, "there are debian-12 and debian-13", "no recipe has this name")
	}
	if spec.Name == "" {
		spec.Name = clade.Name(spec.Recipe)
	}
	return h.master(ctx, spec.Name, spec.Options, "recipe "+spec.Recipe, p)
}

func (h *Home) master(ctx context.Context, name clade.Name, o clade.Options, source string, p clade.Progress) (*clade.Machine, error) {
	if err := h.may(ctx, "build"); err != nil {
		return nil, err
	}
	for done := clade.Bytes(0); done <= masterSize; done += masterSize / 4 {
		p.Tell(clade.Event{Step: "copy the master to machine " + string(name), Done: int64(done), Total: int64(masterSize), Unit: "B", End: done == masterSize})
	}
	m, err := h.add("create", name, o, clade.Machine{Source: source, User: "debian", Disks: []clade.Disk{{Serial: "serial-" + string(name), Virtual: virtualSize}}})
	if err != nil {
		return nil, err
	}
	h.s.Heads[name] = masterSize
	h.s.Guests[m.ID] = &guest{Files: map[string]string{}}
	return copied(m), nil
}

// add gives m a name, an identity and a place in the home.
func (h *Home) add(op string, name clade.Name, o clade.Options, m clade.Machine) (*clade.Machine, error) {
	if _, err := clade.ParseName(string(name)); err != nil {
		return nil, err
	}
	if h.s.Machines[name] != nil {
		return nil, fail(op, "machine "+string(name), clade.Exists, "choose another name, or remove it: clade rm "+string(name), "the name is taken")
	}
	if o.Network == "" {
		o.Network = "default"
	}
	network := h.s.Networks[clade.Name(o.Network)]
	if network == nil {
		return nil, fail(op, "machine "+string(name), clade.NotFound, "clade network ls shows what there is", "no network is called %s", o.Network)
	}
	added, err := clade.AddDataDisks(m.Disks, o.DataDisks)
	if err != nil {
		return nil, err
	}
	for _, d := range added {
		d.Serial = fmt.Sprintf("serial-%s-%d", name, d.Slot)
		m.Disks = append(m.Disks, d)
	}
	n := h.next()
	base := netip.MustParsePrefix(network.Subnet).Addr().As4()
	base[3] = byte(9 + n)
	m.ID, m.Name, m.Network, m.State, m.Created = fmt.Sprintf("m%d", n), name, o.Network, clade.Stopped, epoch
	m.Hardware = clade.Hardware{CPUs: max(o.Hardware.CPUs, 1), Memory: max(o.Hardware.Memory, clade.GiB), Firmware: clade.BIOS}
	m.Identity = clade.Identity{UUID: fmt.Sprintf("00000000-0000-4000-8000-%012x", n), MAC: fmt.Sprintf("52:54:00:00:00:%02x", n),
		IP: netip.AddrFrom4(base), Hostname: name, InstanceID: fmt.Sprintf("iid-%d", n)}
	m.Isolated = o.Isolated
	if o.Hostname != "" {
		m.Identity.Hostname = o.Hostname
	}
	if o.IP != "" {
		ip, err := netip.ParseAddr(o.IP)
		if err != nil {
			return nil, fail(op, "machine "+string(name), clade.Invalid, "write it like 10.90.0.20", "%q is no address", o.IP)
		}
		m.Identity.IP = ip
	}
	h.s.Machines[name] = &m
	network.Machines = append(network.Machines, name)
	return &m, nil
}

// Machine implements clade.Machines.
func (h *Home) Machine(_ context.Context, name clade.Name) (*clade.Machine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.machine("find", name)
	if err != nil {
		return nil, err
	}
	return copied(m), nil
}

// Machines implements clade.Machines.
func (h *Home) Machines(ctx context.Context) ([]*clade.Machine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "list"); err != nil {
		return nil, err
	}
	return h.list(), nil
}

func (h *Home) list() []*clade.Machine {
	all := []*clade.Machine{}
	for _, name := range slices.Sorted(maps.Keys(h.s.Machines)) {
		m := copied(h.s.Machines[name])
		ref, err := clade.ParseRef(strings.TrimPrefix(m.Source, "template "))
		if newest, missing := h.template(clade.Ref{Name: ref.Name}); err == nil && missing == nil && newest.Version != ref.Version && m.Clone == clade.Linked {
			m.Newer = newest.Version
		}
		all = append(all, m)
	}
	return all
}

func copied(m *clade.Machine) *clade.Machine {
	c := *m
	c.Disks = slices.Clone(m.Disks)
	if c.Depth() > clade.ChainBudget {
		c.Budget = clade.ChainBudget
	}
	return &c
}

// Remove implements clade.Machines.
func (h *Home) Remove(ctx context.Context, name clade.Name) (*clade.Removal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "remove"); err != nil {
		return nil, err
	}
	m, err := h.machine("remove", name)
	if err != nil {
		return nil, err
	}
	if m.State != clade.Stopped {
		return nil, fail("remove", "machine "+string(name), clade.InUse, "stop it first: clade stop "+string(name), "it is running")
	}
	r := &clade.Removal{Removed: "machine " + string(name), Freed: h.s.Heads[name]}
	delete(h.s.Machines, name)
	delete(h.s.Guests, m.ID)
	delete(h.s.Heads, name)
	h.s.Snapshots = slices.DeleteFunc(h.s.Snapshots, func(s *clade.Snapshot) bool { return s.Machine == name })
	n := h.s.Networks[clade.Name(m.Network)]
	n.Machines = slices.DeleteFunc(n.Machines, func(other clade.Name) bool { return other == name })
	h.dropWarm()
	freed, kept := h.sweep(m.Disks[0].Layer)
	r.Freed += freed
	r.Kept = kept
	return r, nil
}
