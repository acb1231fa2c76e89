// Package qga speaks to the QEMU guest agent over a connection that somebody
// else made.
//
// The other end is the guest, and hostile: every message is bounded in size and
// time, every value is bounded and validated, and after anything that leaves the
// conversation in doubt the connection is over.
package qga

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/clade-vm/clade/qmp"
)

const (
	// maxMessage bounds one answer, in bytes. The agent caps each captured stream at
	// 16 MiB; both together in base64 are 43 MiB.
	maxMessage = 48 << 20
	// maxWait bounds one answer in time, whatever the context allows.
	maxWait = 60 * time.Second
)

// ErrClosed is in the chain of every error that says the connection is over.
var ErrClosed = errors.New("agent connection closed")

// A Client is one connection to an agent. Not safe for concurrent use: the
// protocol has one question at a time.
type Client struct {
	conn    net.Conn
	in      *bufio.Reader
	partial []byte // the beginning of a line whose end has not come yet
	over    error  // not nil once the connection is over
}

// New waits until the agent answers: it repeats its question, so that an agent
// that comes up late, or restarts, is found, and skips whatever else comes in. It
// returns ctx's error when that ends first. The client owns conn, also when New
// returns an error.
func New(ctx context.Context, conn net.Conn) (*Client, error) {
	c := &Client{conn: conn, in: bufio.NewReader(conn)}
	if err := c.sync(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("guest-sync-delimited: %w", err)
	}
	return c, nil
}

// Close ends the connection. It may be called twice.
func (c *Client) Close() error {
	if c.over == nil {
		c.over = ErrClosed
	}
	err := c.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// request is a question on the wire.
type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
}

// answer is what the agent says to it.
type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *qmp.Error      `json:"error"`
}

// Execute asks one question and stores the answer in ret, which may be nil. A
// refusal is a *qmp.Error and leaves the client in order; after any other error,
// the end of ctx included, the connection is over.
func (c *Client) Execute(ctx context.Context, command string, args, ret any) error {
	a, err := c.ask(ctx, command, args, maxWait)
	if err == nil && a.Error != nil {
		err = a.Error
	}
	if err == nil && ret != nil {
		err = json.Unmarshal(a.Return, ret)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

func (c *Client) ask(ctx context.Context, command string, args any, wait time.Duration) (answer, error) {
	if c.over != nil {
		return answer{}, c.over
	}
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	line, err := json.Marshal(request{Execute: command, Arguments: args})
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = c.within(ctx, wait, func() error {
		if _, err := c.conn.Write(append(line, '\n')); err != nil {
			return err
		}
		text, err := c.line()
		if err != nil {
			return err
		}
		a, err = decode(text)
		return err
	})
	if err == nil {
		return a, nil
	}
	c.Close()
	if ctx.Err() != nil {
		return answer{}, ctx.Err()
	}
	return answer{}, fmt.Errorf("%w: %w", ErrClosed, err)
}

// within gives talk a deadline, which the end of ctx brings forward.
func (c *Client) within(ctx context.Context, limit time.Duration, talk func() error) error {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	err := talk()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return err
}

// sync makes sure that the next line is the answer to the next question. The
// 0xFF makes the agent forget half a question of somebody before us.
func (c *Client) sync(ctx context.Context) error {
	for interval := 500 * time.Millisecond; ; interval = min(2*interval, 5*time.Second) {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := c.within(ctx, interval, func() error { return c.syncOnce(rand.Int64N(1 << 52)) })
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("%w: %w", ErrClosed, err)
		}
	}
}

func (c *Client) syncOnce(id int64) error {
	line, err := json.Marshal(request{Execute: "guest-sync-delimited", Arguments: map[string]int64{"id": id}})
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(append(append([]byte{0xFF}, line...), '\n')); err != nil {
		return err
	}
	for {
		text, err := c.line()
		if err != nil {
			return err
		}
		if got, ok := syncID(text); ok && got == id {
			return nil
		}
	}
}

// syncID returns the id in the answer to guest-sync-delimited. Anything else on
// the line before the agent's own 0xFF is rubbish.
func syncID(line []byte) (int64, bool) {
	at := bytes.LastIndexByte(line, 0xFF)
	if at < 0 {
		return 0, false
	}
	a, err := decode(line[at+1:])
	if err != nil || a.Error != nil {
		return 0, false
	}
	var id int64
	err = json.Unmarshal(a.Return, &id)
	return id, err == nil
}

func decode(line []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return answer{}, err
	}
	if a.Return == nil && a.Error == nil {
		return answer{}, errors.New("neither an answer nor an error")
	}
	return a, nil
}

// line returns the next line; it is valid until the next call. When the deadline
// passes first, what came of it is kept for the next call.
func (c *Client) line() ([]byte, error) {
	for {
		chunk, err := c.in.ReadSlice('\n')
		c.partial = append(c.partial, chunk...)
		switch {
		case len(c.partial) > maxMessage:
			return nil, fmt.Errorf("an answer of more than %d bytes", maxMessage)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, err
		}
		line := c.partial
		c.partial = nil
		return line, nil
	}
}
