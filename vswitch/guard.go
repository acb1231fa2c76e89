package vswitch

import (
	"encoding/binary"
	"net/netip"
)

const (
	ethernetHeader = 14
	ipv4Header     = 20
	udpHeader      = 8

	typeIPv4 = 0x0800
	typeARP  = 0x0806

	protocolICMP = 1
	protocolTCP  = 6
	protocolUDP  = 17

	dhcpServerPort = 67
	dhcpClientPort = 68
)

// A verdict is what becomes of a frame that a machine has sent.
type verdict int

const (
	refuse  verdict = iota // not the machine's to send
	forward                // to whom it is addressed
	lease                  // a DHCP request: for the switch and nobody else
)

var broadcastMAC = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func destination(frame []byte) mac       { return mac(frame[0:6]) }
func etherType(frame []byte) uint16      { return binary.BigEndian.Uint16(frame[12:]) }
func ipv4Target(frame []byte) netip.Addr { return netip.AddrFrom4([4]byte(frame[30:34])) }
func arpTarget(frame []byte) netip.Addr  { return netip.AddrFrom4([4]byte(frame[38:42])) }

// inspect judges a frame of at least ethernetHeader bytes from p: only ARP and
// IPv4 pass, only from the port's own MAC and address, and never as a DHCP server.
// Unless refused, the lengths in its headers are true.
func (p *port) inspect(frame []byte) verdict {
	if mac(frame[6:12]) != p.mac {
		return refuse
	}
	switch etherType(frame) {
	case typeARP:
		return p.inspectARP(frame[ethernetHeader:])
	case typeIPv4:
		return p.inspectIPv4(frame[ethernetHeader:])
	}
	return refuse
}

// inspectARP lets pass what the machine says of itself. The sender address is
// unspecified in a probe (RFC 5227), which asks for the machine's own address: who
// probes for another's keeps its owner from taking it.
func (p *port) inspectARP(packet []byte) verdict {
	if len(packet) < 28 || [6]byte(packet[0:6]) != [6]byte{0, 1, 8, 0, 6, 4} || mac(packet[8:14]) != p.mac {
		return refuse
	}
	sender, target := netip.AddrFrom4([4]byte(packet[14:18])), netip.AddrFrom4([4]byte(packet[24:28]))
	if sender == p.IP || sender.IsUnspecified() && packet[7] == 1 && target == p.IP {
		return forward
	}
	return refuse
}

// ICMP messages by which routers say where to send: no machine is one, as nothing
// passes that it would forward.
const (
	icmpRedirect     = 5
	icmpRouterAdvert = 9 // RFC 1256
)

// inspectIPv4 lets pass packets from the machine's address. Only a DHCP request
// may come from another: the machine may not know its own yet. Ports and ICMP types
// stand in first fragments alone, and whole: no later one reaches so far back.
func (p *port) inspectIPv4(packet []byte) verdict {
	if len(packet) < ipv4Header || packet[0]>>4 != 4 {
		return refuse
	}
	header := int(packet[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(packet[2:]))
	if header < ipv4Header || total < header || total > len(packet) {
		return refuse
	}
	packet = packet[:total]
	first := binary.BigEndian.Uint16(packet[6:])&0x1fff == 0
	if packet[9] == protocolUDP && first {
		if len(packet) < header+udpHeader {
			return refuse
		}
		switch binary.BigEndian.Uint16(packet[header+2:]) {
		case dhcpServerPort:
			return lease
		case dhcpClientPort:
			return refuse
		}
	}
	if packet[9] == protocolICMP && first {
		if len(packet) == header || packet[header] == icmpRedirect || packet[header] == icmpRouterAdvert {
			return refuse
		}
	}
	if netip.AddrFrom4([4]byte(packet[12:16])) != p.IP {
		return refuse
	}
	return forward
}
