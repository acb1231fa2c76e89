package qemu

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qmp/qga"
)

// Guest implements hypervisor.Guester. Commands that want the same agent at the
// same time take turns.
func (d *Driver) Guest(ctx context.Context, p hypervisor.Place) (hypervisor.Guest, error) {
	if err := running(p); err != nil {
		return nil, err
	}
	g, err := d.agent(ctx, p)
	if err != nil {
		return nil, talkError(p, "reach", "the guest agent", err)
	}
	return g, nil
}

// guest is a connection to the agent in one guest.
type guest struct {
	place  hypervisor.Place
	turn   *os.File
	client *qga.Client
}

// agent connects to the agent, and again when QEMU drops the connection, until
// it answers or ctx or the machine ends.
func (d *Driver) agent(ctx context.Context, p hypervisor.Place) (*guest, error) {
	turn, err := queue(ctx, p, agentQueue)
	if err != nil {
		return nil, err
	}
	for {
		client, err := greetAgent(ctx, p)
		if err == nil {
			return &guest{place: p, turn: turn, client: client}, nil
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		} else if ended := running(p); ended != nil {
			err = ended
		} else {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		turn.Close()
		return nil, err
	}
}

func greetAgent(ctx context.Context, p hypervisor.Place) (*qga.Client, error) {
	conn, err := connect(ctx, p, agentSocket)
	if err != nil {
		return nil, err
	}
	return qga.New(ctx, conn)
}

// Close ends the connection and the turn. It may be called twice.
func (g *guest) Close() error {
	err := g.client.Close()
	if turn := g.turn.Close(); err == nil && !errors.Is(turn, os.ErrClosed) {
		err = turn
	}
	return err
}

// Exec implements hypervisor.Guest.
func (g *guest) Exec(ctx context.Context, c clade.Command) (*clade.Exit, error) {
	exit, err := g.client.Exec(ctx, c)
	return exit, talkError(g.place, "run", "guest command", err)
}

// ReadFile implements hypervisor.Guest.
func (g *guest) ReadFile(ctx context.Context, path string, limit int) ([]byte, error) {
	data, err := g.client.ReadFile(ctx, path, limit)
	return data, talkError(g.place, "read", "guest file", err)
}

// Order implements hypervisor.Guest.
func (g *guest) Order(ctx context.Context, pipe string, orders []byte, answer string, size int) ([]byte, error) {
	said, err := g.client.Order(ctx, pipe, orders, answer, size)
	return said, talkError(g.place, "order", "guest process", err)
}

// Interfaces implements hypervisor.Guest.
func (g *guest) Interfaces(ctx context.Context) ([]hypervisor.Interface, error) {
	said, err := g.client.Interfaces(ctx)
	var found []hypervisor.Interface
	for _, i := range said {
		found = append(found, hypervisor.Interface(i))
	}
	return found, talkError(g.place, "read", "guest interfaces", err)
}
