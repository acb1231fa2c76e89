package vswitch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/clade-vm/clade"
)

const (
	nameTTL      = 5 // seconds: a removed machine's name may be given to a new one
	askLimit     = 3 * time.Second
	asking       = 128 // questions on their way to the host's resolvers at once
	resolverFile = "/etc/resolv.conf"
)

// names answers DNS questions about the machines on the switch and, with NAT,
// passes others on to the host's resolvers.
type names struct {
	plan    Plan
	ports   func() *table
	asking  chan struct{}
	servers []*dns.Server
	ended   chan error // one for each server
	ctx     context.Context
	stop    context.CancelFunc
}

// newNames serves DNS on the gateway. close must be called.
func newNames(g *gateway, ports func() *table) (*names, error) {
	at := tcpip.FullAddress{NIC: nic, Addr: address(g.plan.Gateway), Port: 53}
	datagrams, err := gonet.DialUDP(g.stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	connections, err := gonet.ListenTCP(g.stack, at, ipv4.ProtocolNumber)
	if err != nil {
		datagrams.Close()
		return nil, err
	}
	n := &names{plan: g.plan, ports: ports, asking: make(chan struct{}, asking), ended: make(chan error, 2)}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.servers = []*dns.Server{
		{PacketConn: datagrams, Handler: n.handler("udp")},
		{Listener: connections, Handler: n.handler("tcp")},
	}
	for _, s := range n.servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { n.ended <- s.ActivateAndServe() }()
		<-started
	}
	return n, nil
}

// close stops serving and waits for questions that are being answered.
func (n *names) close() {
	n.stop()
	for _, s := range n.servers {
		s.Shutdown()
	}
	for range n.servers {
		<-n.ended
	}
}

func (n *names) handler(network string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, question *dns.Msg) {
		reply := n.answer(network, question)
		if network == "udp" {
			size := dns.MinMsgSize
			if o := question.IsEdns0(); o != nil {
				size = int(o.UDPSize())
			}
			reply.Truncate(size)
		}
		// Who has gone away needs no answer.
		_ = w.WriteMsg(reply)
	}
}

// answer returns the reply to question, which came by network.
func (n *names) answer(network string, question *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(question)
	reply.RecursionAvailable = n.plan.NAT
	if question.Opcode != dns.OpcodeQuery || len(question.Question) != 1 || question.Question[0].Qclass != dns.ClassINET {
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	}
	q := question.Question[0]
	name := strings.TrimSuffix(strings.ToLower(q.Name), ".")
	if ip, ok := reverseAddress(name); ok && n.plan.Subnet.Contains(ip) {
		n.answerPointer(reply, q, ip)
		return reply
	}
	if label, ok := n.ours(name); ok {
		n.answerName(reply, q, label)
		return reply
	}
	if !n.plan.NAT || !strings.Contains(name, ".") || strings.HasSuffix(name, ".internal") {
		reply.Rcode = dns.RcodeNameError
		return reply
	}
	return n.ask(network, question, reply)
}

// ours returns the machine's part of a name that is the network's to answer: one
// label, alone or under the domain.
func (n *names) ours(name string) (label string, ok bool) {
	if name == n.plan.Domain {
		return "", true
	}
	label = strings.TrimSuffix(name, "."+n.plan.Domain)
	return label, label != name || name != "" && !strings.Contains(name, ".")
}

// answerName adds the address of a machine, or of the gateway, which no machine's
// name can hide. A name that exists has no records of other types.
func (n *names) answerName(reply *dns.Msg, q dns.Question, label string) {
	reply.Authoritative = true
	ip := n.plan.Gateway
	switch label {
	case "gateway", "host":
	case "":
		return
	default:
		p, ok := n.ports().byName[clade.Name(label)]
		if !ok {
			reply.Rcode = dns.RcodeNameError
			return
		}
		ip = p.IP
	}
	if q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY {
		head := dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: nameTTL}
		reply.Answer = append(reply.Answer, &dns.A{Hdr: head, A: ip.AsSlice()})
	}
}

// answerPointer adds the name of the machine that has the address.
func (n *names) answerPointer(reply *dns.Msg, q dns.Question, ip netip.Addr) {
	reply.Authoritative = true
	label := "gateway"
	if ip != n.plan.Gateway {
		p, ok := n.ports().byIP[ip]
		if !ok {
			reply.Rcode = dns.RcodeNameError
			return
		}
		label = string(p.Machine)
	}
	if q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY {
		head := dns.RR_Header{Name: q.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: nameTTL}
		reply.Answer = append(reply.Answer, &dns.PTR{Hdr: head, Ptr: label + "." + n.plan.Domain + "."})
	}
}

// reverseAddress reads d.c.b.a.in-addr.arpa.
func reverseAddress(name string) (netip.Addr, bool) {
	digits, ok := strings.CutSuffix(name, ".in-addr.arpa")
	if !ok {
		return netip.Addr{}, false
	}
	backwards, err := netip.ParseAddr(digits)
	if err != nil || !backwards.Is4() {
		return netip.Addr{}, false
	}
	b := backwards.As4()
	return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}), true
}

// ask passes question to the host's resolvers, in their order, and returns what
// the first one that can be reached says; or failure for who asks too much.
func (n *names) ask(network string, question, failure *dns.Msg) *dns.Msg {
	failure.Rcode = dns.RcodeServerFailure
	select {
	case n.asking <- struct{}{}:
		defer func() { <-n.asking }()
	default:
		return failure
	}
	config, err := dns.ClientConfigFromFile(resolverFile)
	if err != nil {
		return failure
	}
	client := dns.Client{Net: network, Timeout: askLimit}
	for _, server := range config.Servers {
		reply, _, err := client.ExchangeContext(n.ctx, question, net.JoinHostPort(server, config.Port))
		if err == nil {
			return reply
		}
		if errors.Is(err, context.Canceled) {
			break
		}
	}
	return failure
}
