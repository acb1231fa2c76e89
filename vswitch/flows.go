package vswitch

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
)

// flowsPerMachine bounds what one machine can have open through the gateway, so
// that none can use up the file descriptors of all.
const flowsPerMachine = 512

// flows are the connections that go through the gateway, by machine: those of a
// machine that leaves are cut, so that nobody waits for it.
type flows struct {
	mu      sync.Mutex
	open    map[netip.Addr]map[*context.CancelFunc]struct{}
	closed  bool
	running sync.WaitGroup
}

// begin enters a flow of the machine. Its context ends when the machine leaves or
// the switch does. ok is false, and nothing begun, if the machine has too many.
func (f *flows) begin(ctx context.Context, machine netip.Addr) (flow context.Context, end func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.open[machine]) >= flowsPerMachine {
		return nil, nil, false
	}
	flow, cancel := context.WithCancel(ctx)
	if f.open == nil {
		f.open = make(map[netip.Addr]map[*context.CancelFunc]struct{})
	}
	if f.open[machine] == nil {
		f.open[machine] = make(map[*context.CancelFunc]struct{})
	}
	f.open[machine][&cancel] = struct{}{}
	f.running.Add(1)
	return flow, func() {
		cancel()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open[machine], &cancel)
		if len(f.open[machine]) == 0 {
			delete(f.open, machine)
		}
		f.running.Done()
	}, true
}

// cut ends the flows of one machine.
func (f *flows) cut(machine netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for cancel := range f.open[machine] {
		(*cancel)()
	}
}

// close ends all flows, lets none begin any more, and waits.
func (f *flows) close() {
	f.mu.Lock()
	f.closed = true
	for _, machine := range f.open {
		for cancel := range machine {
			(*cancel)()
		}
	}
	f.mu.Unlock()
	f.running.Wait()
}

// A halfConn is a connection whose sending side can be closed by itself.
type halfConn interface {
	net.Conn
	CloseWrite() error
}

// join copies between a and b, each direction to its own end, and closes both. If
// one direction breaks or ctx ends, the other ends too.
func join(ctx context.Context, a, b halfConn) {
	closeBoth := func() {
		a.Close()
		b.Close()
	}
	defer closeBoth()
	defer context.AfterFunc(ctx, closeBoth)()
	var both sync.WaitGroup
	carry := func(dst, src halfConn) {
		if _, err := io.Copy(dst, src); err != nil || dst.CloseWrite() != nil {
			closeBoth()
		}
	}
	both.Go(func() { carry(a, b) })
	both.Go(func() { carry(b, a) })
	both.Wait()
}
