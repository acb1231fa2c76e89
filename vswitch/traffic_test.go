package vswitch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/clade-vm/clade"
)

func at(g *guest, port uint16) netip.AddrPort { return netip.AddrPortFrom(g.IP, port) }

func TestMachinesReachOneAnother(t *testing.T) {
	dir := newDir(t)
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	newWorld(t, testPlan, dir, a, b)
	b.echo(80)
	conn, err := a.dial(at(b, 80), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := roundTrip(conn, bytes.Repeat([]byte("0123456789abcdef"), 1<<16)); err != nil {
		t.Error(err)
	}
}

func TestDialFromTheHost(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	w := newWorld(t, testPlan, dir, a)
	a.echo(22)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			conn, err := Dial(context.Background(), w.control, at(a, 22))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := roundTrip(conn, bytes.Repeat([]byte{byte(n)}, 100_000)); err != nil {
				t.Errorf("connection %d: %v", n, err)
			}
		})
	}
	all.Wait()
}

// Whose an address is the switch knows: nobody is asked, who might not answer yet.
func TestDialAsksNobody(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	w := newWorld(t, testPlan, dir, a)
	a.echo(22)
	conn, err := Dial(context.Background(), w.control, at(a, 22))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for len(a.frames) > 0 {
		frame := <-a.frames
		if etherType(frame) == typeARP && header.ARP(frame[ethernetHeader:]).Op() == header.ARPRequest {
			t.Errorf("%s is asked who has its address", a.Machine)
		}
	}
}

// A machine may speak first, and what it says may come with the switch's answer.
func TestDialMachineSpeaksFirst(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	w := newWorld(t, testPlan, dir, a)
	a.greet(22, "SSH-2.0-test\r\n")
	for range 20 {
		conn, err := Dial(context.Background(), w.control, at(a, 22))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(conn)
		conn.Close()
		if string(got) != "SSH-2.0-test\r\n" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
	}
}

// A client may send before it has the switch's answer.
func TestDialClientSpeaksFirst(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	w := newWorld(t, testPlan, dir, a)
	a.echo(22)
	conn, err := net.Dial("unix", w.control)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\nearly ", at(a, 22))
	const head = "HTTP/1.1 200 Connected\r\n\r\n"
	answer := make([]byte, len(head))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != head {
		t.Fatalf("answer = %q, %v", answer, err)
	}
	if got := talkOn(conn, "late"); got != "early late" {
		t.Errorf("the machine got %q", got)
	}
}

func TestDialErrors(t *testing.T) {
	dir := newDir(t)
	a, silent := newGuest(t, dir, 1), newGuest(t, dir, 2)
	w := newWorld(t, testPlan, dir, a, silent)
	defer silent.pause()()
	limited, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	for _, test := range []struct {
		name    string
		ctx     context.Context
		control string
		to      string
		want    clade.Kind
	}{
		{"nothing listens", context.Background(), w.control, "10.80.1.1:81", clade.NotRunning},
		{"no such machine", context.Background(), w.control, "10.80.1.9:22", clade.NotRunning},
		{"the gateway", context.Background(), w.control, "10.80.0.1:53", clade.NotRunning},
		{"another network", context.Background(), w.control, "127.0.0.1:22", clade.NotRunning},
		{"IPv6", context.Background(), w.control, "[::1]:22", clade.Invalid},
		{"no answer in time", limited, w.control, "10.80.1.2:22", clade.Timeout},
		{"no switch", context.Background(), w.control + "x", "10.80.1.1:22", clade.NotRunning},
	} {
		conn, err := Dial(test.ctx, test.control, netip.MustParseAddrPort(test.to))
		if err == nil {
			conn.Close()
		}
		if got := clade.KindOf(err); got != test.want {
			t.Errorf("%s: error = %v of kind %q, want %q", test.name, err, got, test.want)
		}
	}
}

// Who is connected to a machine learns at once that it was switched off.
func TestDialEndsWithTheMachine(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	w := newWorld(t, testPlan, dir, a)
	a.echo(22)
	conn, err := Dial(context.Background(), w.control, at(a, 22))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	a.powerOff()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %v, want the end of the connection", err)
	}
}

// A machine that reads nothing stalls neither those that send to it nor others,
// and goes on when it reads again.
func TestBlockedMachineStallsNobody(t *testing.T) {
	dir := newDir(t)
	a, b, blocked := newGuest(t, dir, 1), newGuest(t, dir, 2), newGuest(t, dir, 3)
	w := newWorld(t, testPlan, dir, a, b, blocked)
	b.echo(80)
	blocked.echo(80)
	a.mustTalk(at(blocked, 80))
	resume := blocked.pause()
	defer resume()
	frame := udpFrame(blocked.mac, netip.AddrPortFrom(a.IP, 9), at(blocked, 9), make([]byte, 1400))
	copy(frame[6:12], a.mac[:])
	for range 4 * queueLength {
		a.send(frame)
	}
	a.mustTalk(at(b, 80))
	if lost := w.status()["m3"].Lost; lost == 0 {
		t.Error("no frame was lost: the machine was not blocked")
	}
	resume()
	a.mustTalk(at(blocked, 80))
}

func TestBadFramingHurtsOnlyTheSender(t *testing.T) {
	dir := newDir(t)
	a, b, bad := newGuest(t, dir, 1), newGuest(t, dir, 2), newGuest(t, dir, 3)
	w := newWorld(t, testPlan, dir, a, b, bad)
	b.echo(80)
	for n := range ethernetHeader + 1 { // too short to be frames
		bad.send(make([]byte, n))
	}
	bad.send(make([]byte, largestFrame+1))
	eventually(t, "bad frames refused", func() bool { return w.status()["m3"].Refused == ethernetHeader+2 })
	before := w.status()["m3"].Since
	if before.IsZero() {
		t.Error("bad frames disconnected the machine")
	}
	bad.sendRaw([]byte{0xff, 0xff, 0xff, 0xff})
	eventually(t, "garbage disconnects", func() bool { return w.status()["m3"].Since != before })
	a.mustTalk(at(b, 80))
}

func TestNetworksAreIsolated(t *testing.T) {
	dir1, dir2 := newDir(t), newDir(t)
	a, b := newGuest(t, dir1, 1), newGuest(t, dir2, 2)
	w1 := newWorld(t, testPlan, dir1, a)
	newWorld(t, testPlan, dir2, b)
	b.echo(80)
	if conn, err := a.dial(at(b, 80), time.Second); err == nil {
		conn.Close()
		t.Error("a machine reached another network")
	}
	if _, err := Dial(context.Background(), w1.control, at(b, 80)); !errors.Is(err, clade.NotRunning) {
		t.Errorf("Dial through the wrong switch = %v, want %v", err, clade.NotRunning)
	}
}
