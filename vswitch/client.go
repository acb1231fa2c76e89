package vswitch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
)

// Dial connects to a TCP port of a machine, through the switch with this control
// socket. ctx bounds the dialling, not the connection. The connection has a
// CloseWrite method; the caller closes it. It breaks when the machine ends.
//
// The errors are of kind NotRunning if there is no switch, no machine with this
// address or nothing that listens, and Timeout if the machine does not answer.
func Dial(ctx context.Context, control string, to netip.AddrPort) (net.Conn, error) {
	fail := func(kind clade.Kind, err error) (net.Conn, error) {
		if ctx.Err() != nil {
			kind, err = clade.Timeout, context.Cause(ctx)
		}
		return nil, &clade.Error{Op: "connect", On: to.String(), Kind: kind, Err: err}
	}
	conn, err := reach(ctx, control)
	if err != nil {
		return fail(clade.KindOf(err), err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: to.String()}, Host: to.String()}
	r := bufio.NewReader(conn)
	err = request.Write(conn)
	var response *http.Response
	if err == nil {
		response, err = http.ReadResponse(r, request)
	}
	if !stop() || err != nil {
		conn.Close()
		return fail(clade.NotRunning, err)
	}
	if response.StatusCode != http.StatusOK {
		defer conn.Close()
		f := readFault(response)
		return fail(f.Kind, errors.New(f.Text))
	}
	return &readerConn{halfConn: conn, r: r}, nil
}

// Poke makes the switch ask again which machines run, and returns once those named,
// or all if none is named, are connected. The errors are of kind NotRunning if
// there is no switch or a machine named does not run, Timeout if one could not be
// connected in about three seconds, or whatever the switch's list of ports says.
func Poke(ctx context.Context, control string, machines ...clade.Name) error {
	query := url.Values{}
	for _, m := range machines {
		query.Add("machine", string(m))
	}
	return call(ctx, control, http.MethodPost, "/poke?"+query.Encode(), "poke", nil)
}

// Stat returns what the switch does, or an error of kind NotRunning.
func Stat(ctx context.Context, control string) (*Status, error) {
	var s Status
	if err := call(ctx, control, http.MethodGet, "/status", "ask", &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Stop ends the switch and returns when it has ended; machines go on without a
// network. No switch is no error.
func Stop(ctx context.Context, control string) error {
	err := call(ctx, control, http.MethodPost, "/stop", "stop", nil)
	if err != nil && !errors.Is(err, clade.NotRunning) {
		return err
	}
	for {
		running, err := Running(control)
		if err != nil || !running {
			return err
		}
		if err := pause(ctx, control, "stop"); err != nil {
			return err
		}
	}
}

// Ensure pokes the switch, and runs one first where there is none: spawn must start
// a process that calls Run, and need not wait for it. Of many that do so at once
// one switch remains. spawn is called again if its switch does not come up within
// two seconds, and if ctx ends the error is of kind Timeout.
func Ensure(ctx context.Context, control string, spawn func(context.Context) error, machines ...clade.Name) error {
	var spawned time.Time
	for {
		err := Poke(ctx, control, machines...)
		if !errors.Is(err, errNoSwitch) {
			return err
		}
		running, err := Running(control)
		if err != nil {
			return err
		}
		if !running && time.Since(spawned) > 2*time.Second {
			if err := spawn(ctx); err != nil {
				return err
			}
			spawned = time.Now()
		}
		if err := pause(ctx, control, "run"); err != nil {
			return err
		}
	}
}

// errNoSwitch is in the errors that say that nobody serves the control socket.
var errNoSwitch = errors.New("no switch runs")

// pause waits a moment before another look.
func pause(ctx context.Context, control, op string) error {
	select {
	case <-ctx.Done():
		return &clade.Error{Op: op, On: "switch " + control, Kind: clade.Timeout, Err: context.Cause(ctx)}
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

// reach connects to the control socket.
func reach(ctx context.Context, control string) (*net.UnixConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", control)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, &clade.Error{Op: "reach", On: "switch " + control, Kind: clade.NotRunning, Err: errNoSwitch}
	}
	if err != nil {
		return nil, trouble("reach", control, err)
	}
	return conn.(*net.UnixConn), nil
}

// call makes one request and reads its answer into result, if not nil.
func call(ctx context.Context, control, method, path, op string, result any) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return reach(ctx, control) },
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://switch"+path, nil)
	if err != nil {
		return trouble(op, control, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return callFault(ctx, op, control, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusServiceUnavailable {
		return callFault(ctx, op, control, errEnding)
	}
	if response.StatusCode != http.StatusOK {
		f := readFault(response)
		return &clade.Error{Op: op, On: "switch " + control, Kind: f.Kind, Err: errors.New(f.Text)}
	}
	if result == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<20)).Decode(result); err != nil {
		return callFault(ctx, op, control, err)
	}
	return nil
}

// callFault gives a request that got no answer its kind: the switch ended under it,
// unless the caller lost patience first.
func callFault(ctx context.Context, op, control string, err error) error {
	e := &clade.Error{Op: op, On: "switch " + control, Kind: clade.NotRunning, Err: errNoSwitch}
	known := clade.KindOf(err)
	switch {
	case ctx.Err() != nil:
		e.Kind, e.Err = clade.Timeout, context.Cause(ctx)
	case known != clade.Internal && known != clade.NotRunning:
		e.Kind, e.Err = known, err
	}
	return e
}

// readFault reads an error that the switch sent.
func readFault(response *http.Response) fault {
	f := fault{Kind: clade.Internal, Text: response.Status}
	// What is no fault in JSON leaves the status line.
	_ = json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&f)
	return f
}
