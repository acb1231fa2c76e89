package vswitch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

func noDial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("not in this test")
}

// The host is not reachable from a machine, with or without NAT: not through the
// gateway, not on its loopback, not by its own addresses.
func TestHostIsOutOfReach(t *testing.T) {
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var reached atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	targets, err := hostAddresses()
	if err != nil {
		t.Fatal(err)
	}
	targets = append(targets, testPlan.Gateway, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.1.2.3"),
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("10.80.255.255"), netip.MustParseAddr("255.255.255.255"))
	for _, nat := range []bool{false, true} {
		dir := newDir(t)
		a := newGuest(t, dir, 1)
		plan := testPlan
		plan.NAT = nat
		newWorld(t, plan, dir, a)
		for _, ip := range targets {
			to := netip.AddrPortFrom(ip, port)
			if conn, err := a.dial(to, 200*time.Millisecond); err == nil {
				conn.Close()
				t.Errorf("NAT %v: a connection to %s succeeded", nat, to)
			}
			// The guest's own stack would not send some of these: make it.
			a.send(synFrame(a, to))
		}
		time.Sleep(50 * time.Millisecond)
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the host was reached %d times", n)
	}
	// The listener can be reached where it should be: the test can fail.
	conn, err := net.DialTimeout("tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	eventually(t, "the host reaches itself", func() bool { return reached.Load() == 1 })
}

// synFrame returns the first packet of a TCP connection, through the gateway.
func synFrame(g *guest, to netip.AddrPort) []byte {
	segment := make(header.TCP, header.TCPMinimumSize)
	segment.Encode(&header.TCPFields{SrcPort: 40000, DstPort: to.Port(), SeqNum: 1,
		DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 65535})
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, address(g.IP), address(to.Addr()), uint16(len(segment)))
	segment.SetChecksum(^segment.CalculateChecksum(sum))
	frame := ipv4Frame(gatewayMAC, uint8(header.TCPProtocolNumber), g.IP, to.Addr(), segment)
	copy(frame[6:12], g.mac[:])
	return frame
}

// Without NAT nothing can leave: the stack has no forwarder and takes no packet but
// its own, and the machine is told so at once.
func TestNothingLeavesWithoutNAT(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	s := newTestSegment(t, testPlan, a)
	if s.gateway.nat != nil {
		t.Error("there is a NAT")
	}
	start := time.Now()
	conn, err := a.dial(netip.MustParseAddrPort("203.0.113.7:80"), patience)
	if err == nil {
		conn.Close()
		t.Fatal("a connection to the outside succeeded")
	}
	if d := time.Since(start); d > patience/4 {
		t.Errorf("the machine had to wait %v to learn that nothing leaves", d)
	}
}

// newTestSegment runs a segment without its process around it.
func newTestSegment(t *testing.T, plan Plan, guests ...*guest) *segment {
	t.Helper()
	plan, err := plan.checked()
	if err != nil {
		t.Fatal(err)
	}
	ports := func(context.Context) (ports []Port, err error) {
		for _, g := range guests {
			ports = append(ports, g.Port)
		}
		return ports, nil
	}
	s, err := newSegment(plan, ports, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if unconnected, err := s.sync(context.Background()); err != nil || unconnected != nil {
		t.Fatal(unconnected, err)
	}
	return s
}

// testOutside is the only host outside.
const testOutside = "203.0.113.7:443"

// natWorld runs a network with NAT whose outside is this test: what is dialled is
// the address to, whatever it was.
func natWorld(t *testing.T, to net.Addr) (*guest, *segment) {
	t.Helper()
	a := newGuest(t, newDir(t), 1)
	plan := testPlan
	plan.NAT = true
	s := newTestSegment(t, plan)
	s.gateway.nat.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != testOutside {
			return nil, errors.New("dialled " + address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, to.String())
	}
	s.ask = func(context.Context) ([]Port, error) { return []Port{a.Port}, nil }
	if unconnected, err := s.sync(context.Background()); err != nil || unconnected != nil {
		t.Fatal(unconnected, err)
	}
	return a, s
}

func TestNATCarriesTCP(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go echo(listener)
	a, _ := natWorld(t, listener.Addr())
	conn, err := a.dial(netip.MustParseAddrPort(testOutside), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := roundTrip(conn, bytes.Repeat([]byte("x"), 500_000)); err != nil {
		t.Error(err)
	}
	listener.Close()
	if conn, err := a.dial(netip.MustParseAddrPort(testOutside), patience); err == nil {
		conn.Close()
		t.Error("a connection that is refused outside succeeded inside")
	}
}

func TestNATCarriesUDP(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			server.WriteTo(buf[:n], from)
		}
	}()
	a, _ := natWorld(t, server.LocalAddr())
	remote := tcpip.FullAddress{Addr: address(netip.MustParseAddr("203.0.113.7")), Port: 443}
	conn, err := gonet.DialUDP(a.stack, nil, &remote, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	for _, size := range []int{1, 1400, 9000} {
		data := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 65535)
		n, err := conn.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], data) {
			t.Fatalf("%d bytes came back (%v), want %d", n, err, size)
		}
	}
}

// A gateway that answers for other hosts would show an outside that is not there.
func TestNATAnswersForNobody(t *testing.T) {
	a, _ := natWorld(t, &net.TCPAddr{})
	b := mac{0x52, 0x54, 0, 0, 0, 9}
	for name, frame := range map[string][]byte{
		"ARP for a machine":                  arpFrame(broadcastMAC, a.mac, 1, a.mac, a.IP, netip.MustParseAddr("10.80.1.9")),
		"ARP for outside":                    arpFrame(broadcastMAC, a.mac, 1, a.mac, a.IP, netip.MustParseAddr("203.0.113.7")),
		"to a machine by way of the gateway": datagram(gatewayMAC, a.mac, "10.80.1.1:9", "10.80.1.9:9"),
		"a broadcast":                        datagram(broadcastMAC, a.mac, "10.80.1.1:9", "10.80.255.255:9"),
		"to nobody":                          datagram(b, a.mac, "10.80.1.1:9", "10.80.1.9:9"),
	} {
		a.send(frame)
		select {
		case got := <-a.frames:
			t.Errorf("%s: answered with %x", name, got)
		case <-time.After(50 * time.Millisecond):
		}
	}
	a.send(arpFrame(broadcastMAC, a.mac, 1, a.mac, a.IP, testPlan.Gateway))
	select {
	case <-a.frames:
	case <-time.After(patience):
		t.Error("the gateway did not answer for itself")
	}
}

func TestOutside(t *testing.T) {
	n := newNAT(testPlan.Subnet, nil)
	for ip, want := range map[string]bool{
		"8.8.8.8": true, "192.168.1.1": true, "10.81.0.1": true, "172.17.0.1": true,
		"10.80.0.1": false, "10.80.3.4": false, "127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false,
		"0.1.2.3": false, "169.254.169.254": false, "224.0.0.1": false, "255.255.255.255": false, "250.1.1.1": false,
	} {
		if got := n.outside(netip.MustParseAddr(ip)); got != want {
			t.Errorf("outside(%s) = %v, want %v", ip, got, want)
		}
	}
}
