package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
)

// maxNetworks is how many /16 networks clade hands out by itself: 10.80 to 10.239.
const maxNetworks = 160

// CreateNetwork makes a user network. Kinds: Invalid, Exists (name or subnet).
func (h *Host) CreateNetwork(ctx context.Context, spec clade.NetworkSpec) (*clade.Network, error) {
	on := "network " + string(spec.Name)
	if _, err := clade.ParseName(string(spec.Name)); err != nil {
		return nil, err
	}
	if spec.Name == noNetwork {
		return nil, &clade.Error{Op: "create", On: on, Kind: clade.Invalid, Err: errors.New("this word means no network")}
	}
	n := &clade.Network{Name: spec.Name, Subnet: spec.Subnet, NAT: spec.NAT, Isolated: spec.Isolated, Created: time.Now().UTC()}
	err := h.db.Write(ctx, func(tx *store.Tx) error { return addNetwork(tx, n) })
	if err != nil {
		return nil, fileError("create", on, err)
	}
	return shown(h.Network(ctx, spec.Name))
}

// addNetwork records n, on a subnet that overlaps no other network's.
func addNetwork(tx *store.Tx, n *clade.Network) error {
	others, err := tx.Networks()
	if err != nil {
		return err
	}
	if n.Subnet != "" {
		if err := checkSubnet(n, others); err != nil {
			return err
		}
		return tx.AddNetwork(n)
	}
	for i := range maxNetworks {
		n.Subnet = fmt.Sprintf("10.%d.0.0/16", 80+i)
		if checkSubnet(n, others) == nil {
			return tx.AddNetwork(n)
		}
	}
	return &clade.Error{Op: "create", On: "network " + string(n.Name), Kind: clade.NoSpace,
		Err: errors.New("no subnet is left"), Hint: "give one: --subnet 192.168.40.0/24"}
}

func checkSubnet(n *clade.Network, others []*clade.Network) error {
	refuse := func(kind clade.Kind, text string) error {
		return &clade.Error{Op: "create", On: "network " + string(n.Name), Kind: kind, Err: errors.New(text), Hint: "leave --subnet out, or give one like 192.168.40.0/24"}
	}
	subnet, err := netip.ParsePrefix(n.Subnet)
	switch {
	case err != nil || !subnet.Addr().Is4() || subnet.Masked() != subnet:
		return refuse(clade.Invalid, fmt.Sprintf("%q is not an IPv4 subnet", n.Subnet))
	case subnet.Bits() < 8 || subnet.Bits() > 28:
		return refuse(clade.Invalid, "a subnet has between 8 and 28 bits")
	case !subnet.Addr().IsPrivate():
		return refuse(clade.Invalid, n.Subnet+" is not private (RFC 1918)")
	}
	for _, other := range others {
		if taken, err := netip.ParsePrefix(other.Subnet); err == nil && taken.Overlaps(subnet) {
			return refuse(clade.Exists, fmt.Sprintf("%s overlaps network %s (%s)", n.Subnet, other.Name, other.Subnet))
		}
	}
	return nil
}

// network finds a user network; the default one is made when it is first needed.
func network(tx *store.Tx, name clade.Name) (*clade.Network, error) {
	n, err := tx.Network(name)
	if errors.Is(err, clade.NotFound) && name == defaultNetwork {
		n = &clade.Network{Name: name, NAT: true, Created: time.Now().UTC()}
		err = addNetwork(tx, n)
	}
	return n, err
}

// Network returns one user network. Kind NotFound.
func (h *Host) Network(ctx context.Context, name clade.Name) (*clade.Network, error) {
	list, err := h.Networks(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, &clade.Error{Op: "find", On: "network " + string(name), Kind: clade.NotFound,
		Hint: "clade network ls shows the networks there are"}
}

// Networks returns all user networks by name.
func (h *Host) Networks(ctx context.Context) (list []*clade.Network, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		list, err = tx.Networks()
		return err
	})
	for _, n := range list {
		n.Running = h.switchRuns(n.Name)
		if subnet, err := netip.ParsePrefix(n.Subnet); err == nil {
			n.Gateway = gateway(subnet).String()
		}
	}
	return list, err
}

// RemoveNetwork removes a user network without machines. Kinds: NotFound, InUse.
func (h *Host) RemoveNetwork(ctx context.Context, name clade.Name) error {
	err := h.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Network(name); err != nil {
			return retitle("remove", err)
		}
		if err := tx.RemoveNetwork(name); err != nil {
			return err
		}
		return h.endSwitch(ctx, name) // where it cannot be ended, the network stays
	})
	return fileError("remove", "network "+string(name), err)
}

// checkNetwork refuses a network that is not there, before any work is done.
func (h *Host) checkNetwork(ctx context.Context, name string) error {
	if name == "" || name == noNetwork || name == defaultNetwork {
		return nil
	}
	if bridge, is := strings.CutPrefix(name, bridgePrefix); is {
		if bridge == "" || len(bridge) > 15 || strings.ContainsAny(bridge, "/ ,=") {
			return &clade.Error{Op: "find", On: "network " + name, Kind: clade.Invalid, Err: errors.New("not a bridge's name"), Hint: "write bridge:br0"}
		}
		return nil
	}
	return h.db.Read(ctx, func(tx *store.Tx) error {
		_, err := tx.Network(clade.Name(name))
		return err
	})
}
