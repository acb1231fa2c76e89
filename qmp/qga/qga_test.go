package qga

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qmp"
)

type question struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
}

// agent answers on the other end of a pipe: the sync by itself, with the error
// that a real agent says first, the rest through reply; "" is silence.
func agent(t *testing.T, reply func(q question) string) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer far.Close()
		in := bufio.NewReader(far)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			var text string
			rest, sync := bytes.CutPrefix(line, []byte{0xFF})
			var q question
			if err := json.Unmarshal(rest, &q); err != nil {
				t.Errorf("question %q: %v", rest, err)
				return
			}
			if sync {
				var args struct{ ID int64 }
				json.Unmarshal(q.Arguments, &args)
				text = fmt.Sprintf("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n\xff{\"return\": %d}", args.ID)
			} else {
				text = reply(q)
			}
			if text == "" {
				continue
			}
			if _, err := far.Write([]byte(text + "\n")); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { near.Close(); wg.Wait() })
	return near
}

func dial(t *testing.T, reply func(q question) string) *Client {
	t.Helper()
	c, err := New(t.Context(), agent(t, reply))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSyncSkipsToItsID(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		in := bufio.NewReader(far)
		ask := func() int64 {
			line, _ := in.ReadBytes('\n')
			var q struct{ Arguments struct{ ID int64 } }
			json.Unmarshal(bytes.TrimPrefix(line, []byte{0xFF}), &q)
			return q.Arguments.ID
		}
		first := ask() // an agent that is not there yet
		second := ask()
		fmt.Fprintf(far, "half an answer of before\"}}\n\xff\xff\n{\"return\": {}}\n")
		fmt.Fprintf(far, "{\"error\": {\"class\": \"GenericError\"}}\n\xff{\"return\": %d}\n", first)
		fmt.Fprintf(far, "\xff{\"return\": %d}\n{\"return\"", second+1)
		fmt.Fprintf(far, ": %d}\nrubbish\xff{\"return\": %d}\n", second, second)
		ask()
		fmt.Fprintf(far, "{\"return\": {}}\n")
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := New(ctx, near)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(ctx); err != nil {
		t.Errorf("Ping = %v", err)
	}
}

func TestNoAgent(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := New(ctx, near); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("New with nobody there = %v, want %v", err, context.DeadlineExceeded)
	}
	near, far = net.Pipe()
	far.Close()
	if _, err := New(t.Context(), near); !errors.Is(err, ErrClosed) {
		t.Errorf("New on a dead connection = %v, want %v", err, ErrClosed)
	}
}

// The agent forgets a command with the answer that says it ended: asking once
// more would be an error.
func TestExec(t *testing.T) {
	var seen []string
	polls := 0
	c := dial(t, func(q question) string {
		seen = append(seen, q.Execute+string(q.Arguments))
		if q.Execute == "guest-exec" {
			return `{"return": {"pid": 42}}`
		}
		polls++
		switch {
		case polls < 3:
			return `{"return": {"exited": false}}`
		case polls == 3:
			return `{"return": {"exited": true, "exitcode": 3, "out-data": "b3V0", "err-data": "ZXJy", "err-truncated": true}}`
		}
		return `{"error": {"class": "GenericError", "desc": "PID 42 does not exist"}}`
	})
	x, err := c.Exec(t.Context(), clade.Command{Args: []string{"sh", "-c", "x"}, Input: []byte("in")})
	if err != nil || x.Status != 3 || string(x.Out) != "out" || string(x.Err) != "err" || !x.Truncated {
		t.Errorf("Exec = %+v, %v", x, err)
	}
	if want := `guest-exec{"path":"sh","arg":["-c","x"],"input-data":"aW4=","capture-output":true}`; seen[0] != want {
		t.Errorf("asked %s, want %s", seen[0], want)
	}
	if len(seen) != 4 {
		t.Errorf("asked %q, want one exec and three polls", seen)
	}
}

func TestExecRefused(t *testing.T) {
	for desc, want := range map[string]clade.Kind{
		"Failed to execute child process “x” (No such file or directory)": clade.NotFound,
		"Failed to execute child process “x” (Permission denied)":         clade.Denied,
		"Command guest-exec has been disabled":                            clade.Unsupported,
		"something else":                                                  clade.Invalid,
	} {
		c := dial(t, func(question) string {
			return fmt.Sprintf(`{"error": {"class": "GenericError", "desc": %q}}`, desc)
		})
		_, err := c.Exec(t.Context(), clade.Command{Args: []string{"x"}})
		if clade.KindOf(err) != want {
			t.Errorf("%s: kind %v, want %v", desc, clade.KindOf(err), want)
		}
		if _, is := errors.AsType[*qmp.Error](err); !is {
			t.Errorf("%s: no *qmp.Error in %v", desc, err)
		}
		if c.over != nil {
			t.Errorf("%s: a refusal ended the connection", desc)
		}
	}
	c := dial(t, nil)
	for _, cmd := range []clade.Command{{}, {Args: []string{"cat"}, Input: make([]byte, maxInput+1)}} {
		if _, err := c.Exec(t.Context(), cmd); !errors.Is(err, clade.Invalid) {
			t.Errorf("Exec of %d args, %d bytes = %v", len(cmd.Args), len(cmd.Input), err)
		}
	}
}

