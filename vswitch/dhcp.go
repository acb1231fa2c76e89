package vswitch

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// leaseTime is how long a machine may use its address before it asks again. The
// address is its own for life; this bounds only how long old options are used.
const leaseTime = time.Hour

// leaseFrame returns the answer to a frame judged lease, for p alone, or nil. What
// the machine gets depends on its port only, so that no claim in the request can
// get it anything else. A machine that asks for another address, such as the one
// its parent had, is told at once that it is not its own.
func leaseFrame(plan Plan, p *port, frame []byte) []byte {
	datagram := header.UDP(header.IPv4(frame[ethernetHeader:]).Payload())
	if len(datagram) < udpHeader || int(datagram.Length()) < udpHeader || int(datagram.Length()) > len(datagram) {
		return nil
	}
	request, err := dhcpv4.FromBytes(datagram[udpHeader:datagram.Length()])
	if err != nil || request.OpCode != dhcpv4.OpcodeBootRequest || !bytes.Equal(request.ClientHWAddr, p.mac[:]) {
		return nil
	}
	reply := leaseReply(plan, p, request)
	if reply == nil {
		return nil
	}
	broadcastIP := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	to, hardware := p.IP, p.mac
	if reply.MessageType() == dhcpv4.MessageTypeNak || request.IsBroadcast() && request.ClientIPAddr.IsUnspecified() {
		to, hardware = broadcastIP, broadcastMAC
	}
	return udpFrame(hardware, netip.AddrPortFrom(plan.Gateway, dhcpServerPort), netip.AddrPortFrom(to, dhcpClientPort), reply.ToBytes())
}

// leaseReply decides what to say to request, if anything.
func leaseReply(plan Plan, p *port, request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	own, gateway := net.IP(p.IP.AsSlice()), net.IP(plan.Gateway.AsSlice())
	if server := request.ServerIdentifier(); server != nil && !server.Equal(gateway) {
		return nil
	}
	reply, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(gateway)))
	if err != nil {
		return nil
	}
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		reply.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeOffer))
	case dhcpv4.MessageTypeRequest:
		wanted := request.RequestedIPAddress()
		if wanted == nil {
			wanted = request.ClientIPAddr
		}
		if !wanted.Equal(own) {
			reply.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
			reply.ClientIPAddr = net.IPv4zero
			return reply
		}
		reply.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeAck))
	case dhcpv4.MessageTypeInform:
		reply.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeAck))
		leaseOptions(plan, p, reply)
		return reply
	default:
		return nil
	}
	reply.YourIPAddr = own
	reply.UpdateOption(dhcpv4.OptIPAddressLeaseTime(leaseTime))
	leaseOptions(plan, p, reply)
	return reply
}

// leaseOptions adds what a machine is told besides its address.
func leaseOptions(plan Plan, p *port, reply *dhcpv4.DHCPv4) {
	gateway := net.IP(plan.Gateway.AsSlice())
	for _, option := range []dhcpv4.Option{
		dhcpv4.OptSubnetMask(net.CIDRMask(plan.Subnet.Bits(), 32)),
		dhcpv4.OptBroadcastAddress(broadcast(plan.Subnet).AsSlice()),
		dhcpv4.OptRouter(gateway),
		dhcpv4.OptDNS(gateway),
		dhcpv4.OptHostName(string(p.Machine)),
		dhcpv4.OptDomainName(plan.Domain),
		dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{plan.Domain}}),
		{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(MTU)},
	} {
		reply.UpdateOption(option)
	}
}
