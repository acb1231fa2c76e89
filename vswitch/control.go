package vswitch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/clade-vm/clade"
)

// The control socket speaks HTTP: GET /status, POST /poke?machine=NAME..., POST
// /stop and CONNECT ADDRESS:PORT. An error is a fault in JSON.

const (
	// pokeLimit is how long a poke waits for a QEMU that does not listen yet.
	pokeLimit = 3 * time.Second
	pokeEvery = 25 * time.Millisecond
)

// Status says what a switch does.
type Status struct {
	Network clade.Name   `json:"network"`
	PID     int          `json:"pid"`
	Since   time.Time    `json:"since"`
	Ports   []PortStatus `json:"ports"` // by machine name
}

// PortStatus says how one machine is connected. The counters begin when the switch
// first hears of the machine.
type PortStatus struct {
	Port
	Connected bool        `json:"connected"`
	Since     time.Time   `json:"since,omitzero"` // of the connection
	Received  clade.Bytes `json:"received"`       // from the machine
	Sent      clade.Bytes `json:"sent"`           // to the machine
	Refused   uint64      `json:"refused"`        // frames from the machine that were not its own to send
	Lost      uint64      `json:"lost"`           // frames that the machine did not take in time
}

// A fault is an error on its way through the control socket.
type fault struct {
	Kind clade.Kind `json:"kind"`
	Text string     `json:"error"`
}

// A controller is the switch's side of the control socket.
type controller struct {
	segment *segment
	since   time.Time
	stop    func()
}

func newServer(s *segment, stop func(), log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           &controller{segment: s, since: time.Now(), stop: stop},
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

func (c *controller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /status":
		answer(w, c.status())
	case "POST /poke":
		if err := c.poke(r.Context(), r.URL.Query()["machine"]); err != nil {
			refuseRequest(w, err)
		}
	case "POST /stop":
		c.stop()
	default:
		if r.Method == http.MethodConnect {
			c.connect(w, r)
			return
		}
		refuseRequest(w, clade.Unsupported)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// Who has gone away needs no answer.
	_ = json.NewEncoder(w).Encode(v)
}

func refuseRequest(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	if errors.Is(err, errEnding) {
		w.WriteHeader(http.StatusServiceUnavailable)
	} else {
		w.WriteHeader(http.StatusConflict)
	}
	_ = json.NewEncoder(w).Encode(fault{Kind: clade.KindOf(err), Text: err.Error()})
}

func (c *controller) status() Status {
	s := Status{Network: c.segment.plan.Network, PID: os.Getpid(), Since: c.since, Ports: []PortStatus{}}
	for _, p := range c.segment.table.Load().byName {
		ps := PortStatus{Port: p.Port, Refused: p.refused.Load(), Lost: p.lost.Load(),
			Received: clade.Bytes(p.received.Load()), Sent: clade.Bytes(p.sent.Load())}
		if l := p.link.Load(); l != nil {
			ps.Connected, ps.Since = true, l.since
		}
		s.Ports = append(s.Ports, ps)
	}
	slices.SortFunc(s.Ports, func(a, b PortStatus) int { return strings.Compare(string(a.Machine), string(b.Machine)) })
	return s
}

// poke syncs until the machines named, or all, are connected, or pokeLimit passes.
func (c *controller) poke(ctx context.Context, machines []string) error {
	limit := time.Now().Add(pokeLimit)
	for {
		unconnected, err := c.segment.sync(ctx)
		if err == nil {
			err = c.waitingFor(machines, unconnected)
		}
		if clade.KindOf(err) != clade.Timeout || time.Now().After(limit) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pokeEvery):
		}
	}
}

// waitingFor returns nil when every machine that counts is connected, and an error
// of kind Timeout while one may still be.
func (c *controller) waitingFor(machines []string, unconnected map[clade.Name]error) error {
	t := c.segment.table.Load()
	for _, m := range machines {
		if t.byName[clade.Name(m)] == nil {
			return &clade.Error{Op: "connect", On: fmt.Sprintf("machine %.63s", m), Kind: clade.NotRunning}
		}
	}
	var all []error
	for name, err := range unconnected {
		if len(machines) == 0 || slices.Contains(machines, string(name)) {
			all = append(all, &clade.Error{Op: "connect", On: "machine " + string(name), Kind: clade.Timeout, Err: err})
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	if all != nil {
		slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return &clade.Error{Kind: clade.Timeout, Err: errors.Join(all...)}
	}
	return nil
}

// connect joins the caller to a TCP port of a machine.
func (c *controller) connect(w http.ResponseWriter, r *http.Request) {
	to, err := netip.ParseAddrPort(r.Host)
	if err != nil || !to.Addr().Is4() || to.Port() == 0 {
		refuseRequest(w, &clade.Error{Kind: clade.Invalid, Err: fmt.Errorf("%.80q is not an IPv4 address and port", r.Host)})
		return
	}
	p, ok := c.segment.table.Load().byIP[to.Addr()]
	if !ok || p.link.Load() == nil {
		refuseRequest(w, &clade.Error{Kind: clade.NotRunning, Err: errors.New("no machine with this address is connected")})
		return
	}
	// The flow outlives the request, whose context ends when the caller goes away.
	flow, end, ok := c.segment.gateway.flows.begin(context.WithoutCancel(r.Context()), to.Addr())
	if !ok {
		refuseRequest(w, &clade.Error{Kind: clade.Busy, Err: errors.New("too many connections to this machine")})
		return
	}
	defer end()
	dialling, stop := context.WithCancel(r.Context())
	defer stop()
	defer context.AfterFunc(flow, stop)()
	machine, err := c.segment.gateway.dial(dialling, to)
	if err != nil {
		refuseRequest(w, dialFault(err))
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		machine.Close()
		return
	}
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connected\r\n\r\n"); err != nil {
		machine.Close()
		client.Close()
		return
	}
	join(flow, machine, &readerConn{halfConn: client.(halfConn), r: buffered.Reader})
}

// dialFault gives the stack's error its kind. The stack has no error values to
// compare, only their texts.
func dialFault(err error) error {
	switch {
	case strings.Contains(err.Error(), "refused"):
		return &clade.Error{Kind: clade.NotRunning, Err: errors.New("connection refused")}
	case errors.Is(err, context.Canceled):
		return &clade.Error{Kind: clade.NotRunning, Err: errors.New("the machine left")}
	}
	return &clade.Error{Kind: clade.Timeout, Err: fmt.Errorf("no answer: %w", err)}
}

// A readerConn is a connection of which a part has been read ahead.
type readerConn struct {
	halfConn
	r *bufio.Reader
}

func (c *readerConn) Read(b []byte) (int, error) { return c.r.Read(b) }
