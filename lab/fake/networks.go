package fake

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/clade-vm/clade"
)

// CreateNetwork implements clade.Networks.
func (h *Home) CreateNetwork(_ context.Context, spec clade.NetworkSpec) (*clade.Network, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	on := "network " + string(spec.Name)
	if h.s.Networks[spec.Name] != nil {
		return nil, fail("create", on, clade.Exists, "choose another name", "the name is taken")
	}
	if spec.Subnet == "" {
		spec.Subnet = fmt.Sprintf("10.91.%d.0/24", h.next())
	}
	subnet, err := netip.ParsePrefix(spec.Subnet)
	if err != nil {
		return nil, fail("create", on, clade.Invalid, "write it like 10.90.0.0/24", "%q is no subnet", spec.Subnet)
	}
	n := &clade.Network{Name: spec.Name, Subnet: spec.Subnet, Gateway: subnet.Addr().Next().String(), NAT: spec.NAT, Isolated: spec.Isolated, Machines: []clade.Name{}, Created: epoch}
	h.s.Networks[spec.Name] = n
	return n, nil
}

// Network implements clade.Networks.
func (h *Home) Network(_ context.Context, name clade.Name) (*clade.Network, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.s.Networks[name]; n != nil {
		return n, nil
	}
	return nil, fail("find", "network "+string(name), clade.NotFound, "clade network ls shows what there is", "no network has this name")
}

// Networks implements clade.Networks.
func (h *Home) Networks(context.Context) ([]*clade.Network, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []*clade.Network{}
	for _, name := range slices.Sorted(maps.Keys(h.s.Networks)) {
		all = append(all, h.s.Networks[name])
	}
	return all, nil
}

// RemoveNetwork implements clade.Networks.
func (h *Home) RemoveNetwork(ctx context.Context, name clade.Name) error {
	n, err := h.Network(ctx, name)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(n.Machines) > 0 {
		return fail("remove", "network "+string(name), clade.InUse, "remove them first", "%d machines are on it", len(n.Machines))
	}
	delete(h.s.Networks, name)
	return nil
}