// file is an agent with one file.
func file(content []byte) func(q question) string {
	open := 0
	return func(q question) string {
		var args struct {
			Path   string
			Handle int64
			Count  int
		}
		json.Unmarshal(q.Arguments, &args)
		switch q.Execute {
		case "guest-file-open":
			if args.Path != "/there" {
				return `{"error": {"class": "GenericError", "desc": "failed to open file '` + args.Path + `' (mode: 'r'): No such file or directory"}}`
			}
			open++
			return fmt.Sprintf(`{"return": %d}`, 1000+open)
		case "guest-file-read":
			n := min(args.Count, len(content))
			data, _ := json.Marshal(content[:n])
			content = content[n:]
			return fmt.Sprintf(`{"return": {"count": %d, "buf-b64": %s, "eof": %v}}`, n, data, n < args.Count)
		}
		open--
		return `{"return": {}}`
	}
}

func TestReadFile(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 10000)
	for _, test := range []struct{ content, limit, want int }{
		{0, 10, 0}, {16, 10, 10}, {16, 16, 16}, {16, 100, 16}, {160000, 1 << 20, 160000}, {160000, 100001, 100001}, {5, 0, 0},
	} {
		c := dial(t, file(long[:test.content]))
		got, err := c.ReadFile(t.Context(), "/there", test.limit)
		if err != nil || !bytes.Equal(got, long[:test.want]) {
			t.Errorf("ReadFile of %d, limit %d = %d bytes, %v", test.content, test.limit, len(got), err)
		}
	}
	c := dial(t, file(nil))
	if _, err := c.ReadFile(t.Context(), "/none", 10); !errors.Is(err, clade.NotFound) {
		t.Errorf("ReadFile of no file = %v, want %v", err, clade.NotFound)
	}
}

func TestHostileAnswers(t *testing.T) {
	for what, reply := range map[string]string{
		"rubbish":   "}{",
		"nothing":   "{}",
		"too large": strings.Repeat(" ", maxMessage+1),
	} {
		c := dial(t, func(question) string { return reply })
		for range 2 {
			if err := c.Ping(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: Ping = %v, want %v", what, err, ErrClosed)
			}
		}
	}
	c := dial(t, func(q question) string {
		if q.Execute == "guest-file-open" {
			return `{"return": 1}`
		}
		return `{"return": {"buf-b64": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "eof": false}}`
	})
	if data, err := c.ReadFile(t.Context(), "/there", 4); err == nil {
		t.Errorf("ReadFile took %d bytes, limit 4", len(data))
	}
}

func TestSilenceEndsTheConnection(t *testing.T) {
	c := dial(t, func(question) string { return "" })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping = %v, want %v", err, context.DeadlineExceeded)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("the next Ping = %v, want %v: a late answer would be taken for its own", err, ErrClosed)
	}
}

func TestInterfacesAreValidated(t *testing.T) {
	many := strings.Repeat(`{"name": "x"},`, 1000)
	c := dial(t, func(question) string { return `{"return": [{"name": 7}]}` })
	if _, err := c.Interfaces(t.Context()); err == nil {
		t.Error("Interfaces took a number for a name")
	}
	c = dial(t, func(question) string {
		return `{"return": [{"name": "eth0", "hardware-address": "52:54:00:AA:bb:01", "ip-addresses": [` +
			`{"ip-address": "10.0.0.1"}, {"ip-address": "fe80::1%eth0"}, {"ip-address": "$(reboot)"}]},` +
			`{"name": "\u001b[31mevil\n` + strings.Repeat("é", 100) + `", "hardware-address": "none"},` + many + `{}]}`
	})
	got, err := c.Interfaces(t.Context())
	if err != nil || len(got) != maxInterfaces {
		t.Fatalf("Interfaces = %d of them, %v, want %d", len(got), err, maxInterfaces)
	}
	if got[0].MAC != "52:54:00:aa:bb:01" || !slices.Equal(got[0].IPs, []string{"10.0.0.1", "fe80::1"}) {
		t.Errorf("interface 0 = %+v", got[0])
	}
	if n := got[1].Name; !strings.HasPrefix(n, "[31mevilé") || len(n) > maxName || got[1].MAC != "" {
		t.Errorf("interface 1 = %+v", got[1])
	}
}

