package vswitch

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/clade-vm/clade"
)

// A table is the switch's whole knowledge of its ports. It never changes: a new
// one takes its place, so that the path of a frame takes no lock.
type table struct {
	byMAC  map[mac]*port
	byIP   map[netip.Addr]*port
	byName map[clade.Name]*port
}

// newTable checks ports and returns their table. A port that is in old unchanged
// is taken over with its connection and counters. Two machines with one name, MAC
// or address, or an address that no machine may have, are an error of kind
// Invalid: the switch then keeps what it has.
func newTable(plan Plan, ports []Port, old *table) (*table, error) {
	t := &table{
		byMAC:  make(map[mac]*port, len(ports)),
		byIP:   make(map[netip.Addr]*port, len(ports)),
		byName: make(map[clade.Name]*port, len(ports)),
	}
	for _, spec := range ports {
		p, err := newPort(plan, spec)
		if err == nil {
			err = t.add(p)
		}
		if err != nil {
			return nil, &clade.Error{Op: "connect", On: fmt.Sprintf("machine %.63s", spec.Machine),
				Kind: clade.Invalid, Err: err}
		}
		if same, ok := old.byName[spec.Machine]; ok && same.Port == spec {
			t.byMAC[p.mac], t.byIP[p.IP], t.byName[p.Machine] = same, same, same
		}
	}
	return t, nil
}

// newPort checks one port by itself.
func newPort(plan Plan, spec Port) (*port, error) {
	if _, err := clade.ParseName(string(spec.Machine)); err != nil {
		return nil, err
	}
	hw, err := net.ParseMAC(spec.MAC)
	if err != nil || len(hw) != 6 {
		return nil, fmt.Errorf("%.40q is not a MAC", spec.MAC)
	}
	p := &port{Port: spec, mac: mac(hw)}
	if p.mac[0]&1 != 0 || p.mac == (mac{}) || p.mac == gatewayMAC {
		return nil, fmt.Errorf("no machine can have the MAC %s", p.mac)
	}
	if !usable(plan.Subnet, p.IP) || p.IP == plan.Gateway {
		return nil, fmt.Errorf("no machine can have the address %s in %s", p.IP, plan.Subnet)
	}
	if p.Socket == "" {
		return nil, fmt.Errorf("no socket")
	}
	return p, nil
}

// add enters p unless something of it is taken.
func (t *table) add(p *port) error {
	if _, taken := t.byName[p.Machine]; taken {
		return fmt.Errorf("two machines of this name")
	}
	if q, taken := t.byMAC[p.mac]; taken {
		return fmt.Errorf("machine %s has the same MAC %s", q.Machine, p.mac)
	}
	if q, taken := t.byIP[p.IP]; taken {
		return fmt.Errorf("machine %s has the same address %s", q.Machine, p.IP)
	}
	t.byMAC[p.mac], t.byIP[p.IP], t.byName[p.Machine] = p, p, p
	return nil
}
