package fake

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
)

// Read implements clade.Guests.
func (h *Home) Read(ctx context.Context, name clade.Name) (*clade.Reading, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "read"); err != nil {
		return nil, err
	}
	m, err := h.running("read the identity of", name)
	if err != nil {
		return nil, err
	}
	g, id := h.s.Guests[m.ID], m.Identity
	return &clade.Reading{Hostname: string(id.Hostname), MachineID: g.MachineID, UUID: id.UUID, MACs: []string{id.MAC},
		IPs: []string{id.IP.String()}, HostKeys: slices.Clone(g.Keys), InstanceID: g.Instance}, nil
}

// Exec implements clade.Guests for a handful of commands. "status N" ends with N.
func (h *Home) Exec(ctx context.Context, name clade.Name, c clade.Command) (*clade.Exit, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "exec"); err != nil {
		return nil, err
	}
	m, err := h.running("run a command in", name)
	if err != nil {
		return nil, err
	}
	args := c.Args
	if args[0] == "timeout" {
		args = args[2:]
	}
	files := h.s.Guests[m.ID].Files
	switch args[0] {
	case "sync":
		return &clade.Exit{}, nil
	case "echo":
		return &clade.Exit{Out: []byte(strings.Join(args[1:], " ") + "\n")}, nil
	case "status":
		status, _ := strconv.Atoi(args[1])
		return &clade.Exit{Status: status, Err: []byte("as you like\n")}, nil
	case "tee":
		return h.tee(m, args[1:], string(c.Input)), nil
	case "cat":
		if len(args) == 1 {
			return &clade.Exit{Out: c.Input}, nil
		}
		text, ok := files[args[1]]
		return exit(ok, text), nil
	case "test":
		_, ok := files[args[2]]
		return exit(ok, ""), nil
	case "getent":
		other := h.neighbour(m, args[2])
		if other == nil {
			return &clade.Exit{Status: 2}, nil
		}
		return exit(true, other.Identity.IP.String()+" STREAM "+args[2]+"\n"), nil
	case "bash":
		other := h.neighbour(m, args[len(args)-1])
		return exit(other != nil && other.Name != h.s.Knobs.Unreachable, "SSH-2.0-fake\n"), nil
	}
	return &clade.Exit{Status: 127, Err: []byte(args[0] + ": not found\n")}, nil
}

func exit(ok bool, out string) *clade.Exit {
	if !ok {
		return &clade.Exit{Status: 1}
	}
	return &clade.Exit{Out: []byte(out)}
}

// tee writes files; where the knob is turned, into every guest.
func (h *Home) tee(m *clade.Machine, paths []string, text string) *clade.Exit {
	for _, other := range h.s.Machines {
		if other != m && !h.s.Knobs.Leak {
			continue
		}
		for _, path := range paths {
			h.s.Guests[other.ID].Files[path] = text
		}
	}
	return &clade.Exit{Out: []byte(text)}
}

// neighbour finds a running machine of m's network by address or hostname.
func (h *Home) neighbour(m *clade.Machine, address string) *clade.Machine {
	for _, other := range h.s.Machines {
		if other.Network == m.Network && other.State == clade.Running &&
			(other.Identity.IP.String() == address || string(other.Identity.Hostname) == address) {
			return other
		}
	}
	return nil
}

// Dial implements clade.Guests: port 22 greets like SSH, port 7 echoes.
func (h *Home) Dial(_ context.Context, name clade.Name, port int) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.running("dial", name); err != nil {
		return nil, err
	}
	if (port != 22 && port != 7) || name == h.s.Knobs.Unreachable {
		return nil, fail("dial", fmt.Sprintf("port %d of machine %s", port, name), clade.NotFound, "", "connection refused")
	}
	near, far := net.Pipe()
	go func() { // ends when the caller closes near
		defer far.Close()
		if port == 22 {
			_, _ = io.WriteString(far, "SSH-2.0-fake\r\n")
			return
		}
		_, _ = io.Copy(far, far)
	}()
	return near, nil
}

// Console implements clade.Guests: it greets and echoes.
func (h *Home) Console(_ context.Context, name clade.Name) (io.ReadWriteCloser, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.running("open the console of", name); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	go func() { // ends when the caller closes near
		defer far.Close()
		_, _ = io.WriteString(far, string(name)+" login: ")
		_, _ = io.Copy(far, far)
	}()
	return near, nil
}

// Log implements clade.Guests.
func (h *Home) Log(_ context.Context, name clade.Name, which string) (io.ReadCloser, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.machine("open the log of", name); err != nil {
		return nil, err
	}
	text, ok := h.s.Logs[name][which]
	if !ok {
		return nil, fail("open", "log of machine "+string(name), clade.NotFound, "", "the machine was never started")
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

// Login implements clade.Guests.
func (h *Home) Login(_ context.Context, name clade.Name) (*clade.Login, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.running("log in to", name)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(h.file)
	return &clade.Login{User: m.User, Key: filepath.Join(dir, "my key"), KnownHosts: filepath.Join(dir, "known hosts"),
		Alias: m.ID + ".clade", Proxy: []string{"/opt/my clade", "--home", dir, "dial", string(name), "22"}}, nil
}