func TestShutdown(t *testing.T) {
	c := dial(t, func(question) string { return "" })
	if err := c.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown that is heard in silence = %v", err)
	}
	c = dial(t, func(question) string { return `{"error": {"class": "GenericError", "desc": "no"}}` })
	if err := c.Shutdown(t.Context()); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Shutdown that is refused = %v", err)
	}
}

func TestFreezing(t *testing.T) {
	state := "thawed"
	c := dial(t, func(q question) string {
		switch q.Execute {
		case "guest-fsfreeze-freeze":
			state = "frozen"
			return `{"return": 2}`
		case "guest-fsfreeze-thaw":
			state = "thawed"
			return `{"return": 2}`
		}
		return `{"return": "` + state + `"}`
	})
	if n, err := c.Freeze(t.Context()); n != 2 || err != nil {
		t.Errorf("Freeze = %d, %v", n, err)
	}
	if frozen, err := c.Frozen(t.Context()); !frozen || err != nil {
		t.Errorf("Frozen = %v, %v", frozen, err)
	}
	if err := c.Thaw(t.Context()); err != nil {
		t.Errorf("Thaw = %v", err)
	}
	if frozen, err := c.Frozen(t.Context()); frozen || err != nil {
		t.Errorf("Frozen after Thaw = %v, %v", frozen, err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("{\"return\": {}}\n"))
	f.Add([]byte("\xff{\"return\": 12}\n"))
	f.Add([]byte("{\"error\": {\"class\": \"GenericError\", \"desc\": \"x\"}}\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := decode(line)
		if err == nil && a.Return == nil && a.Error == nil {
			t.Errorf("decode(%q) is neither an answer nor an error", line)
		}
		if _, ok := syncID(line); ok && !bytes.Contains(line, []byte{0xFF}) {
			t.Errorf("syncID(%q) without the sentinel", line)
		}
	})
}

// pipes is an agent in whose guest a process answers what it is ordered, in upper
// case, when the agent has looked for the answer a few times.
func pipes(looks int) func(q question) string {
	var ordered string
	return func(q question) string {
		var args struct {
			Path, Mode string
			Handle     int64
			Data       []byte `json:"buf-b64"`
		}
		json.Unmarshal(q.Arguments, &args)
		switch {
		case args.Path == "/orders" && args.Mode == "r+":
			return `{"return": 1}`
		case args.Path == "/answer" && args.Mode == "r":
			return `{"return": 2}`
		case q.Execute == "guest-file-open":
			return `{"error": {"class": "GenericError", "desc": "failed to open file: No such file or directory"}}`
		case q.Execute == "guest-file-write":
			ordered = string(args.Data)
			return fmt.Sprintf(`{"return": {"count": %d, "eof": false}}`, len(args.Data))
		case q.Execute == "guest-file-read" && looks > 1: // nobody has opened it
			looks--
			return `{"return": {"count": 0, "buf-b64": "", "eof": true}}`
		case q.Execute == "guest-file-read" && looks == 1: // and not written to it
			looks--
			return `{"error": {"class": "GenericError", "desc": "failed to read file: Resource temporarily unavailable"}}`
		case q.Execute == "guest-file-read":
			data, _ := json.Marshal([]byte(strings.ToUpper(ordered)))
			return fmt.Sprintf(`{"return": {"buf-b64": %s, "eof": true}}`, data)
		}
		return `{"return": {}}`
	}
}

func TestOrder(t *testing.T) {
	c := dial(t, pipes(4))
	said, err := c.Order(t.Context(), "/orders", []byte("wake up"), "/answer", 7)
	if err != nil || string(said) != "WAKE UP" {
		t.Errorf("Order = %q, %v", said, err)
	}
	if _, err := c.Order(t.Context(), "/orders", []byte("wake up"), "/none", 7); !errors.Is(err, clade.NotFound) {
		t.Errorf("Order without a pipe = %v, want %v", err, clade.NotFound)
	}
	if _, err := c.Order(t.Context(), "/orders", make([]byte, maxOrders+1), "/answer", 7); !errors.Is(err, clade.Invalid) {
		t.Errorf("Order that no pipe takes = %v, want %v", err, clade.Invalid)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := dial(t, pipes(1<<20)).Order(ctx, "/orders", nil, "/answer", 7); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Order that nobody answers = %v, want the end of ctx", err)
	}
}
