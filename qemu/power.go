package qemu

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/hold"
)

const (
	agentLimit = time.Second      // for an agent to answer that may not be there
	quitLimit  = 2 * time.Second  // for QEMU to end by itself
	endLimit   = 20 * time.Second // for QEMU to be gone once it has taken its sockets away
)

// Stop implements hypervisor.Driver: through the guest agent where one answers
// within a second, else by the ACPI power button.
func (d *Driver) Stop(ctx context.Context, p hypervisor.Place) error {
	if err := running(p); err != nil {
		return err
	}
	if err := d.shutdown(ctx, p); err == nil {
		return nil
	} else if ctx.Err() != nil {
		return talkError(p, "stop", "guest", ctx.Err())
	}
	err := pressButton(ctx, p)
	if err != nil && ctx.Err() == nil && ends(ctx, p, err) {
		return running(p)
	}
	return talkError(p, "press", "the power button", err)
}

func pressButton(ctx context.Context, p hypervisor.Place) error {
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Execute(ctx, "system_powerdown", nil, nil)
}

// ends tells whether a machine that could not be talked to was about to end, and
// waits for that: QEMU takes its sockets away some time before it is gone itself.
func ends(ctx context.Context, p hypervisor.Place, err error) bool {
	left := []error{fs.ErrNotExist, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF}
	if !slices.ContainsFunc(left, func(e error) bool { return errors.Is(err, e) }) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	return hold.Wait(ctx, lockPath(p)) == nil
}

// shutdown asks the guest agent to power off.
func (d *Driver) shutdown(ctx context.Context, p hypervisor.Place) error {
	reach, cancel := context.WithTimeout(ctx, agentLimit)
	defer cancel()
	g, err := d.agent(reach, p)
	if err != nil {
		return err
	}
	defer g.Close()
	return g.client.Shutdown(ctx)
}

// Kill implements hypervisor.Driver: QEMU is told to quit, which leaves its disks
// in order, and killed where it does not within two seconds.
func (d *Driver) Kill(ctx context.Context, p hypervisor.Place) error {
	held, err := hold.Held(lockPath(p))
	if err != nil || !held {
		return err
	}
	quit, cancel := context.WithTimeout(ctx, quitLimit)
	defer cancel()
	if c, err := dial(quit, p, controlSocket); err == nil {
		_ = c.Execute(quit, "quit", nil, nil) // whether it did is seen by the lock
		_ = hold.Wait(quit, lockPath(p))
		c.Close()
	}
	held, err = hold.Held(lockPath(p))
	if err != nil || !held {
		return err
	}
	if err := hold.Kill(ctx, lockPath(p)); err != nil {
		return err
	}
	if err := noteKill(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileError("note", "the kill", err)
	}
	return nil
}
