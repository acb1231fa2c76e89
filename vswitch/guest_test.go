package vswitch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/clade-vm/clade"
)

const patience = 10 * time.Second

// A guest plays a machine: QEMU's side of the socket (it listens, and takes one
// connection after the other) and a TCP/IP stack of its own behind it.
type guest struct {
	t *testing.T
	Port
	mac    mac
	wire   *channel.Endpoint
	stack  *stack.Stack
	frames chan []byte // a copy of what arrived, for tests that look at frames

	running sync.WaitGroup
	stop    context.CancelFunc
	ready   chan struct{} // closed when the switch has come for the first time
	ended   <-chan struct{}

	mu       sync.Mutex
	listener net.Listener
	conn     net.Conn
	hold     chan struct{} // when not nil, nothing is read until it is closed
}

// newGuest starts guest number n of the subnet 10.80.0.0/16, by the name of m<n>.
func newGuest(t *testing.T, dir string, n int) *guest {
	t.Helper()
	g := &guest{t: t, mac: mac{0x52, 0x54, 0, 0, 0, byte(n)}, frames: make(chan []byte, 4096), ready: make(chan struct{})}
	g.Port = Port{Machine: clade.Name(fmt.Sprintf("m%d", n)), MAC: g.mac.String(),
		IP: netip.AddrFrom4([4]byte{10, 80, 1, byte(n)}), Socket: filepath.Join(dir, fmt.Sprintf("m%d.sock", n))}
	g.wire = channel.New(1024, MTU+ethernetHeader, tcpip.LinkAddress(g.mac[:]))
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	g.must(g.stack.CreateNIC(nic, ethernet.New(g.wire)))
	own := tcpip.AddressWithPrefix{Address: address(g.IP), PrefixLen: 16}
	g.must(g.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: own}, stack.AddressProperties{}))
	g.stack.SetRouteTable([]tcpip.Route{
		{Destination: own.Subnet(), NIC: nic},
		{Destination: tcpip.AddressWithPrefix{Address: address(netip.MustParseAddr("0.0.0.0"))}.Subnet(), Gateway: address(testPlan.Gateway), NIC: nic},
	})
	ctx, stop := context.WithCancel(context.Background())
	g.stop, g.ended = stop, ctx.Done()
	g.listen()
	g.running.Go(func() { g.pump(ctx) })
	t.Cleanup(g.close)
	return g
}

func (g *guest) must(err tcpip.Error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) listen() {
	g.t.Helper()
	listener, err := net.Listen("unix", g.Socket)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	g.listener = listener
	g.mu.Unlock()
	g.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			g.mu.Lock()
			if g.conn == nil {
				close(g.ready)
			}
			g.conn = conn
			g.mu.Unlock()
			g.read(conn)
			conn.Close()
		}
	})
}

// read takes frames from the switch until it goes away.
func (g *guest) read(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		g.mu.Lock()
		hold := g.hold
		g.mu.Unlock()
		if hold != nil {
			<-hold
		}
		var length [4]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		select {
		case g.frames <- frame:
		default:
		}
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
		g.wire.InjectInbound(0, packet)
		packet.DecRef()
	}
}

// pump sends what the guest's stack sends.
func (g *guest) pump(ctx context.Context) {
	for {
		packet := g.wire.ReadContext(ctx)
		if packet == nil {
			return
		}
		b := packet.ToBuffer()
		g.send(b.Flatten())
		b.Release()
		packet.DecRef()
	}
}

// send sends one raw frame, as QEMU would. It waits for the first switch to come; a
// frame is lost when there is none any more.
func (g *guest) send(frame []byte) {
	g.sendRaw(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
}

func (g *guest) sendRaw(b []byte) {
	select {
	case <-g.ready:
	case <-g.ended:
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn.Write(b)
}

// pause makes the guest stop reading, as a paused QEMU does, until resume is called.
func (g *guest) pause() (resume func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	hold := make(chan struct{})
	g.hold = hold
	return sync.OnceFunc(func() {
		g.mu.Lock()
		g.hold = nil
		g.mu.Unlock()
		close(hold)
	})
}

// powerOff ends the QEMU side at once.
func (g *guest) powerOff() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listener.Close()
	if g.conn != nil {
		g.conn.Close()
	}
}

func (g *guest) close() {
	g.powerOff()
	g.stop()
	g.stack.Close()
	g.running.Wait()
	g.stack.Wait()
}

// dial connects from the guest, for at most limit.
func (g *guest) dial(to netip.AddrPort, limit time.Duration) (*gonet.TCPConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return gonet.DialContextTCP(ctx, g.stack, tcpip.FullAddress{Addr: address(to.Addr()), Port: to.Port()}, ipv4.ProtocolNumber)
}

// echo serves TCP on the guest: what comes back is what was sent, after its end.
func (g *guest) echo(port uint16) {
	g.t.Helper()
	listener, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		g.t.Fatal(err)
	}
	g.running.Go(func() { echo(listener) })
	g.t.Cleanup(listener.Shutdown)
}

