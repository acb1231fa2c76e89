package qemu

import (
	"context"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/hold"
	"github.com/clade-vm/clade/qmp"
)

// statusLimit is how long a machine that runs may take to say more about itself.
const statusLimit = 500 * time.Millisecond

// Status implements hypervisor.Driver. A machine runs as long as its process
// lives; whether it is paused it is asked, and one that does not answer runs.
func (d *Driver) Status(ctx context.Context, p hypervisor.Place) (hypervisor.Status, error) {
	if unix.Access(lockPath(p), unix.F_OK) == unix.ENOENT {
		return hypervisor.Status{State: clade.Stopped}, nil // it was never started
	}
	held, err := hold.Held(lockPath(p))
	if err != nil {
		return hypervisor.Status{}, err
	}
	pid, since := hold.Holder(lockPath(p))
	if !held {
		st := hypervisor.Status{State: clade.Stopped, Since: since}
		if !since.IsZero() {
			st.Reason = endReason(p)
		}
		return st, nil
	}
	st := hypervisor.Status{State: clade.Running, PID: pid, Since: since}
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	said, err := d.ask(ctx, p)
	if err != nil {
		return st, nil // busy, hung or ending; its process lives all the same
	}
	if why, paused := pauses[said]; paused {
		st.State, st.Reason = clade.Paused, why
	}
	return st, nil
}

// pauses are QEMU's states in which the processors stand still, in our words.
var pauses = map[string]string{
	"paused":         "paused",
	"debug":          "stopped by a debugger",
	"guest-panicked": "the guest panicked",
	"internal-error": "the processor cannot go on: internal error of the hypervisor",
	"io-error":       "a disk of the machine cannot be written: is the host's disk full?",
	"save-vm":        "its state is being saved",
	"suspended":      "the guest sleeps",
	"watchdog":       "stopped by its watchdog",
}

// ask returns QEMU's own word for what the machine does.
func (d *Driver) ask(ctx context.Context, p hypervisor.Place) (string, error) {
	c, err := dial(ctx, p, statusSocket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	var ret struct {
		Status string `json:"status"`
	}
	err = c.Execute(ctx, "query-status", nil, &ret)
	return ret.Status, err
}

// dial connects to one of the machine's monitors.
func dial(ctx context.Context, p hypervisor.Place, socket string) (*qmp.Client, error) {
	conn, err := connect(ctx, p, socket)
	if err != nil {
		return nil, err
	}
	return qmp.New(ctx, conn)
}

func connect(ctx context.Context, p hypervisor.Place, socket string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", filepath.Join(p.Run, socket))
}
