package qga

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
	"unicode"
)

// The most that is believed of a guest's interfaces.
const (
	maxInterfaces = 64
	maxAddresses  = 32
	maxName       = 64 // bytes
)

// Ping returns once the agent answers.
func (c *Client) Ping(ctx context.Context) error {
	return c.Execute(ctx, "guest-ping", nil, nil)
}

// An Interface is a network interface as the guest reports it: a printable name,
// a MAC in lower case or none, and addresses in canonical form.
type Interface struct {
	Name string
	MAC  string
	IPs  []string
}

// Interfaces returns the guest's network interfaces. What is not valid in the
// answer is left out.
func (c *Client) Interfaces(ctx context.Context) ([]Interface, error) {
	var said []struct {
		Name      string `json:"name"`
		MAC       string `json:"hardware-address"`
		Addresses []struct {
			IP string `json:"ip-address"`
		} `json:"ip-addresses"`
	}
	if err := c.Execute(ctx, "guest-network-get-interfaces", nil, &said); err != nil {
		return nil, refusal("read", "guest interfaces", err)
	}
	var found []Interface
	for _, s := range said[:min(maxInterfaces, len(said))] {
		i := Interface{Name: printable(s.Name)}
		if mac, err := net.ParseMAC(s.MAC); err == nil {
			i.MAC = mac.String()
		}
		for _, a := range s.Addresses[:min(maxAddresses, len(s.Addresses))] {
			if ip, err := netip.ParseAddr(a.IP); err == nil {
				i.IPs = append(i.IPs, ip.WithZone("").String())
			}
		}
		found = append(found, i)
	}
	return found, nil
}

// printable bounds a guest's text and leaves out what a terminal might obey.
func printable(s string) string {
	s = strings.ToValidUTF8(s[:min(maxName, len(s))], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}

// Freeze freezes the guest's file systems and returns how many. Whoever calls it
// must call Thaw, also when Freeze returns an error: it may have been done.
func (c *Client) Freeze(ctx context.Context) (int, error) {
	var n int
	err := c.Execute(ctx, "guest-fsfreeze-freeze", nil, &n)
	return n, err
}

// Thaw thaws the guest's file systems. Thawing what is not frozen is no error.
func (c *Client) Thaw(ctx context.Context) error {
	return c.Execute(ctx, "guest-fsfreeze-thaw", nil, nil)
}

// Frozen tells whether the guest's file systems are frozen.
func (c *Client) Frozen(ctx context.Context) (bool, error) {
	var state string
	err := c.Execute(ctx, "guest-fsfreeze-status", nil, &state)
	return state == "frozen", err
}

// SetTime sets the guest's clock.
func (c *Client) SetTime(ctx context.Context, now time.Time) error {
	return c.Execute(ctx, "guest-set-time", map[string]int64{"time": now.UnixNano()}, nil)
}

// Shutdown asks the guest to power off. The agent answers only to refuse, so that
// silence for half a second is consent; the connection is over then.
func (c *Client) Shutdown(ctx context.Context) error {
	a, err := c.ask(ctx, "guest-shutdown", map[string]string{"mode": "powerdown"}, 500*time.Millisecond)
	switch {
	case err == nil && a.Error != nil:
		return refusal("shut down", "guest", a.Error)
	case ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	}
	return err
}