// echo answers each connection, once it has been half-closed, with all it sent.
func echo(listener net.Listener) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer conn.Close()
			all, err := io.ReadAll(conn)
			if err == nil {
				conn.Write(all)
			}
		})
	}
}

// roundTrip sends data, closes the sending side and reads it all back.
func roundTrip(conn net.Conn, data []byte) error {
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(data); err != nil {
		return err
	}
	if err := conn.(halfConn).CloseWrite(); err != nil {
		return err
	}
	back, err := io.ReadAll(conn)
	if err == nil && !bytes.Equal(back, data) {
		err = fmt.Errorf("%d bytes came back, different from the %d sent", len(back), len(data))
	}
	return err
}

// mustTalk fails the test unless a TCP connection from g to the echo at to works.
func (g *guest) mustTalk(to netip.AddrPort) {
	g.t.Helper()
	conn, err := g.dial(to, patience)
	if err != nil {
		g.t.Fatalf("%s cannot reach %s: %v", g.Machine, to, err)
	}
	defer conn.Close()
	if err := roundTrip(conn, []byte("are you there")); err != nil {
		g.t.Fatalf("%s to %s: %v", g.Machine, to, err)
	}
}

// A world is a switch under test and the list of its machines.
type world struct {
	t       *testing.T
	control string
	cancel  context.CancelFunc
	ended   chan error

	mu    sync.Mutex
	ports []Port
	err   error
}

var testPlan = Plan{Network: "lab", Subnet: netip.MustParsePrefix("10.80.0.0/16"),
	Gateway: netip.MustParseAddr("10.80.0.1"), Domain: "clade.internal"}

// newDir returns a directory whose name is short enough for sockets.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newWorld runs a switch with these guests, all connected.
func newWorld(t *testing.T, plan Plan, dir string, guests ...*guest) *world {
	t.Helper()
	w := &world{t: t, control: filepath.Join(dir, "run", "net.sock")}
	w.set(guests...)
	w.run(plan)
	w.poke()
	return w
}

// run starts the switch, again if it has ended.
func (w *world) run(plan Plan) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	w.cancel, w.ended = cancel, ended
	go func() { ended <- Run(ctx, plan, w.list, w.control, slog.New(slog.DiscardHandler)) }()
	w.t.Cleanup(func() { w.stop() })
}

// stop ends the switch and waits for it.
func (w *world) stop() {
	w.cancel()
	if err := <-w.ended; err != nil {
		w.t.Errorf("Run = %v", err)
	}
	w.ended <- nil
}

func (w *world) set(guests ...*guest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports = nil
	for _, g := range guests {
		w.ports = append(w.ports, g.Port)
	}
}

func (w *world) list(context.Context) ([]Port, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ports, w.err
}

// poke waits until the switch runs and has connected all its machines.
func (w *world) poke() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := Ensure(ctx, w.control, func(context.Context) error { return nil }); err != nil {
		w.t.Fatalf("Ensure = %v", err)
	}
}

func (w *world) status() map[clade.Name]PortStatus {
	w.t.Helper()
	s, err := Stat(context.Background(), w.control)
	if err != nil {
		w.t.Fatal(err)
	}
	ports := make(map[clade.Name]PortStatus)
	for _, p := range s.Ports {
		ports[p.Machine] = p
	}
	return ports
}

// eventually fails the test unless ok becomes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// greet serves TCP on the guest: it says something and closes.
func (g *guest) greet(port uint16, words string) {
	g.t.Helper()
	listener, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		g.t.Fatal(err)
	}
	g.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, words)
			conn.Close()
		}
	})
	g.t.Cleanup(listener.Shutdown)
}
