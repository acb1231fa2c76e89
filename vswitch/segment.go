package vswitch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clade-vm/clade"
)

// connectLimit is how long one machine's QEMU may take to accept.
const connectLimit = 2 * time.Second

// errEnding says that the switch takes no more machines; another one may be run as
// soon as it has ended.
var errEnding = errors.New("its switch is ending")

// A segment is the network at work: the ports, the gateway and what passes between.
type segment struct {
	plan    Plan
	ask     func(context.Context) ([]Port, error)
	log     *slog.Logger
	table   atomic.Pointer[table]
	gateway *gateway
	names   *names
	serving sync.WaitGroup // one for each link

	mu     sync.Mutex // held while the ports change
	closed bool
	asked  error // what ask said last
}

// newSegment starts a network without ports. close must be called.
func newSegment(plan Plan, ask func(context.Context) ([]Port, error), log *slog.Logger) (*segment, error) {
	s := &segment{plan: plan, ask: ask, log: log}
	s.table.Store(&table{})
	g, err := newGateway(plan, s.fromGateway)
	if err != nil {
		return nil, err
	}
	n, err := newNames(g, s.table.Load)
	if err != nil {
		g.close()
		return nil, fmt.Errorf("dns: %w", err)
	}
	s.gateway, s.names = g, n
	return s, nil
}

// close disconnects all ports and ends the gateway.
func (s *segment) close() {
	s.mu.Lock()
	s.closed = true
	s.drop(s.table.Load(), &table{})
	s.mu.Unlock()
	s.serving.Wait()
	s.names.close()
	s.gateway.close()
}

// fromMachine decides what becomes of a frame that p's machine has sent.
func (s *segment) fromMachine(p *port, frame []byte) {
	switch p.inspect(frame) {
	case refuse:
		p.refused.Add(1)
		return
	case lease:
		if reply := leaseFrame(s.plan, p, frame); reply != nil {
			p.send(reply)
		}
		return
	}
	to := destination(frame)
	if to == gatewayMAC || to == broadcastMAC {
		s.gateway.receive(frame, p.send)
	}
	if to != gatewayMAC {
		s.deliver(to, frame, p)
	}
}

// fromGateway delivers what the gateway sends.
func (s *segment) fromGateway(frame []byte) { s.deliver(destination(frame), frame, nil) }

// deliver sends a frame to the machine it is for, or to all but from if it is for
// many. Every MAC is known: there is no flooding of what is for one. Between an
// isolated machine and another nothing passes; from is nil for the gateway.
func (s *segment) deliver(to mac, frame []byte, from *port) {
	t := s.table.Load()
	if to[0]&1 == 0 {
		if p, ok := t.byMAC[to]; ok && !apart(from, p) {
			p.send(frame)
		}
		return
	}
	for _, p := range t.byMAC {
		if p != from && !apart(from, p) {
			p.send(frame)
		}
	}
}

// apart tells whether what from sends is kept from p.
func apart(from, p *port) bool { return from != nil && (from.Isolated || p.Isolated) }

// sync asks which machines run, leaves those gone and connects those new. It
// returns why machines could not be connected, by name; they are tried again by
// the next call. err says that the ports could not be asked for or were refused;
// the switch then goes on with those it has.
func (s *segment) sync(ctx context.Context) (unconnected map[clade.Name]error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &clade.Error{Op: "connect", On: "network " + string(s.plan.Network),
			Kind: clade.NotRunning, Err: errEnding}
	}
	ports, err := s.ask(ctx)
	var next *table
	if err == nil {
		next, err = newTable(s.plan, ports, s.table.Load())
	}
	if s.asked = err; err != nil {
		return nil, err
	}
	old := s.table.Swap(next)
	s.drop(old, next)
	return s.connect(ctx, next), nil
}

// drop disconnects the ports of old that are not in next.
func (s *segment) drop(old, next *table) {
	for name, p := range old.byName {
		if next.byName[name] == p {
			continue
		}
		if l := p.link.Load(); l != nil {
			l.conn.Close()
		}
		s.gateway.flows.cut(p.IP)
	}
}

// connect dials every port that has no link, at once, and returns the failures.
func (s *segment) connect(ctx context.Context, t *table) map[clade.Name]error {
	var (
		dialling sync.WaitGroup
		mu       sync.Mutex
		failures map[clade.Name]error
	)
	for _, p := range t.byName {
		if p.link.Load() != nil {
			continue
		}
		dialling.Go(func() {
			conn, err := (&net.Dialer{Timeout: connectLimit}).DialContext(ctx, "unix", p.Socket)
			if err == nil {
				if err = s.gateway.knows(p); err != nil {
					conn.Close()
				}
			}
			if err == nil {
				s.serve(p, conn)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if failures == nil {
				failures = make(map[clade.Name]error)
			}
			failures[p.Machine] = err
		})
	}
	dialling.Wait()
	return failures
}

// serve carries the frames of p, in the background, until conn ends.
func (s *segment) serve(p *port, conn net.Conn) {
	l := p.attach(conn)
	s.log.Info("machine connected", "machine", p.Machine, "ip", p.IP, "mac", p.mac)
	s.serving.Go(func() {
		err := p.serve(l, func(frame []byte) { s.fromMachine(p, frame) }, func() { s.gateway.flows.cut(p.IP) })
		s.log.Info("machine disconnected", "machine", p.Machine, "ip", p.IP, "reason", err)
	})
}

// endIfUnused closes the segment to new ports, and returns true, if no machine
// runs as far as the switch knows.
func (s *segment) endIfUnused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = !s.used()
	return s.closed
}

// inUse tells whether a machine runs as far as the switch knows.
func (s *segment) inUse() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used()
}

// used tells whether a machine is connected, or is said to run. A list of machines
// that is no longer to be had does not keep the switch alive.
func (s *segment) used() bool {
	t := s.table.Load()
	for _, p := range t.byName {
		if p.link.Load() != nil {
			return true
		}
	}
	return s.asked == nil && len(t.byName) > 0
}
