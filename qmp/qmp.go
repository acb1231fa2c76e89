// Package qmp speaks the QEMU machine protocol over a connection that somebody
// else made: commands with typed replies, and events beside them.
//
// A slow reader of events never holds up replies, replies may be as large as
// QEMU likes up to a bound, and an abandoned command leaves the connection in
// order. The package opens no socket and knows no command but the handshake.
package qmp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	maxMessage = 16 << 20 // bytes; a larger message ends the connection
	maxEvents  = 256      // kept for a slow reader; then the oldest are dropped
)

// ErrClosed is in the chain of every error that says the connection is over.
var ErrClosed = errors.New("connection closed")

// An Error is QEMU's refusal of one command.
type Error struct {
	Class string `json:"class"` // "GenericError", "CommandNotFound", ...
	Desc  string `json:"desc"`
}

// Error returns QEMU's own description.
func (e *Error) Error() string { return e.Desc }

// An Event is something QEMU tells unasked.
type Event struct {
	Name string
	Data json.RawMessage // empty where the event has none
	Time time.Time
}

// A Client is one connection to QEMU. Safe for concurrent use.
type Client struct {
	version string
	conn    net.Conn
	events  chan Event
	reader  sync.WaitGroup
	closing sync.Once

	write sync.Mutex // one command on the wire at a time

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan message
	ended   error // not nil once the connection is over
}

// New reads the greeting and leaves negotiation mode. ctx bounds that, not the
// life of the client. The client owns conn, also when New returns an error.
func New(ctx context.Context, conn net.Conn) (*Client, error) {
	c := &Client{conn: conn, events: make(chan Event, maxEvents), waiting: map[uint64]chan message{}}
	in := bufio.NewScanner(conn)
	in.Buffer(nil, maxMessage)
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	err := c.greet(in)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("qmp greeting: %w", err)
	}
	c.reader.Go(func() { c.read(in) })
	if err := c.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) greet(in *bufio.Scanner) error {
	if !in.Scan() {
		return endOf(in)
	}
	m, err := decode(in.Bytes())
	if err != nil {
		return err
	}
	if m.Greeting == nil {
		return errors.New("not a QMP server")
	}
	v := m.Greeting.Version.QEMU
	c.version = fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro)
	return nil
}

// Version returns QEMU's version, such as "7.2.22".
func (c *Client) Version() string { return c.version }

// Events returns what QEMU tells unasked, in order; it is closed when the
// connection is. Of a backlog only the newest events are kept.
func (c *Client) Events() <-chan Event { return c.events }

// Close ends the connection. It may be called twice.
func (c *Client) Close() error {
	var err error
	c.closing.Do(func() { err = c.conn.Close() })
	c.reader.Wait()
	return err
}

// Execute runs a command and stores its result in ret, both of which may be nil
// where there is none. QEMU's refusal is an *Error. When ctx ends first, Execute
// returns its error and QEMU may or may not have done it; the client goes on.
func (c *Client) Execute(ctx context.Context, command string, args, ret any) error {
	if err := c.execute(ctx, command, args, ret); err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	return nil
}

func (c *Client) execute(ctx context.Context, command string, args, ret any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id, answer, err := c.register()
	if err != nil {
		return err
	}
	defer c.forget(id)
	line, err := json.Marshal(request{Execute: command, Arguments: args, ID: id})
	if err != nil {
		return err
	}
	if err := c.send(ctx, append(line, '\n')); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case m, ok := <-answer:
		if !ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.ended
		}
		if m.Error != nil {
			return m.Error
		}
		if ret == nil {
			return nil
		}
		return json.Unmarshal(m.Return, ret)
	}
}

// register gives the next command its id and the channel for its answer.
func (c *Client) register() (uint64, chan message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return 0, nil, c.ended
	}
	c.last++
	answer := make(chan message, 1)
	c.waiting[c.last] = answer
	return c.last, answer, nil
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// send writes one command. Half a command would garble the next one, so that a
// write that is cut short ends the connection.
func (c *Client) send(ctx context.Context, line []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	cut := context.AfterFunc(ctx, func() { c.conn.Close() })
	_, err := c.conn.Write(line)
	if cut() && err == nil {
		return nil
	}
	c.conn.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// read hands out messages until the connection ends. It never waits for anybody
// but QEMU.
func (c *Client) read(in *bufio.Scanner) {
	var err error
	for err == nil {
		if !in.Scan() {
			err = endOf(in)
			break
		}
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var m message
		if m, err = decode(in.Bytes()); err == nil {
			err = c.deliver(m)
		}
	}
	c.conn.Close()
	close(c.events)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = err
	for id, answer := range c.waiting {
		delete(c.waiting, id)
		close(answer)
	}
}

func (c *Client) deliver(m message) error {
	if m.Event != "" {
		c.keep(m.event())
		return nil
	}
	if m.ID == nil {
		if m.Error != nil {
			return fmt.Errorf("%w: %w", ErrClosed, m.Error)
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.waiting[*m.ID]; ok {
		delete(c.waiting, *m.ID)
		answer <- m
	}
	return nil
}

// keep queues an event; only the reader calls it.
func (c *Client) keep(e Event) {
	for {
		select {
		case c.events <- e:
			return
		default:
		}
		select {
		case <-c.events:
		default:
		}
	}
}

func endOf(in *bufio.Scanner) error {
	if err := in.Err(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return ErrClosed
}
