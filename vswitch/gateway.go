package vswitch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nic is the number of the gateway's only interface in its own TCP/IP stack.
const nic = 1

// A gateway is the switch's own host on the network: a TCP/IP stack in user space
// that answers ARP, ping and DNS, carries dial-in, and NAT where the plan has it.
type gateway struct {
	plan  Plan
	stack *stack.Stack
	wire  *channel.Endpoint
	nat   *nat // nil: nothing leaves
	flows flows

	stop    context.CancelFunc
	running sync.WaitGroup
}

// newGateway starts the gateway. What it sends it gives to deliver, as frames.
// close must be called.
func newGateway(plan Plan, deliver func(frame []byte)) (*gateway, error) {
	g := &gateway{plan: plan, wire: channel.New(queueLength, MTU+ethernetHeader, tcpip.LinkAddress(gatewayMAC[:]))}
	// A Unix socket does not damage packets: their checksums need no second look.
	g.wire.LinkEPCapabilities = stack.CapabilityRXChecksumOffload
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.running.Go(func() { g.pump(ctx, deliver) })
	if err := g.configure(); err != nil {
		g.close()
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if plan.NAT {
		g.nat = newNAT(plan.Subnet, &g.flows)
		g.nat.install(g.stack)
	}
	return g, nil
}

// configure gives the stack its interface, address and route.
func (g *gateway) configure() error {
	if err := g.stack.CreateNIC(nic, ethernet.New(g.wire)); err != nil {
		return errors.New(err.String())
	}
	own := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{
		Address: address(g.plan.Gateway), PrefixLen: g.plan.Subnet.Bits()}}
	if err := g.stack.AddProtocolAddress(nic, own, stack.AddressProperties{}); err != nil {
		return errors.New(err.String())
	}
	subnet := own.AddressWithPrefix.Subnet()
	g.stack.SetRouteTable([]tcpip.Route{{Destination: subnet, NIC: nic}})
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	if err := g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &moderate); err != nil {
		return errors.New(err.String())
	}
	return nil
}

// pump delivers what the stack sends until ctx ends.
func (g *gateway) pump(ctx context.Context, deliver func(frame []byte)) {
	for {
		packet := g.wire.ReadContext(ctx)
		if packet == nil {
			return
		}
		b := packet.ToBuffer()
		deliver(b.Flatten())
		b.Release()
		packet.DecRef()
	}
}

// receive takes a frame that was judged forward and is addressed to the gateway or
// to all. An answer that is not the stack's own is given to reply, perhaps later.
//
// With NAT the stack would answer for any address; so what may reach it is decided
// here, and nothing is ever asked of it in another host's name.
func (g *gateway) receive(frame []byte, reply func(frame []byte)) {
	if etherType(frame) == typeARP {
		if arpTarget(frame) == g.plan.Gateway {
			g.inject(frame)
		}
		return
	}
	packet, dst := header.IPv4(frame[ethernetHeader:]), ipv4Target(frame)
	switch {
	case destination(frame) != gatewayMAC, dst.IsMulticast():
	case dst == g.plan.Gateway:
		g.inject(frame)
	case g.plan.Subnet.Contains(dst): // machines reach one another themselves
	case g.nat == nil || !g.nat.outside(dst):
		prohibit(g.plan.Gateway, frame, reply)
	case packet.Protocol() == protocolICMP && isEcho(packet):
		g.nat.echo(g.plan.Gateway, frame, reply)
	case packet.Protocol() == protocolTCP, packet.Protocol() == protocolUDP:
		g.inject(frame)
	default:
		prohibit(g.plan.Gateway, frame, reply)
	}
}

// inject gives a frame to the stack.
func (g *gateway) inject(frame []byte) {
	packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	g.wire.InjectInbound(0, packet)
	packet.DecRef()
}

// knows has the stack send what is for a machine there without asking first, for a
// second at a time, who has its address: that is not the machine's to say.
func (g *gateway) knows(p *port) error {
	if err := g.stack.AddStaticNeighbor(nic, ipv4.ProtocolNumber, address(p.IP), tcpip.LinkAddress(p.mac[:])); err != nil {
		return errors.New(err.String())
	}
	return nil
}

// dial connects to a TCP port of a machine.
func (g *gateway) dial(ctx context.Context, to netip.AddrPort) (*gonet.TCPConn, error) {
	return gonet.DialContextTCP(ctx, g.stack, tcpip.FullAddress{NIC: nic, Addr: address(to.Addr()), Port: to.Port()}, ipv4.ProtocolNumber)
}

// close ends every flow and the stack, and waits for them.
func (g *gateway) close() {
	g.flows.close()
	g.stack.Destroy()
	g.stop()
	g.running.Wait()
	g.wire.Close()
}
