package fake

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/clade-vm/clade/hypervisor"
)

// Console implements hypervisor.Consoler: what is typed comes back.
func (d *Driver) Console(_ context.Context, p hypervisor.Place) (io.ReadWriteCloser, error) {
	if _, err := d.running(p); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	c := &console{Conn: near}
	c.echo.Go(func() {
		defer far.Close()
		_, _ = io.Copy(far, far)
	})
	return c, nil
}

// console is one end of a pipe whose other end echoes until it is closed.
type console struct {
	net.Conn
	echo sync.WaitGroup
}

func (c *console) Close() error {
	err := c.Conn.Close()
	c.echo.Wait()
	return err
}
