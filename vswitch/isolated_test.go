package vswitch

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// ipv6Frame returns an IPv6 packet with one header and payload.
func ipv6Frame(to, source mac, next byte, src, dst string, payload []byte) []byte {
	frame := append(append(append([]byte{}, to[:]...), source[:]...), 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(payload)), next, 255)
	frame = append(append(frame, netip.MustParseAddr(src).AsSlice()...), netip.MustParseAddr(dst).AsSlice()...)
	return append(frame, payload...)
}

// neighbour returns an ICMPv6 neighbour solicitation (135), advertisement (136) or
// router advertisement (134) about target.
func neighbour(kind byte, to, source mac, src, dst, target string) []byte {
	payload := append([]byte{kind, 0, 0, 0, 0x60, 0, 0, 0}, netip.MustParseAddr(target).AsSlice()...)
	return ipv6Frame(to, source, 58, src, dst, append(append(payload, 2, 1), source[:]...))
}

// between are frames of every kind from one machine to another, by name.
func between(a, b *guest) map[string][]byte {
	const own, other, all = "fe80::5054:ff:fe00:1", "fe80::5054:ff:fe00:2", "ff02::1"
	allNodes := mac{0x33, 0x33, 0, 0, 0, 1}
	routed := datagram(gatewayMAC, a.mac, a.IP.String()+":9", testPlan.Gateway.String()+":9")
	routed = append(routed[:ethernetHeader+ipv4Header:ethernetHeader+ipv4Header], append([]byte{131, 7, 4, 10, 80, 1, b.mac[5], 0}, routed[ethernetHeader+ipv4Header:]...)...)
	routed[ethernetHeader] = 0x47
	binary.BigEndian.PutUint16(routed[16:], uint16(len(routed)-ethernetHeader))
	return map[string][]byte{
		"an ARP request":              arpFrame(broadcastMAC, a.mac, 1, a.mac, a.IP, b.IP),
		"an ARP request to one":       arpFrame(b.mac, a.mac, 1, a.mac, a.IP, b.IP),
		"an ARP answer":               arpFrame(b.mac, a.mac, 2, a.mac, a.IP, b.IP),
		"a gratuitous ARP":            arpFrame(broadcastMAC, a.mac, 2, a.mac, a.IP, a.IP),
		"a datagram":                  datagram(b.mac, a.mac, a.IP.String()+":9", b.IP.String()+":9"),
		"a broadcast":                 datagram(broadcastMAC, a.mac, a.IP.String()+":9", "10.80.255.255:9"),
		"a multicast":                 datagram(mac{1, 0, 0x5e, 0, 0, 0xfb}, a.mac, a.IP.String()+":5353", "224.0.0.251:5353"),
		"a datagram with a route":     routed,
		"a part of a datagram":        fragment(datagram(b.mac, a.mac, a.IP.String()+":9", b.IP.String()+":9"), 2, false),
		"an echo request":             message(b.mac, a.mac, a.IP, b.IP, 8),
		"an echo by the gateway":      message(gatewayMAC, a.mac, a.IP, b.IP, 8),
		"a broadcast by the gateway":  datagram(gatewayMAC, a.mac, a.IP.String()+":9", "10.80.255.255:9"),
		"a datagram by the gateway":   datagram(gatewayMAC, a.mac, a.IP.String()+":9", b.IP.String()+":9"),
		"an IPv6 packet":              ipv6Frame(b.mac, a.mac, protocolUDP, own, other, []byte{0, 9, 0, 9, 0, 8, 0, 0}),
		"an IPv6 multicast":           ipv6Frame(allNodes, a.mac, protocolUDP, own, all, []byte{0, 9, 0, 9, 0, 8, 0, 0}),
		"a neighbour solicitation":    neighbour(135, allNodes, a.mac, own, all, other),
		"a neighbour advertisement":   neighbour(136, b.mac, a.mac, own, other, own),
		"an advertisement of another": neighbour(136, b.mac, a.mac, other, other, other),
		"a router advertisement":      neighbour(134, allNodes, a.mac, own, all, own),
	}
}

// Nothing that one isolated machine sends reaches another, nor a machine that is
// not isolated, nor does anything of that one's reach it.
func TestIsolatedMachinesDoNotMeet(t *testing.T) {
	dir := newDir(t)
	a, b, open, other := newGuest(t, dir, 1), newGuest(t, dir, 2), newGuest(t, dir, 3), newGuest(t, dir, 4)
	a.Isolated, b.Isolated = true, true
	newWorld(t, testPlan, dir, a, b, open, other)
	for _, pair := range [][2]*guest{{a, b}, {a, open}, {open, a}} {
		for name, frame := range between(pair[0], pair[1]) {
			pair[0].send(frame)
			if got := heard(pair[1], pair[0], 10*time.Millisecond); got != nil {
				t.Errorf("%s from %s reached %s: %x", name, pair[0].Machine, pair[1].Machine, got)
			}
		}
	}
	open.send(datagram(other.mac, open.mac, "10.80.1.3:9", "10.80.1.4:9"))
	if !saw(other, datagram(other.mac, open.mac, "10.80.1.3:9", "10.80.1.4:9"), patience) {
		t.Error("machines that are not isolated do not meet either")
	}
}

// heard returns a frame that g gets within wait and that is of from: its MAC's, or its
// address's, whoever has passed it on.
func heard(g, from *guest, wait time.Duration) []byte {
	limit := time.After(wait)
	for {
		select {
		case got := <-g.frames:
			sender := got[26:30] // of IPv4
			if etherType(got) == typeARP {
				sender = got[28:32]
			}
			if mac(got[6:12]) == from.mac || bytes.Equal(sender, from.IP.AsSlice()) {
				return got
			}
		case <-limit:
			return nil
		}
	}
}

// IPv6 passes nowhere, so nobody's address of that kind can be taken.
func TestIPv6IsNotCarried(t *testing.T) {
	dir := newDir(t)
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	w := newWorld(t, testPlan, dir, a, b)
	refused := uint64(0)
	for name, frame := range between(a, b) {
		if etherType(frame) != 0x86dd {
			continue
		}
		refused++
		a.send(frame)
		eventually(t, name+" refused", func() bool { return w.status()["m1"].Refused == refused })
		if saw(b, frame, 5*time.Millisecond) {
			t.Errorf("%s passed", name)
		}
	}
	if refused < 5 {
		t.Errorf("%d kinds of IPv6 frames were sent, want all of them", refused)
	}
}

// An isolated machine has its lease, its gateway and the host's dial-in.
func TestIsolatedMachineHasItsGateway(t *testing.T) {
	dir := newDir(t)
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	a.Isolated, b.Isolated = true, true
	w := newWorld(t, testPlan, dir, a, b)
	a.send(arpFrame(broadcastMAC, a.mac, 1, a.mac, a.IP, testPlan.Gateway))
	if !saw(a, arpReply(a), patience) {
		t.Error("the gateway did not answer")
	}
	b.echo(22)
	conn, err := Dial(context.Background(), w.control, at(b, 22))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := roundTrip(conn, []byte("from the host")); err != nil {
		t.Error(err)
	}
	if conn, err := a.dial(at(b, 22), 300*time.Millisecond); err == nil {
		conn.Close()
		t.Error("an isolated machine reached another")
	}
}

// arpReply is what the gateway answers to g's request.
func arpReply(g *guest) []byte {
	frame := append(append(append([]byte{}, g.mac[:]...), gatewayMAC[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	frame = append(append(frame, gatewayMAC[:]...), testPlan.Gateway.AsSlice()...)
	return append(append(frame, g.mac[:]...), g.IP.AsSlice()...)
}
