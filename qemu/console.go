package qemu

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// Console implements hypervisor.Consoler. The console has one user at a time:
// kind Busy where somebody else has it.
func (d *Driver) Console(ctx context.Context, p hypervisor.Place) (io.ReadWriteCloser, error) {
	if err := running(p); err != nil {
		return nil, err
	}
	turn, err := tryQueue(p, consoleQueue)
	if err != nil {
		return nil, &clade.Error{Op: "open", On: "the serial console", Kind: clade.KindOf(err), Err: err,
			Hint: "leave the other terminal first"}
	}
	conn, err := connect(ctx, p, consoleSocket)
	if err != nil {
		turn.Close()
		return nil, talkError(p, "open", "the serial console", err)
	}
	return &console{Conn: conn, turn: turn}, nil
}

// console is a connection to the serial console and the turn at it.
type console struct {
	net.Conn
	turn *os.File
}

// Close may be called twice.
func (c *console) Close() error {
	err := errors.Join(c.Conn.Close(), c.turn.Close())
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
