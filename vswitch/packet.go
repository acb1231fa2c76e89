package vswitch

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// address converts an IPv4 address to gvisor's form.
func address(ip netip.Addr) tcpip.Address { return tcpip.AddrFrom4(ip.As4()) }

// fromAddress converts gvisor's form of an IPv4 address.
func fromAddress(a tcpip.Address) netip.Addr {
	ip, _ := netip.AddrFromSlice(a.AsSlice())
	return ip
}

// ipv4Frame returns a frame from the gateway with one IPv4 packet.
func ipv4Frame(to mac, protocol uint8, src, dst netip.Addr, payload []byte) []byte {
	frame := make([]byte, ethernetHeader+ipv4Header+len(payload))
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(gatewayMAC[:]), DstAddr: tcpip.LinkAddress(to[:]), Type: header.IPv4ProtocolNumber,
	})
	ip := header.IPv4(frame[ethernetHeader:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(ip)), TTL: 64, Protocol: protocol, SrcAddr: address(src), DstAddr: address(dst),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	copy(frame[ethernetHeader+ipv4Header:], payload)
	return frame
}

// udpFrame returns a frame from the gateway with one UDP datagram.
func udpFrame(to mac, src, dst netip.AddrPort, payload []byte) []byte {
	datagram := make(header.UDP, udpHeader+len(payload))
	copy(datagram[udpHeader:], payload)
	datagram.Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(len(datagram))})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, address(src.Addr()), address(dst.Addr()), uint16(len(datagram)))
	datagram.SetChecksum(^checksum.Checksum(datagram, sum))
	return ipv4Frame(to, protocolUDP, src.Addr(), dst.Addr(), datagram)
}

// prohibit answers a frame that may not leave with the ICMP error "administratively
// prohibited", so that the machine's program fails at once instead of waiting. It
// is silent where RFC 1122 forbids an answer.
func prohibit(gateway netip.Addr, frame []byte, reply func(frame []byte)) {
	packet := header.IPv4(frame[ethernetHeader:])
	if packet.FragmentOffset() != 0 || packet.Protocol() == protocolICMP && !isEcho(packet) {
		return
	}
	quote := packet[:min(len(packet), int(packet.HeaderLength())+8)]
	message := make(header.ICMPv4, header.ICMPv4MinimumSize+len(quote))
	message.SetType(header.ICMPv4DstUnreachable)
	message.SetCode(header.ICMPv4AdminProhibited)
	copy(message[header.ICMPv4MinimumSize:], quote)
	message.SetChecksum(header.ICMPv4Checksum(message, 0))
	reply(ipv4Frame(mac(frame[6:12]), protocolICMP, gateway, fromAddress(packet.SourceAddress()), message))
}

// isEcho tells whether an ICMP packet is a whole echo request.
func isEcho(packet header.IPv4) bool {
	n := int(packet.HeaderLength())
	return packet.FragmentOffset() == 0 && !packet.More() &&
		int(packet.TotalLength()) >= n+header.ICMPv4MinimumSize && packet[n] == byte(header.ICMPv4Echo)
}
