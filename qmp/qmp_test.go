package qmp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clade-vm/clade/qmp"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}` + "\r\n"

type command struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        uint64          `json:"id"`
}

// server is the other end: it greets, answers the handshake and then lets answer
// say what to write for each command.
func server(t *testing.T, answer func(c command) string) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer far.Close()
		fmt.Fprint(far, greeting)
		in := bufio.NewScanner(far)
		for in.Scan() {
			var c command
			if err := json.Unmarshal(in.Bytes(), &c); err != nil {
				t.Errorf("command %q: %v", in.Text(), err)
				return
			}
			text := fmt.Sprintf("{\"return\": {}, \"id\": %d}\r\n", c.ID)
			if c.Execute != "qmp_capabilities" {
				text = answer(c)
			}
			if _, err := far.Write([]byte(text)); err != nil || text == "" {
				return
			}
		}
	})
	t.Cleanup(func() { near.Close(); wg.Wait() })
	return near
}

func dial(t *testing.T, answer func(c command) string) *qmp.Client {
	t.Helper()
	c, err := qmp.New(t.Context(), server(t, answer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func ok(c command, value string) string {
	return fmt.Sprintf("{\"return\": %s, \"id\": %d}\r\n", value, c.ID)
}

func event(name string, n int) string {
	return fmt.Sprintf(`{"timestamp": {"seconds": 7, "microseconds": 5}, "event": %q, "data": {"n": %d}}`+"\r\n", name, n)
}

func TestHandshake(t *testing.T) {
	c := dial(t, nil)
	if c.Version() != "7.2.22" {
		t.Errorf("Version = %q", c.Version())
	}
}

func TestRefusal(t *testing.T) {
	c := dial(t, func(c command) string {
		return fmt.Sprintf(`{"error": {"class": "CommandNotFound", "desc": "no such thing"}, "id": %d}`+"\n", c.ID)
	})
	err := c.Execute(t.Context(), "frob", nil, nil)
	refusal, is := errors.AsType[*qmp.Error](err)
	if !is || refusal.Class != "CommandNotFound" || err.Error() != "qmp frob: no such thing" {
		t.Errorf("Execute = %v", err)
	}
}

// An event that follows a reply at once, in the same packet, must not cost the reply.
func TestEventsAroundReplies(t *testing.T) {
	c := dial(t, func(c command) string {
		return event("BEFORE", int(c.ID)) + ok(c, string(c.Arguments)) + event("AFTER", int(c.ID))
	})
	for i := range 50 {
		var got int
		if err := c.Execute(t.Context(), "echo", i, &got); err != nil || got != i {
			t.Fatalf("Execute(%d) = %d, %v", i, got, err)
		}
	}
	for i := range 50 {
		for _, want := range []string{"BEFORE", "AFTER"} {
			e := <-c.Events()
			if e.Name != want || string(e.Data) != fmt.Sprintf(`{"n": %d}`, i+2) || !e.Time.Equal(time.Unix(7, 5000)) {
				t.Fatalf("event %d = %+v, want %s", i, e, want)
			}
		}
	}
}

func TestLargeReply(t *testing.T) {
	for _, size := range []int{65535, 65536, 70000, 4 << 20} {
		want := strings.Repeat("x", size)
		c := dial(t, func(c command) string { return ok(c, `"`+want+`"`) })
		var got string
		if err := c.Execute(t.Context(), "large", nil, &got); err != nil || got != want {
			t.Errorf("reply of %d bytes: %d bytes, %v", size, len(got), err)
		}
	}
}

func TestOversizedReplyEndsTheConnection(t *testing.T) {
	c := dial(t, func(c command) string { return strings.Repeat("x", 17<<20) })
	for range 2 {
		if err := c.Execute(t.Context(), "huge", nil, nil); !errors.Is(err, qmp.ErrClosed) {
			t.Errorf("Execute = %v, want %v", err, qmp.ErrClosed)
		}
	}
}

// Nobody reads the events; the replies come all the same, and the newest events are kept.
func TestSlowEventReader(t *testing.T) {
	const flood = 100
	n := 0
	c := dial(t, func(c command) string {
		var b strings.Builder
		for range flood {
			n++
			b.WriteString(event("FLOOD", n))
		}
		return b.String() + ok(c, "{}")
	})
	for range 20 {
		if err := c.Execute(t.Context(), "flood", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	var last qmp.Event
	count := 0
	for e := range c.Events() {
		last = e
		count++
	}
	if count == 0 || count >= 20*flood || string(last.Data) != fmt.Sprintf(`{"n": %d}`, 20*flood) {
		t.Errorf("%d events kept, the last %s; want a bounded number that ends with the newest", count, last.Data)
	}
}

func TestRepliesOutOfOrder(t *testing.T) {
	var held []command
	c := dial(t, func(c command) string {
		held = append(held, c)
		if len(held) < 8 {
			return "\r\n" // nothing yet
		}
		var b strings.Builder
		for i := range held {
			h := held[len(held)-1-i]
			b.WriteString(ok(h, string(h.Arguments)))
		}
		return b.String()
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var got int
			if err := c.Execute(t.Context(), "echo", i, &got); err != nil || got != i {
				t.Errorf("Execute(%d) = %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

// The answer to a command that was given up comes late and belongs to nobody.
func TestAbandonedCommand(t *testing.T) {
	var late *command
	c := dial(t, func(c command) string {
		if late == nil {
			late = &c
			return "\r\n"
		}
		return ok(*late, "1") + ok(c, "2")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Execute(ctx, "slow", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Execute = %v, want %v", err, context.DeadlineExceeded)
	}
	var got int
	if err := c.Execute(t.Context(), "next", nil, &got); err != nil || got != 2 {
		t.Errorf("the next command = %d, %v, want 2", got, err)
	}
}

func TestConnectionLost(t *testing.T) {
	c := dial(t, func(command) string { return "" })
	for range 2 {
		if err := c.Execute(t.Context(), "quit", nil, nil); !errors.Is(err, qmp.ErrClosed) {
			t.Errorf("Execute = %v, want %v", err, qmp.ErrClosed)
		}
	}
	if _, open := <-c.Events(); open {
		t.Error("Events is still open")
	}
}

func TestNoServer(t *testing.T) {
	for what, write := range map[string]string{
		"silence":      "",
		"half a line":  `{"QMP": `,
		"another tool": "SSH-2.0-OpenSSH_9.2\r\n",
		"no greeting":  event("RESET", 1),
	} {
		near, far := net.Pipe()
		go far.Write([]byte(write))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if c, err := qmp.New(ctx, near); err == nil {
			c.Close()
			t.Errorf("%s: New went through", what)
		}
		cancel()
		far.Close()
	}
}

func TestWriteThatNobodyReads(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		fmt.Fprint(far, greeting)
		in := bufio.NewReader(far)
		in.ReadString('\n')
		fmt.Fprint(far, `{"return": {}, "id": 1}`+"\n")
	}()
	c, err := qmp.New(t.Context(), near)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Execute(ctx, "stuck", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Execute = %v, want %v", err, context.DeadlineExceeded)
	}
	if err := c.Execute(t.Context(), "next", nil, nil); !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("the next command = %v, want %v: half a command may be on the wire", err, qmp.ErrClosed)
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(event("SHUTDOWN", 1)))
	f.Add([]byte(greeting))
	f.Add([]byte(`{"return": [1, {"a": null}], "id": 18446744073709551615}`))
	f.Add([]byte(`{"error": {"class": "x"}, "event": 3}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, is := qmp.ParseEvent(line)
		if is != (e.Name != "") {
			t.Errorf("ParseEvent(%q) = %+v, %v", line, e, is)
		}
	})
}
