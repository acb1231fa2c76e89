package qga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qmp"
)

// maxOrders is what a pipe takes at once, in bytes.
const maxOrders = 64 << 10

// Order writes orders to a named pipe from which a process of the guest reads, and
// returns the size bytes, at most 4096, that a process writes to the named pipe answer
// at once. No program is started in the guest, and what is ordered is in no list of
// processes and in no log of the agent. Kinds: NotFound (no such pipes), Denied,
// Unsupported, Invalid (too long).
func (c *Client) Order(ctx context.Context, pipe string, orders []byte, answer string, size int) ([]byte, error) {
	on := fmt.Sprintf("guest pipe %.200q", pipe)
	if len(orders) > maxOrders {
		return nil, &clade.Error{Op: "write", On: on, Kind: clade.Invalid, Err: fmt.Errorf("%d bytes, more than %d", len(orders), maxOrders)}
	}
	to, err := c.open(ctx, pipe, "r+")
	if err != nil {
		return nil, refusal("write", on, err)
	}
	var wrote struct {
		Count int `json:"count"`
	}
	args := struct {
		Handle int64  `json:"handle"`
		Data   []byte `json:"buf-b64"`
	}{to, orders}
	err = c.Execute(ctx, "guest-file-write", args, &wrote)
	if err == nil && wrote.Count != len(orders) {
		err = fmt.Errorf("it took %d bytes of %d", wrote.Count, len(orders))
	}
	if err == nil {
		err = c.Execute(ctx, "guest-file-close", map[string]int64{"handle": to}, nil)
	}
	if err != nil {
		return nil, refusal("write", on, err)
	}
	said, err := c.answer(ctx, answer, size)
	if err != nil {
		return nil, refusal("read", fmt.Sprintf("guest pipe %.200q", answer), err)
	}
	return said, nil
}

// answer reads a pipe until there is what is waited for: the agent does not wait.
func (c *Client) answer(ctx context.Context, path string, size int) ([]byte, error) {
	from, err := c.open(ctx, path, "r")
	if err != nil {
		return nil, err
	}
	var data []byte
	for pause := 5 * time.Millisecond; len(data) == 0; pause = min(pause*3/2, 100*time.Millisecond) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
		data, err = c.readHandle(ctx, from, size)
		if _, refused := errors.AsType[*qmp.Error](err); err != nil && !(refused && contains(err.Error(), "temporarily unavailable")) {
			return nil, err
		}
	}
	return data, c.Execute(ctx, "guest-file-close", map[string]int64{"handle": from}, nil)
}

func (c *Client) open(ctx context.Context, path, mode string) (handle int64, err error) {
	err = c.Execute(ctx, "guest-file-open", map[string]string{"path": path, "mode": mode}, &handle)
	return handle, err
}
