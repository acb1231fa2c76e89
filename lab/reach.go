package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/clade-vm/clade"
)

// sshPort is where every machine of the lab greets.
const sshPort = 22

// greet is what a guest runs to read the first line that an address sends on
// the SSH port. The shell opens the connection itself: nothing need be installed.
const greet = `exec 3<>"/dev/tcp/$1/22" && IFS= read -r -t 10 line <&3 && printf '%s\n' "$line"`

// checkReach checks that each machine can be reached from the host, and from
// the others both by address and by name. What cannot be reached is a failed
// check, not an error, unless ctx has ended.
func (r *run) checkReach(ctx context.Context) error {
	for _, to := range r.names() {
		m := r.machines[to]
		c := Check{Part: 3, Group: Reach, Name: way("the host", string(to)), Values: map[string]string{"address": m.Identity.IP.String()}}
		err := r.retry(ctx, func(ctx context.Context) error {
			banner, err := r.dial(ctx, to)
			c.Values["greeting"] = banner
			return err
		})
		r.check(judged(c, err))
	}
	found := make(map[clade.Name][]Check)
	for _, from := range r.names() {
		found[from] = nil
	}
	err := each(ctx, r.names(), func(ctx context.Context, from clade.Name) error {
		var checks []Check
		for _, to := range r.names() {
			if to != from {
				checks = append(checks, r.cross(ctx, from, r.machines[to].Identity))
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		found[from] = checks
		return ctx.Err()
	})
	for _, from := range r.names() {
		for _, c := range found[from] {
			r.check(c)
		}
	}
	return err
}

// cross checks the way from one machine to another.
func (r *run) cross(ctx context.Context, from clade.Name, to clade.Identity) Check {
	ip, name := to.IP.String(), string(to.Hostname)
	c := Check{Part: 3, Group: Reach, Name: way(string(from), name), Values: map[string]string{"address": ip, "name": name}}
	return judged(c, r.retry(ctx, func(ctx context.Context) error {
		out, err := r.guest(ctx, from, nil, "getent", "ahostsv4", name)
		if err != nil {
			return fmt.Errorf("%s cannot be resolved: %w", name, err)
		}
		address, _, _ := strings.Cut(out, " ")
		if c.Values["resolved"] = plain(address); address != ip {
			return fmt.Errorf("%s is resolved to %.40q, not to %s", name, address, ip)
		}
		for _, target := range []string{ip, name} {
			out, err := r.guest(ctx, from, nil, "timeout", "15", "bash", "-c", greet, "greet", target)
			if err != nil {
				return fmt.Errorf("%s does not greet: %w", target, err)
			}
			if !strings.HasPrefix(out, "SSH-") {
				return fmt.Errorf("%s greets with %.40q", target, out)
			}
		}
		return nil
	}))
}

// dial reads a machine's SSH greeting from the host.
func (r *run) dial(ctx context.Context, name clade.Name) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := r.s.Dial(ctx, name, sshPort)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetReadDeadline(deadline); err != nil {
			return "", err
		}
	}
	line, err := bufio.NewReader(io.LimitReader(conn, 255)).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no greeting: %w", err)
	}
	if !strings.HasPrefix(line, "SSH-") {
		return plain(line), fmt.Errorf("it greets with %.40q", line)
	}
	return plain(line), nil
}

// retry tries until it works, or the time for a greeting has passed.
func (r *run) retry(ctx context.Context, try func(context.Context) error) error {
	end := time.Now().Add(r.o.Greet)
	for {
		err := try(ctx)
		if err == nil || ctx.Err() != nil || !time.Now().Before(end) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second, r.o.Greet/4+time.Millisecond)):
		}
	}
}

// judged completes a check from the error of what it tried.
func judged(c Check, err error) Check {
	if err != nil {
		return verdict(c, false, plain(err.Error()))
	}
	return verdict(c, true, "")
}
