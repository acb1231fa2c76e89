package vswitch

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// echoLimit is how long a ping outside may take.
const echoLimit = 5 * time.Second

// echo carries an ICMP echo request to the host outside that it is for, and gives
// what comes back to reply. Where the host's kernel does not let ordinary users
// ping (net.ipv4.ping_group_range) it is prohibited. It does not wait.
func (n *nat) echo(gateway netip.Addr, frame []byte, reply func(frame []byte)) {
	packet := header.IPv4(frame[ethernetHeader:])
	machine, outside := fromAddress(packet.SourceAddress()), fromAddress(packet.DestinationAddress())
	ctx, end, ok := n.flows.begin(context.Background(), machine)
	if !ok {
		return
	}
	go func() {
		defer end()
		if n.permit(outside) != nil {
			prohibit(gateway, frame, reply)
			return
		}
		pinger, err := n.pinger()
		if err != nil {
			prohibit(gateway, frame, reply)
			return
		}
		defer pinger.Close()
		defer context.AfterFunc(ctx, func() { pinger.Close() })()
		if answer := ping(pinger, outside, header.ICMPv4(packet.Payload())); answer != nil {
			reply(ipv4Frame(mac(frame[6:12]), protocolICMP, outside, machine, answer))
		}
	}()
}

// ping sends an echo request and returns the reply to it, or nil. The kernel puts
// an identifier of its own in place of the machine's, and takes replies by it.
func ping(pinger net.PacketConn, to netip.Addr, request header.ICMPv4) header.ICMPv4 {
	if pinger.SetDeadline(time.Now().Add(echoLimit)) != nil {
		return nil
	}
	if _, err := pinger.WriteTo(request, &net.UDPAddr{IP: to.AsSlice()}); err != nil {
		return nil
	}
	buf := make([]byte, 65535)
	for {
		size, from, err := pinger.ReadFrom(buf)
		if err != nil {
			return nil
		}
		answer := header.ICMPv4(buf[:size])
		sender, ok := from.(*net.UDPAddr)
		if !ok || !sender.IP.Equal(to.AsSlice()) || size < header.ICMPv4MinimumSize ||
			answer.Type() != header.ICMPv4EchoReply || answer.Sequence() != request.Sequence() {
			continue
		}
		answer.SetIdent(request.Ident())
		answer.SetChecksum(header.ICMPv4Checksum(answer, 0))
		return answer
	}
}

// newPinger opens a socket that can ping without root.
func newPinger() (net.PacketConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "ping")
	defer f.Close()
	return net.FilePacketConn(f)
}
