package vswitch

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// askDHCP sends a DHCP message from the guest and returns the answer, or nil after
// wait. The Ethernet source is hardware.
func (g *guest) askDHCP(hardware mac, request *dhcpv4.DHCPv4, wait time.Duration) *dhcpv4.DHCPv4 {
	g.t.Helper()
	frame := udpFrame(broadcastMAC, netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), request.ToBytes())
	copy(frame[6:12], hardware[:])
	g.send(frame)
	for limit := time.Now().Add(wait); ; {
		reply := g.nextLease(time.Until(limit))
		if reply == nil || reply.TransactionID == request.TransactionID {
			return reply
		}
	}
}

// nextLease returns the next DHCP message that reaches the guest, or nil after wait.
func (g *guest) nextLease(wait time.Duration) *dhcpv4.DHCPv4 {
	limit := time.After(wait)
	for {
		select {
		case got := <-g.frames:
			if etherType(got) != typeIPv4 || got[23] != protocolUDP {
				continue
			}
			if reply, err := dhcpv4.FromBytes(got[ethernetHeader+ipv4Header+udpHeader:]); err == nil {
				return reply
			}
		case <-limit:
			return nil
		}
	}
}

func discover(t *testing.T, hardware mac, modifiers ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.NewDiscovery(hardware[:], modifiers...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLease(t *testing.T) {
	dir := newDir(t)
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	newWorld(t, testPlan, dir, a, b)
	for _, g := range []*guest{a, b} {
		offer := g.askDHCP(g.mac, discover(t, g.mac), patience)
		if offer == nil || offer.MessageType() != dhcpv4.MessageTypeOffer || !offer.YourIPAddr.Equal(g.IP.AsSlice()) {
			t.Fatalf("%s: offer = %v, want %s", g.Machine, offer, g.IP)
		}
		request, err := dhcpv4.NewRequestFromOffer(offer)
		if err != nil {
			t.Fatal(err)
		}
		ack := g.askDHCP(g.mac, request, patience)
		if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck || !ack.YourIPAddr.Equal(g.IP.AsSlice()) {
			t.Fatalf("%s: ack = %v, want %s", g.Machine, ack, g.IP)
		}
		checkOptions(t, g, ack)
	}
	for _, g := range []*guest{a, b} {
		if frame := g.nextLease(20 * time.Millisecond); frame != nil {
			t.Errorf("%s saw a lease for another: %v", g.Machine, frame)
		}
	}
}

func checkOptions(t *testing.T, g *guest, ack *dhcpv4.DHCPv4) {
	t.Helper()
	gateway := net.IPv4(10, 80, 0, 1)
	if m := ack.SubnetMask(); m.String() != net.CIDRMask(16, 32).String() {
		t.Errorf("subnet mask = %v", m)
	}
	if r := ack.Router(); len(r) != 1 || !r[0].Equal(gateway) {
		t.Errorf("router = %v", r)
	}
	if d := ack.DNS(); len(d) != 1 || !d[0].Equal(gateway) {
		t.Errorf("dns = %v", d)
	}
	if h := ack.HostName(); h != string(g.Machine) {
		t.Errorf("host name = %q", h)
	}
	if d := ack.DomainName(); d != testPlan.Domain {
		t.Errorf("domain = %q", d)
	}
	if s := ack.DomainSearch(); s == nil || len(s.Labels) != 1 || s.Labels[0] != testPlan.Domain {
		t.Errorf("domain search = %v", s)
	}
	if l := ack.IPAddressLeaseTime(0); l != leaseTime {
		t.Errorf("lease time = %v", l)
	}
	if s := ack.ServerIdentifier(); !s.Equal(gateway) {
		t.Errorf("server = %v", s)
	}
}

// A clone that wakes up with its parent's lease is told at once that the address is
// not its own.
func TestLeaseOfAnotherIsRefused(t *testing.T) {
	dir := newDir(t)
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	newWorld(t, testPlan, dir, a, b)
	reboot := discover(t, a.mac, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(b.IP.AsSlice())))
	if got := a.askDHCP(a.mac, reboot, patience); got == nil || got.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("request of another's address: got %v, want a NAK", got)
	}
	renew := discover(t, a.mac, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithClientIP(a.IP.AsSlice()))
	if got := a.askDHCP(a.mac, renew, patience); got == nil || got.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("renewal: got %v, want an ACK", got)
	}
}

func TestUnknownGetsNoLease(t *testing.T) {
	dir := newDir(t)
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	w := newWorld(t, testPlan, dir, a, b)
	stranger := mac{0x52, 0x54, 0, 9, 9, 9}
	const wait = 200 * time.Millisecond
	for _, test := range []struct {
		name     string
		hardware mac
		request  *dhcpv4.DHCPv4
	}{
		{"an unknown MAC", stranger, discover(t, stranger)},
		{"an unknown MAC in the request", a.mac, discover(t, stranger)},
		{"another's MAC in the request", a.mac, discover(t, b.mac)},
		{"another's MAC", b.mac, discover(t, b.mac)},
		{"another server", a.mac, discover(t, a.mac, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 80, 0, 9))))},
	} {
		if got := a.askDHCP(test.hardware, test.request, wait); got != nil {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
	select {
	case frame := <-b.frames:
		t.Errorf("the other machine saw a frame: %x", frame)
	default:
	}
	if refused := w.status()["m1"].Refused; refused != 2 {
		t.Errorf("%d frames refused, want 2", refused)
	}
}

// A machine that would be a DHCP server hears no request, and what it says to the
// server's port goes to the switch alone.
func TestRequestsAreForTheSwitchAlone(t *testing.T) {
	dir := newDir(t)
	a, rogue := newGuest(t, dir, 1), newGuest(t, dir, 2)
	newWorld(t, testPlan, dir, a, rogue)
	request := discover(t, a.mac)
	if offer := a.askDHCP(a.mac, request, patience); offer == nil {
		t.Fatal("no offer")
	}
	if got := rogue.nextLease(20 * time.Millisecond); got != nil {
		t.Errorf("another machine hears %v", got)
	}
	offer, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithYourIP(rogue.IP.AsSlice()))
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []mac{a.mac, broadcastMAC, gatewayMAC} {
		frame := udpFrame(to, netip.AddrPortFrom(rogue.IP, 67), netip.AddrPortFrom(a.IP, 67), offer.ToBytes())
		copy(frame[6:12], rogue.mac[:])
		rogue.send(frame)
		if got := a.nextLease(20 * time.Millisecond); got != nil {
			t.Errorf("an offer of another machine arrives: %v", got)
		}
	}
}
