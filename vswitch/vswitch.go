// Package vswitch is the user-space network of machines: an Ethernet switch with
// DHCP, DNS, optional NAT and dial-in from the host, in one process, without root.
//
// QEMU listens (-netdev stream,server=on,addr.type=unix) and the switch dials, so
// that a switch that was killed is simply run again and no machine notices.
//
// The switch learns nothing: it is told each machine's MAC and address, and what
// contradicts them is dropped. It promises that no machine can take another's MAC,
// address or traffic, answer DHCP, stall its neighbours or reach the host itself; that
// nothing passes between an isolated machine and another; and that without NAT nothing
// leaves. It carries ARP and IPv4 only. It starts no
// process and keeps no state: which machines run is asked of the caller.
package vswitch

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/clade-vm/clade"
)

// A Plan is what one switch must do. It is data only.
type Plan struct {
	Network clade.Name    `json:"network"`
	Subnet  netip.Prefix  `json:"subnet"`           // IPv4, /8 to /30
	Gateway netip.Addr    `json:"gateway,omitzero"` // zero: the first address of the subnet
	NAT     bool          `json:"nat"`              // false: nothing leaves the network
	Domain  string        `json:"domain,omitempty"` // empty: DefaultDomain
	Idle    time.Duration `json:"idle,omitempty"`   // how long to wait for a first or next machine; zero: DefaultIdle
}

// A Port is one running machine's place on the switch.
type Port struct {
	Machine clade.Name `json:"machine"` // also its name in DNS
	MAC     string     `json:"mac"`
	IP      netip.Addr `json:"ip"`
	Socket  string     `json:"socket"` // the Unix socket on which the machine's QEMU listens
	// Isolated machines reach the gateway, and what is behind it, and no other machine.
	Isolated bool `json:"isolated,omitempty"`
}

const (
	// DefaultDomain ends the machines' full names; internal is reserved for private use.
	DefaultDomain = "clade.internal"
	// DefaultIdle is how long a switch without machines goes on.
	DefaultIdle = 30 * time.Second
	// GatewayMAC is the gateway's address on every network: no machine may have it.
	GatewayMAC = "02:63:6c:61:64:65"
	// MTU is the largest IPv4 packet that the gateway sends, in bytes.
	MTU = 1500
)

var (
	gatewayMAC = mac{0x02, 0x63, 0x6c, 0x61, 0x64, 0x65}
	domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
)

// mac is an Ethernet address that can be a map key.
type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// checked returns p with its defaults filled in, or an error of kind Invalid.
func (p Plan) checked() (Plan, error) {
	bad := func(format string, args ...any) (Plan, error) {
		return Plan{}, &clade.Error{Op: "run", On: fmt.Sprintf("network %.63s", p.Network),
			Kind: clade.Invalid, Err: fmt.Errorf(format, args...)}
	}
	if _, err := clade.ParseName(string(p.Network)); err != nil {
		return bad("%w", err)
	}
	if !p.Subnet.IsValid() || !p.Subnet.Addr().Is4() || p.Subnet.Bits() < 8 || p.Subnet.Bits() > 30 {
		return bad("subnet %s is not an IPv4 prefix from /8 to /30", p.Subnet)
	}
	p.Subnet = p.Subnet.Masked()
	if !p.Gateway.IsValid() {
		p.Gateway = p.Subnet.Addr().Next()
	}
	if !usable(p.Subnet, p.Gateway) {
		return bad("gateway %s is not a host address of %s", p.Gateway, p.Subnet)
	}
	if p.Domain == "" {
		p.Domain = DefaultDomain
	}
	p.Domain = strings.ToLower(p.Domain)
	if len(p.Domain) > 180 || !domainForm.MatchString(p.Domain) {
		return bad("domain %.80q is not a DNS name", p.Domain)
	}
	if p.Idle < 0 {
		return bad("idle time %s is negative", p.Idle)
	}
	if p.Idle == 0 {
		p.Idle = DefaultIdle
	}
	return p, nil
}

// usable tells whether a host of the subnet can have the address ip.
func usable(subnet netip.Prefix, ip netip.Addr) bool {
	return subnet.Contains(ip) && ip != subnet.Addr() && ip != broadcast(subnet)
}

// broadcast returns the last address of an IPv4 subnet.
func broadcast(subnet netip.Prefix) netip.Addr {
	b := subnet.Addr().As4()
	for i := subnet.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
