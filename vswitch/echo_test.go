package vswitch

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// echoFrame returns a ping from the guest.
func echoFrame(g *guest, to netip.Addr, ident, sequence uint16) []byte {
	message := make(header.ICMPv4, header.ICMPv4MinimumSize+4)
	message.SetType(header.ICMPv4Echo)
	message.SetIdent(ident)
	message.SetSequence(sequence)
	copy(message[header.ICMPv4MinimumSize:], "ping")
	message.SetChecksum(header.ICMPv4Checksum(message, 0))
	frame := ipv4Frame(gatewayMAC, protocolICMP, g.IP, to, message)
	copy(frame[6:12], g.mac[:])
	return frame
}

// icmpAnswer returns the next ICMP message to the guest and its sender, or nil.
func icmpAnswer(g *guest) (header.ICMPv4, netip.Addr) {
	limit := time.After(patience)
	for {
		select {
		case frame := <-g.frames:
			packet := header.IPv4(frame[ethernetHeader:])
			if etherType(frame) == typeIPv4 && packet.Protocol() == protocolICMP {
				return header.ICMPv4(packet.Payload()), fromAddress(packet.SourceAddress())
			}
		case <-limit:
			return nil, netip.Addr{}
		}
	}
}

// echoHost is the outside: what is sent to it comes back as the kernel gives it,
// with an identifier of its own, and not alone.
type echoHost struct {
	net.PacketConn
	answers chan header.ICMPv4
	from    net.Addr
}

func (h *echoHost) WriteTo(b []byte, to net.Addr) (int, error) {
	h.from = to
	other := append(header.ICMPv4{}, b...)
	other.SetType(header.ICMPv4EchoReply)
	other.SetSequence(other.Sequence() + 1)
	h.answers <- other
	answer := append(header.ICMPv4{}, b...)
	answer.SetType(header.ICMPv4EchoReply)
	answer.SetIdent(4711)
	h.answers <- answer
	return len(b), nil
}

func (h *echoHost) ReadFrom(b []byte) (int, net.Addr, error) {
	return copy(b, <-h.answers), h.from, nil
}

func (h *echoHost) SetDeadline(time.Time) error { return nil }
func (h *echoHost) Close() error                { return nil }

func TestNATCarriesPing(t *testing.T) {
	a, s := natWorld(t, &net.TCPAddr{})
	s.gateway.nat.pinger = func() (net.PacketConn, error) {
		return &echoHost{answers: make(chan header.ICMPv4, 2)}, nil
	}
	outside, host := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("198.51.100.1")
	s.gateway.nat.mine = func() ([]netip.Addr, error) { return []netip.Addr{host}, nil }
	a.send(echoFrame(a, outside, 99, 7))
	answer, from := icmpAnswer(a)
	if answer == nil || answer.Type() != header.ICMPv4EchoReply || from != outside ||
		answer.Ident() != 99 || answer.Sequence() != 7 || string(answer.Payload()) != "ping" {
		t.Errorf("answer = %x from %v", answer, from)
	}
	a.send(echoFrame(a, host, 99, 8))
	if answer, from := icmpAnswer(a); answer == nil || answer.Type() != header.ICMPv4DstUnreachable {
		t.Errorf("the host's answer = %x from %v, want none from it", answer, from)
	}
}

// What cannot be pinged does not seem to answer: not an outside that the kernel
// does not let us ping, nor loopback, nor anything without NAT.
func TestPingIsHonest(t *testing.T) {
	outside := netip.MustParseAddr("203.0.113.7")
	natted, s := natWorld(t, &net.TCPAddr{})
	s.gateway.nat.pinger = func() (net.PacketConn, error) { return nil, errors.New("not permitted") }
	alone := newGuest(t, newDir(t), 1)
	newTestSegment(t, testPlan, alone)
	for _, test := range []struct {
		name string
		from *guest
		to   netip.Addr
		want header.ICMPv4Type
	}{
		{"the gateway with NAT", natted, testPlan.Gateway, header.ICMPv4EchoReply},
		{"the gateway without NAT", alone, testPlan.Gateway, header.ICMPv4EchoReply},
		{"outside, not permitted", natted, outside, header.ICMPv4DstUnreachable},
		{"outside without NAT", alone, outside, header.ICMPv4DstUnreachable},
		{"loopback", natted, netip.MustParseAddr("127.0.0.1"), header.ICMPv4DstUnreachable},
	} {
		test.from.send(arpFrame(broadcastMAC, test.from.mac, 1, test.from.mac, test.from.IP, testPlan.Gateway))
		test.from.send(echoFrame(test.from, test.to, 1, 1))
		answer, from := icmpAnswer(test.from)
		if answer == nil || answer.Type() != test.want || from != testPlan.Gateway {
			t.Errorf("%s: answer = %x from %v, want type %v from the gateway", test.name, answer, from, test.want)
		}
	}
}
