package vswitch

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// dialLimit is how long an outside host may take to answer.
	dialLimit = 10 * time.Second
	// udpIdle is how long a silent UDP flow is kept: what RFC 4787 asks at least.
	udpIdle = 2 * time.Minute
	// handshakes is how many TCP connections may be on their way out at once.
	handshakes = 4096
)

// A nat lets machines reach hosts outside: each of their flows is carried on by a
// socket of the switch. The host itself is not outside: its loopback cannot be
// reached, nor its other addresses, because firewalls trust what comes from within.
type nat struct {
	subnet netip.Prefix
	flows  *flows
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	pinger func() (net.PacketConn, error)
	mine   func() ([]netip.Addr, error) // the host's own addresses
}

func newNAT(subnet netip.Prefix, flows *flows) *nat {
	return &nat{subnet: subnet, flows: flows, dial: (&net.Dialer{Timeout: dialLimit}).DialContext,
		pinger: newPinger, mine: hostAddresses}
}

// install makes s accept packets to any address, TCP and UDP, as its own.
func (n *nat) install(s *stack.Stack) {
	s.SetSpoofing(nic, true)
	s.SetPromiscuousMode(nic, true)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, 0, handshakes, n.forwardTCP).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, n.forwardUDP).HandlePacket)
}

// notOutside are the prefixes that never lead to another host, or that a machine
// has no business with: this host, loopback, link-local (cloud metadata services),
// multicast and reserved.
var notOutside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"),
}

// outside tells whether ip can be the address of a host outside.
func (n *nat) outside(ip netip.Addr) bool {
	for _, p := range notOutside {
		if p.Contains(ip) {
			return false
		}
	}
	return !n.subnet.Contains(ip)
}

// permit returns an error unless a machine may reach ip.
func (n *nat) permit(ip netip.Addr) error {
	if !n.outside(ip) {
		return net.InvalidAddrError("not outside")
	}
	mine, err := n.mine()
	if err != nil {
		return err
	}
	if slices.Contains(mine, ip) {
		return net.InvalidAddrError("the host itself")
	}
	return nil
}

// connect dials the host outside that a flow is for.
func (n *nat) connect(ctx context.Context, network string, id stack.TransportEndpointID) (net.Conn, error) {
	to := netip.AddrPortFrom(fromAddress(id.LocalAddress), id.LocalPort)
	if err := n.permit(to.Addr()); err != nil {
		return nil, err
	}
	return n.dial(ctx, network, to.String())
}

// hostAddresses returns the IPv4 addresses of the computer clade runs on.
func hostAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().Is4() {
			ips = append(ips, p.Addr().Unmap())
		}
	}
	return ips, nil
}

// forwardTCP runs in a goroutine of its own for each connection.
func (n *nat) forwardTCP(r *tcp.ForwarderRequest) {
	ctx, end, ok := n.flows.begin(context.Background(), fromAddress(r.ID().RemoteAddress))
	if !ok {
		r.Complete(true)
		return
	}
	defer end()
	outside, err := n.connect(ctx, "tcp4", r.ID())
	if err != nil {
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	endpoint, failed := r.CreateEndpoint(&queue)
	r.Complete(false)
	if failed != nil {
		outside.Close()
		return
	}
	// A machine that was reset has forgotten its connections and does not end them.
	idle := tcpip.KeepaliveIdleOption(time.Minute)
	endpoint.SetSockOpt(&idle)
	endpoint.SocketOptions().SetKeepAlive(true)
	join(ctx, gonet.NewTCPConn(&queue, endpoint), outside.(halfConn))
}

// forwardUDP is called by the stack, for the first datagram of each flow.
func (n *nat) forwardUDP(r *udp.ForwarderRequest) {
	ctx, end, ok := n.flows.begin(context.Background(), fromAddress(r.ID().RemoteAddress))
	if !ok {
		return
	}
	var queue waiter.Queue
	endpoint, failed := r.CreateEndpoint(&queue)
	if failed != nil {
		end()
		return
	}
	inside := gonet.NewUDPConn(&queue, endpoint)
	go func() {
		defer end()
		defer inside.Close()
		outside, err := n.connect(ctx, "udp4", r.ID())
		if err != nil {
			return
		}
		defer outside.Close()
		joinDatagrams(ctx, inside, outside)
	}()
}

// joinDatagrams carries datagrams both ways until neither side has sent one for
// udpIdle, or ctx ends.
func joinDatagrams(ctx context.Context, a, b net.Conn) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	silence := time.AfterFunc(udpIdle, stop)
	defer silence.Stop()
	done := make(chan struct{})
	carry := func(dst, src net.Conn) {
		defer stop()
		buf := make([]byte, 65535)
		for {
			k, err := src.Read(buf)
			if err != nil {
				return
			}
			silence.Reset(udpIdle)
			// A datagram that cannot be sent is lost, as datagrams are.
			dst.Write(buf[:k])
		}
	}
	go func() {
		defer close(done)
		carry(a, b)
	}()
	defer func() { <-done }()
	context.AfterFunc(ctx, func() {
		a.Close()
		b.Close()
	})
	carry(b, a)
}
