package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/store"
	"github.com/clade-vm/clade/vswitch"
	"golang.org/x/crypto/ssh"
)

// agentWait is how long an act that needs the guest agent waits for it.
const agentWait = 10 * time.Second

// guest connects to the agent in a running machine. The caller closes it.
func (h *Host) guest(ctx context.Context, name clade.Name, op string) (hypervisor.Guest, *store.Machine, error) {
	m, err := h.record(ctx, name)
	if err != nil {
		return nil, nil, retitle(op, err)
	}
	g, ok := h.Driver.(hypervisor.Guester)
	if !ok {
		return nil, nil, &clade.Error{Op: op, On: "machine " + string(name), Kind: clade.Unsupported, Err: errors.New("this driver does not reach into guests")}
	}
	guest, err := g.Guest(ctx, h.place(m.ID))
	if err != nil {
		e := &clade.Error{Op: op, On: "machine " + string(name), Kind: clade.KindOf(err), Err: err}
		switch e.Kind {
		case clade.NotRunning:
			e.Err, e.Hint = nil, "start it first: clade start "+string(name)
		case clade.Timeout:
			e.Hint = fmt.Sprintf("is qemu-guest-agent installed? Is it still booting? clade wait %s --for agent", name)
		}
		return nil, nil, e
	}
	return guest, m, nil
}

// Exec runs a command through the guest agent. Kinds: NotFound, NotRunning,
// Timeout (no agent answers).
func (h *Host) Exec(ctx context.Context, name clade.Name, c clade.Command) (*clade.Exit, error) {
	reach, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	g, _, err := h.guest(reach, name, "run a command in")
	if err != nil {
		return nil, err
	}
	defer g.Close()
	exit, err := g.Exec(ctx, c)
	if err != nil {
		return nil, fileError("run a command in", "machine "+string(name), err)
	}
	return exit, nil
}

// Console connects to the serial console. The caller closes it.
func (h *Host) Console(ctx context.Context, name clade.Name) (io.ReadWriteCloser, error) {
	m, err := h.record(ctx, name)
	if err != nil {
		return nil, retitle("open the console of", err)
	}
	c, ok := h.Driver.(hypervisor.Consoler)
	if !ok {
		return nil, &clade.Error{Op: "open the console of", On: "machine " + string(name), Kind: clade.Unsupported}
	}
	console, err := c.Console(ctx, h.place(m.ID))
	if err != nil {
		return nil, fileError("open the console of", "machine "+string(name), err)
	}
	return console, nil
}

// Log opens one of a machine's logs: "console" or "qemu". Kinds: NotFound, Invalid.
func (h *Host) Log(ctx context.Context, name clade.Name, which string) (io.ReadCloser, error) {
	on := "log of machine " + string(name)
	if which != "console" && which != "qemu" {
		return nil, &clade.Error{Op: "open", On: on, Kind: clade.Invalid, Err: fmt.Errorf("%q is no log", which), Hint: "use console or qemu"}
	}
	m, err := h.record(ctx, name)
	if err != nil {
		return nil, retitle("open the log of", err)
	}
	f, err := os.Open(filepath.Join(h.machineDir(m.ID), which+".log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &clade.Error{Op: "open", On: on, Kind: clade.NotFound, Err: errors.New("the machine was never started")}
	}
	if err != nil {
		return nil, fileError("open", on, err)
	}
	return f, nil
}

// Dial connects to a TCP port of the machine over its network. Kinds: NotFound,
// NotRunning, Unsupported (the machine is on no user network).
func (h *Host) Dial(ctx context.Context, name clade.Name, port int) (net.Conn, error) {
	on := fmt.Sprintf("port %d of machine %s", port, name)
	m, err := h.record(ctx, name)
	if err != nil {
		return nil, retitle("dial", err)
	}
	if port < 1 || port > 65535 {
		return nil, &clade.Error{Op: "dial", On: on, Kind: clade.Invalid, Err: errors.New("ports go from 1 to 65535")}
	}
	if !userNetwork(m.Network) {
		return nil, &clade.Error{Op: "dial", On: on, Kind: clade.Unsupported, Err: errors.New("it is on no user network"),
			Hint: "reach a machine on a bridge by its own address"}
	}
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return nil, fileError("dial", on, err)
	}
	if status.State == clade.Stopped {
		return nil, &clade.Error{Op: "dial", On: on, Kind: clade.NotRunning, Hint: "start it first: clade start " + string(name)}
	}
	if !h.switchRuns(clade.Name(m.Network)) {
		if err := h.connect(ctx, m.Network); err != nil {
			return nil, err
		}
	}
	conn, err := vswitch.Dial(ctx, h.switchPath(clade.Name(m.Network), switchControl), netip.AddrPortFrom(m.Identity.IP, uint16(port)))
	if err != nil {
		return nil, fileError("dial", on, err)
	}
	return conn, nil
}

// Login says how to log in over SSH. The guest's host keys are read through its
// agent, so that the first connection is verified like every later one.
func (h *Host) Login(ctx context.Context, name clade.Name) (*clade.Login, error) {
	reach, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	g, m, err := h.guest(reach, name, "log in to")
	if err != nil {
		return nil, err
	}
	defer g.Close()
	on := "machine " + string(name)
	alias := m.ID + ".clade"
	var known strings.Builder
	for _, path := range hostKeyFiles {
		text, err := g.ReadFile(ctx, path, 16<<10)
		if err != nil {
			continue // not every kind of key is there
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			continue
		}
		known.WriteString(alias + " " + string(ssh.MarshalAuthorizedKey(key)))
	}
	if known.Len() == 0 {
		return nil, &clade.Error{Op: "log in to", On: on, Kind: clade.NotFound, Err: errors.New("the guest has no SSH host keys yet"),
			Hint: "wait for it: clade wait " + string(name) + " --for ssh"}
	}
	file := filepath.Join(h.machineDir(m.ID), knownHostsFile)
	if err := replaceFile(file, []byte(known.String())); err != nil {
		return nil, fileError("log in to", on, err)
	}
	return &clade.Login{User: m.User, Key: h.path(keysDir, keyFile), KnownHosts: file, Alias: alias,
		Proxy: append(h.Self[:len(h.Self):len(h.Self)], "dial", string(name), "22")}, nil
}

var hostKeyFiles = []string{"/etc/ssh/ssh_host_ed25519_key.pub", "/etc/ssh/ssh_host_ecdsa_key.pub", "/etc/ssh/ssh_host_rsa_key.pub"}
