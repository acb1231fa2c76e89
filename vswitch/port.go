package vswitch

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// queueLength is how many frames wait for a machine that does not read,
	// before further ones are lost, as they are on a switch made of metal.
	queueLength = 1024
	// largestFrame is the largest frame that is carried: a jumbo frame.
	largestFrame = 9018
	// largestLength is the largest that QEMU's framing can announce (its
	// NET_BUFSIZE, 4096 + 65536); more means that this is not QEMU.
	largestLength = 69632
)

// A port is a machine's place on the switch, connected or not.
type port struct {
	Port
	mac  mac
	link atomic.Pointer[link] // nil while its QEMU is not connected

	received atomic.Uint64 // bytes from the machine
	sent     atomic.Uint64 // bytes to the machine
	refused  atomic.Uint64 // frames from the machine that were not its own to send
	lost     atomic.Uint64 // frames to the machine that it did not take in time
}

// A link is one connection to a machine's QEMU.
type link struct {
	conn  net.Conn
	out   chan []byte
	done  chan struct{} // closed when the reader has ended
	since time.Time
}

// send queues a frame for the machine, or loses it. It never blocks. The frame
// must not be changed afterwards.
func (p *port) send(frame []byte) {
	l := p.link.Load()
	if l == nil {
		p.lost.Add(1)
		return
	}
	select {
	case l.out <- frame:
	default:
		p.lost.Add(1)
	}
}

// attach makes conn the port's link. Frames sent to the port wait from now on.
func (p *port) attach(conn net.Conn) *link {
	l := &link{conn: conn, out: make(chan []byte, queueLength), done: make(chan struct{}), since: time.Now()}
	p.link.Store(l)
	return l
}

// serve carries frames until the connection ends: it gives those of the machine
// to receive. Then it calls gone, closes the connection and leaves the port without
// a link.
func (p *port) serve(l *link, receive func(frame []byte), gone func()) error {
	var writer sync.WaitGroup
	writer.Go(func() { p.write(l) })
	err := p.read(l, receive)
	gone()
	p.link.Store(nil)
	close(l.done)
	l.conn.Close()
	writer.Wait()
	return err
}

// read hands over the machine's frames until the connection ends.
func (p *port) read(l *link, receive func(frame []byte)) error {
	r := bufio.NewReaderSize(l.conn, 128<<10)
	var length [4]byte
	for {
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(length[:])
		if n > largestLength {
			return fmt.Errorf("a frame of %d bytes: not the framing of QEMU", n)
		}
		if n < ethernetHeader || n > largestFrame {
			p.refused.Add(1)
			if _, err := r.Discard(int(n)); err != nil {
				return err
			}
			continue
		}
		frame := make([]byte, n)
		if _, err := io.ReadFull(r, frame); err != nil {
			return err
		}
		p.received.Add(uint64(n))
		receive(frame)
	}
}

// write sends queued frames. A machine that is paused does not read, and blocks
// this goroutine alone, until it goes on or its link is closed.
func (p *port) write(l *link) {
	w := bufio.NewWriterSize(l.conn, 64<<10)
	for {
		var frame []byte
		select {
		case <-l.done:
			return
		case frame = <-l.out:
		}
		for frame != nil {
			var length [4]byte
			binary.BigEndian.PutUint32(length[:], uint32(len(frame)))
			w.Write(length[:])
			if _, err := w.Write(frame); err != nil {
				l.conn.Close()
				return
			}
			p.sent.Add(uint64(len(frame)))
			select {
			case frame = <-l.out:
			default:
				frame = nil
			}
		}
		if w.Flush() != nil {
			l.conn.Close()
			return
		}
	}
}
