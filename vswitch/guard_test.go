package vswitch

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// arpFrame returns an ARP packet: op 1 asks, 2 answers.
func arpFrame(to, source mac, op byte, sender mac, senderIP, target netip.Addr) []byte {
	frame := append(append(append([]byte{}, to[:]...), source[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, op)
	frame = append(append(frame, sender[:]...), senderIP.AsSlice()...)
	return append(append(frame, make([]byte, 6)...), target.AsSlice()...)
}

// datagram returns a UDP frame from source.
func datagram(to, source mac, src, dst string) []byte {
	frame := udpFrame(to, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), []byte("hello"))
	copy(frame[6:12], source[:])
	return frame
}

// raw returns a frame with this type, or length, and payload.
func raw(to, source mac, kind uint16, payload ...byte) []byte {
	frame := append(append([]byte{}, to[:]...), source[:]...)
	return append(binary.BigEndian.AppendUint16(frame, kind), payload...)
}

// within returns a frame's IP packet behind a header of another type.
func within(frame []byte, kind uint16, between ...byte) []byte {
	return raw(mac(frame[0:6]), mac(frame[6:12]), kind, append(between, frame[ethernetHeader:]...)...)
}

// fragment makes an IPv4 frame a fragment at offset, in 8 bytes; more follow or not.
func fragment(frame []byte, offset uint16, more bool) []byte {
	frame = bytes.Clone(frame)
	if more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(frame[20:], offset)
	return frame
}

// ipv4Of returns an IPv4 frame from source.
func ipv4Of(to, source mac, protocol uint8, src, dst netip.Addr, payload ...byte) []byte {
	frame := ipv4Frame(to, protocol, src, dst, payload)
	copy(frame[6:12], source[:])
	return frame
}

// message returns an ICMP frame from source.
func message(to, source mac, src, dst netip.Addr, kind byte) []byte {
	return ipv4Of(to, source, protocolICMP, src, dst, append([]byte{kind, 0, 0, 0}, make([]byte, 32)...)...)
}

func TestSpoofedFramesAreDropped(t *testing.T) {
	dir := newDir(t)
	a, b, c := newGuest(t, dir, 1), newGuest(t, dir, 2), newGuest(t, dir, 3)
	w := newWorld(t, testPlan, dir, a, b, c)
	own := datagram(b.mac, a.mac, "10.80.1.1:9", "10.80.1.2:9")
	server := datagram(b.mac, a.mac, "10.80.1.1:67", "10.80.1.2:68")
	tiny := fragment(server[:ethernetHeader+ipv4Header+4], 0, true)
	binary.BigEndian.PutUint16(tiny[16:], ipv4Header+4)
	short := datagram(b.mac, a.mac, "10.80.1.1:9", "10.80.1.2:9")
	long := datagram(b.mac, a.mac, "10.80.1.1:9", "10.80.1.2:9")
	long[ethernetHeader] = 0x4f
	claims := datagram(broadcastMAC, a.mac, "10.80.1.1:68", "255.255.255.255:67")
	claims[16] = 0x30 // a length of 12 KiB
	frames := map[string][]byte{
		"another's MAC":                 datagram(b.mac, c.mac, "10.80.1.1:9", "10.80.1.2:9"),
		"the gateway's MAC":             datagram(b.mac, gatewayMAC, "10.80.0.1:9", "10.80.1.2:9"),
		"another's address":             datagram(b.mac, a.mac, "10.80.1.3:9", "10.80.1.2:9"),
		"the gateway's address":         datagram(b.mac, a.mac, "10.80.0.1:53", "10.80.1.2:9"),
		"an address outside":            datagram(b.mac, a.mac, "8.8.8.8:53", "10.80.1.2:9"),
		"no address":                    datagram(broadcastMAC, a.mac, "0.0.0.0:9", "255.255.255.255:9"),
		"a DHCP server":                 datagram(b.mac, a.mac, "10.80.1.1:67", "255.255.255.255:68"),
		"a fragment of another's":       fragment(datagram(b.mac, a.mac, "10.80.1.3:9", "10.80.1.2:9"), 5, false),
		"a DHCP server, to one":         server,
		"a DHCP server's first part":    fragment(server, 0, true),
		"a first part without its port": tiny,
		"an ICMP redirect":              message(b.mac, a.mac, a.IP, b.IP, icmpRedirect),
		"an ICMP router":                message(broadcastMAC, a.mac, a.IP, netip.MustParseAddr("224.0.0.1"), icmpRouterAdvert),
		"an ICMP message of no type":    ipv4Of(b.mac, a.mac, protocolICMP, a.IP, b.IP),
		"an ARP probe for another's":    arpFrame(broadcastMAC, a.mac, 1, a.mac, netip.IPv4Unspecified(), b.IP),
		"reverse ARP":                   within(arpFrame(broadcastMAC, a.mac, 3, a.mac, a.IP, b.IP), 0x8035),
		"ARP for another":               arpFrame(broadcastMAC, a.mac, 2, a.mac, c.IP, b.IP),
		"ARP for the gateway":           arpFrame(broadcastMAC, a.mac, 2, a.mac, testPlan.Gateway, b.IP),
		"ARP with another's MAC inside": arpFrame(broadcastMAC, a.mac, 2, c.mac, a.IP, b.IP),
		"an ARP answer from nobody":     arpFrame(broadcastMAC, a.mac, 2, a.mac, netip.IPv4Unspecified(), b.IP),
		"half an ARP packet":            arpFrame(broadcastMAC, a.mac, 1, a.mac, a.IP, b.IP)[:30],
		"half an IPv4 header":           short[:ethernetHeader+10],
		"options beyond the packet":     long,
		"more than the packet has":      claims,
		"half a UDP header":             short[:ethernetHeader+ipv4Header+4],
		"IPv6":                          raw(b.mac, a.mac, 0x86dd, 0x60, 0),
		"a VLAN tag":                    within(own, 0x8100, 0, 1, 8, 0),
		"a VLAN tag of priority":        within(own, 0x8100, 0xe0, 0, 8, 0),
		"two VLAN tags":                 within(own, 0x88a8, 0, 1, 0x81, 0, 0, 2, 8, 0),
		"IPv4 in a SNAP frame":          within(own, uint16(8+len(own)-ethernetHeader), 0xaa, 0xaa, 3, 0, 0, 0, 8, 0),
		"a bridge's spanning tree":      raw(mac{1, 0x80, 0xc2, 0, 0, 0}, a.mac, 38, 0x42, 0x42, 3, 0, 0, 0, 0, 0),
		"a pause":                       raw(mac{1, 0x80, 0xc2, 0, 0, 1}, a.mac, 0x8808, 0, 1, 0xff, 0xff),
		"PPPoE":                         within(own, 0x8864, 0x11, 0, 0, 1, 0, 30, 0, 0x21),
	}
	before := w.status()["m1"].Refused
	for name, frame := range frames {
		a.send(frame)
		refused := before + 1
		eventually(t, name+" refused", func() bool { before = w.status()["m1"].Refused; return before >= refused })
	}
	for _, g := range []*guest{b, c} {
		select {
		case frame := <-g.frames:
			t.Errorf("%s saw a frame that should have been dropped: %x", g.Machine, frame)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// What is the machine's own passes, and goes to whom it is for and nobody else.
func TestOwnFramesPass(t *testing.T) {
	dir := newDir(t)
	a, b, c := newGuest(t, dir, 1), newGuest(t, dir, 2), newGuest(t, dir, 3)
	w := newWorld(t, testPlan, dir, a, b, c)
	for _, test := range []struct {
		name  string
		frame []byte
		toC   bool
	}{
		{"a datagram", datagram(b.mac, a.mac, "10.80.1.1:9", "10.80.1.2:9"), false},
		{"a broadcast", datagram(broadcastMAC, a.mac, "10.80.1.1:9", "10.80.255.255:9"), true},
		{"a multicast", datagram(mac{1, 0, 0x5e, 0, 0, 0xfb}, a.mac, "10.80.1.1:5353", "224.0.0.251:5353"), true},
		{"an ARP request", arpFrame(broadcastMAC, a.mac, 1, a.mac, a.IP, b.IP), true},
		{"an ARP probe", arpFrame(broadcastMAC, a.mac, 1, a.mac, netip.IPv4Unspecified(), a.IP), true},
		{"an ARP answer", arpFrame(b.mac, a.mac, 2, a.mac, a.IP, b.IP), false},
		{"a first part", fragment(datagram(b.mac, a.mac, "10.80.1.1:9", "10.80.1.2:9"), 0, true), false},
		{"a later part", fragment(ipv4Of(b.mac, a.mac, protocolUDP, a.IP, b.IP, 0, 67, 0, 68), 3, false), false},
		{"an ICMP error", message(b.mac, a.mac, a.IP, b.IP, 3), false},
	} {
		a.send(test.frame)
		if !saw(b, test.frame, patience) {
			t.Errorf("%s did not arrive", test.name)
		}
		if wait := patience; test.toC != saw(c, test.frame, map[bool]time.Duration{true: wait, false: 20 * time.Millisecond}[test.toC]) {
			t.Errorf("%s: the third machine saw it %v, want %v", test.name, !test.toC, test.toC)
		}
		if saw(a, test.frame, 0) {
			t.Errorf("%s came back to its sender", test.name)
		}
	}
	if refused := w.status()["m1"].Refused; refused != 0 {
		t.Errorf("%d frames refused", refused)
	}
}

// saw tells whether the guest receives this very frame within wait.
func saw(g *guest, frame []byte, wait time.Duration) bool {
	limit := time.After(wait)
	for {
		select {
		case got := <-g.frames:
			if string(got) == string(frame) {
				return true
			}
		case <-limit:
			return false
		}
	}
}

// A machine that says it is another does not get the other's traffic.
func TestTrafficCannotBeTaken(t *testing.T) {
	dir := newDir(t)
	a, victim, thief := newGuest(t, dir, 1), newGuest(t, dir, 2), newGuest(t, dir, 3)
	w := newWorld(t, testPlan, dir, a, victim, thief)
	victim.echo(80)
	a.mustTalk(at(victim, 80))
	for range 20 {
		thief.send(datagram(a.mac, victim.mac, "10.80.1.2:9", "10.80.1.1:9"))
		thief.send(arpFrame(broadcastMAC, thief.mac, 2, thief.mac, victim.IP, a.IP))
	}
	eventually(t, "theft refused", func() bool { return w.status()["m3"].Refused == 40 })
	a.mustTalk(at(victim, 80))
	for {
		select {
		case frame := <-thief.frames:
			if destination(frame) == victim.mac {
				t.Fatalf("the thief got %x", frame)
			}
			continue
		default:
		}
		return
	}
}

// Whatever a machine sends, the switch goes on.
func FuzzFrame(f *testing.F) {
	a := mac{0x52, 0x54, 0, 0, 0, 1}
	for _, nat := range []bool{false, true} {
		f.Add(nat, datagram(gatewayMAC, a, "10.80.1.1:9", "8.8.8.8:9"))
		f.Add(nat, datagram(broadcastMAC, a, "0.0.0.0:68", "255.255.255.255:67"))
		f.Add(nat, []byte("000000RT\x00\x00\x00\x01\b\x00E00000 \x000\x1100\nP\x01\x01000000\x00C0000")) // claims more than it has
		f.Add(nat, arpFrame(broadcastMAC, a, 1, a, netip.MustParseAddr("10.80.1.1"), testPlan.Gateway))
	}
	segments := map[bool]*segment{}
	for _, nat := range []bool{false, true} {
		plan, err := testPlan.checked()
		if err != nil {
			f.Fatal(err)
		}
		plan.NAT = nat
		s, err := newSegment(plan, nil, nil)
		if err != nil {
			f.Fatal(err)
		}
		if nat {
			s.gateway.nat.mine = hostAddresses
			s.gateway.nat.dial = noDial
		}
		defer s.close()
		segments[nat] = s
	}
	p, err := newPort(testPlan, Port{Machine: "m1", MAC: a.String(), IP: netip.MustParseAddr("10.80.1.1"), Socket: "s"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, nat bool, frame []byte) {
		if len(frame) < ethernetHeader || len(frame) > largestFrame {
			return
		}
		copy(frame[6:12], a[:])
		if etherType(frame) == typeIPv4 && len(frame) >= ethernetHeader+ipv4Header {
			copy(frame[26:30], []byte{10, 80, 1, 1})
		}
		segments[nat].fromMachine(p, frame)
	})
}
