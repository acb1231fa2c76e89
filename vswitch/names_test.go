package vswitch

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// query asks the gateway's DNS from the guest.
func (g *guest) query(network, name string, kind uint16) *dns.Msg {
	g.t.Helper()
	server := tcpip.FullAddress{Addr: address(testPlan.Gateway), Port: 53}
	var conn net.Conn
	var err error
	if network == "udp" {
		conn, err = gonet.DialUDP(g.stack, nil, &server, ipv4.ProtocolNumber)
	} else {
		conn, err = gonet.DialTCP(g.stack, server, ipv4.ProtocolNumber)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	// gonet's UDP connection is a PacketConn too, which dns takes for an unframed one.
	client := dns.Client{Net: network, Timeout: patience}
	reply, _, err := client.ExchangeWithConnContext(context.Background(), new(dns.Msg).SetQuestion(name, kind), &dns.Conn{Conn: conn})
	if err != nil {
		g.t.Fatalf("%s %s: %v", network, name, err)
	}
	return reply
}

func TestNames(t *testing.T) {
	dir := newDir(t)
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	w := newWorld(t, testPlan, dir, a, b)
	for _, network := range []string{"udp", "tcp"} {
		for _, test := range []struct {
			name string
			kind uint16
			code int
			want string
		}{
			{"m2.", dns.TypeA, dns.RcodeSuccess, "10.80.1.2"},
			{"m2.clade.internal.", dns.TypeA, dns.RcodeSuccess, "10.80.1.2"},
			{"M1.Clade.INTERNAL.", dns.TypeA, dns.RcodeSuccess, "10.80.1.1"},
			{"m2.clade.internal.", dns.TypeAAAA, dns.RcodeSuccess, ""},
			{"gateway.", dns.TypeA, dns.RcodeSuccess, "10.80.0.1"},
			{"host.clade.internal.", dns.TypeA, dns.RcodeSuccess, "10.80.0.1"},
			{"clade.internal.", dns.TypeA, dns.RcodeSuccess, ""},
			{"m3.clade.internal.", dns.TypeA, dns.RcodeNameError, ""},
			{"www.m2.clade.internal.", dns.TypeA, dns.RcodeNameError, ""},
			{"m3.", dns.TypeA, dns.RcodeNameError, ""},
			{"example.org.", dns.TypeA, dns.RcodeNameError, ""},
			{".", dns.TypeNS, dns.RcodeNameError, ""},
			{"2.1.80.10.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "m2.clade.internal."},
			{"1.0.80.10.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "gateway.clade.internal."},
			{"9.1.80.10.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
			{"8.8.8.8.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		} {
			reply := a.query(network, test.name, test.kind)
			got := ""
			for _, r := range reply.Answer {
				switch r := r.(type) {
				case *dns.A:
					got += r.A.String()
				case *dns.PTR:
					got += r.Ptr
				}
			}
			if reply.Rcode != test.code || got != test.want {
				t.Errorf("%s %s %s: %s %q, want %s %q", network, test.name, dns.TypeToString[test.kind],
					dns.RcodeToString[reply.Rcode], got, dns.RcodeToString[test.code], test.want)
			}
		}
	}
	c := newGuest(t, dir, 3)
	w.set(a, c)
	w.poke()
	if reply := a.query("udp", "m3.", dns.TypeA); len(reply.Answer) != 1 {
		t.Errorf("the name of a machine that came: %v", reply)
	}
	if reply := a.query("udp", "m2.", dns.TypeA); reply.Rcode != dns.RcodeNameError {
		t.Errorf("the name of a machine that went: %v", reply)
	}
}

// What is not about this network goes to the host's resolvers with NAT only, and
// names that are private never do.
func TestForeignNames(t *testing.T) {
	for _, test := range []struct {
		name string
		nat  bool
		want bool
	}{
		{"example.org.", true, true},
		{"example.org.", false, false},
		{"printer.", true, false},
		{"web.corp.internal.", true, false},
		{"m9.clade.internal.", true, false},
		{"9.1.80.10.in-addr.arpa.", true, false},
		{"8.8.8.8.in-addr.arpa.", true, true},
	} {
		plan := testPlan
		plan.NAT = test.nat
		// Nobody is asked: no question may be on its way, so those for outside fail.
		n := &names{plan: plan, ports: func() *table { return &table{} }, asking: make(chan struct{})}
		reply := n.answer("udp", new(dns.Msg).SetQuestion(test.name, dns.TypeA))
		if asked := reply.Rcode == dns.RcodeServerFailure; asked != test.want {
			t.Errorf("%s with NAT %v: asked outside %v, want %v", test.name, test.nat, asked, test.want)
		}
	}
}

func TestReverseAddress(t *testing.T) {
	for name, want := range map[string]string{
		"4.3.2.1.in-addr.arpa": "1.2.3.4", "3.2.1.in-addr.arpa": "", "::1.in-addr.arpa": "", "1.2.3.4": "",
	} {
		got, ok := reverseAddress(name)
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("reverseAddress(%q) = %v, %v, want %q", name, got, ok, want)
		}
	}
}
