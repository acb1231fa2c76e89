package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clade-vm/clade"
)

// Wait returns once the condition holds for a machine. When ctx ends before, the
// kind is Timeout; when the machine stops meanwhile, NotRunning.
func (h *Host) Wait(ctx context.Context, name clade.Name, until clade.Condition, p clade.Progress) error {
	ready, ok := map[clade.Condition]func(context.Context, clade.Name) (bool, error){
		clade.WhenAgent:     h.agentAnswers,
		clade.WhenSSH:       h.sshGreeting(),
		clade.WhenCloudInit: h.cloudInitDone,
		clade.WhenStopped:   h.stopped,
	}[until]
	on := "machine " + string(name)
	if !ok {
		return &clade.Error{Op: "wait for", On: on, Kind: clade.Invalid, Err: fmt.Errorf("%q is nothing to wait for", until), Hint: "use agent, ssh, cloud-init or stopped"}
	}
	step := fmt.Sprintf("wait for %s of %s", until, name)
	if until == clade.WhenStopped {
		step = "wait until " + string(name) + " is stopped"
	}
	pause := 250 * time.Millisecond
	if until == clade.WhenSSH { // which costs the guest next to nothing
		pause = 50 * time.Millisecond
	}
	for {
		p.Tell(clade.Event{Step: step})
		done, err := ready(ctx, name)
		if done {
			h.learnAgain(ctx, name)
			p.Tell(clade.Event{Step: step, End: true})
			return nil
		}
		if until != clade.WhenStopped && err == nil {
			err = h.mustRun(ctx, name)
		}
		if ctx.Err() == nil && err != nil {
			return retitle("wait for", err)
		}
		select {
		case <-ctx.Done():
			return &clade.Error{Op: "wait for", On: on, Kind: clade.Timeout, Err: fmt.Errorf("%s is not there yet", until),
				Hint: "wait longer (--timeout), or see what it does: clade logs " + string(name)}
		case <-time.After(pause):
		}
	}
}

// learnAgain records the machine-id of a guest that has come up, if its agent
// tells it: the start gate compares it. That it does not is no failure of waiting.
func (h *Host) learnAgain(ctx context.Context, name clade.Name) {
	reach, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	g, m, err := h.guest(reach, name, "wait for")
	if err != nil {
		return
	}
	defer g.Close()
	if text, err := g.ReadFile(reach, "/etc/machine-id", 64); err == nil {
		_ = h.learn(ctx, m, strings.TrimSpace(string(text)))
	}
}

func (h *Host) mustRun(ctx context.Context, name clade.Name) error {
	m, err := h.Machine(ctx, name)
	if err != nil || m.State != clade.Stopped {
		return err
	}
	return &clade.Error{On: "machine " + string(name), Kind: clade.NotRunning, Err: errors.New("it is stopped: " + first(m.Reason, "never started"))}
}

func (h *Host) stopped(ctx context.Context, name clade.Name) (bool, error) {
	m, err := h.Machine(ctx, name)
	return err == nil && m.State == clade.Stopped, err
}

func (h *Host) agentAnswers(ctx context.Context, name clade.Name) (bool, error) {
	reach, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	g, _, err := h.guest(reach, name, "wait for")
	if err != nil {
		return false, unlessLater(err)
	}
	return true, g.Close()
}

// sshGreeting asks whether an SSH server greets, over the network. What is sent to a
// guest that has no address yet is lost, and sent again a second later: so it begins
// with short attempts, which grow for guests that are slow.
func (h *Host) sshGreeting() func(context.Context, clade.Name) (bool, error) {
	limit := 250 * time.Millisecond
	return func(ctx context.Context, name clade.Name) (bool, error) {
		reach, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		limit = min(limit*5/4, 3*time.Second)
		conn, err := h.Dial(reach, name, 22)
		if errors.Is(err, clade.Unsupported) || errors.Is(err, clade.NotFound) {
			return false, err
		}
		if err != nil {
			return false, nil // nobody listens yet
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		banner, err := bufio.NewReader(conn).ReadString('\n')
		return err == nil && strings.HasPrefix(banner, "SSH-"), nil
	}
}

// cloudInitDone asks for the file that cloud-init writes last.
func (h *Host) cloudInitDone(ctx context.Context, name clade.Name) (bool, error) {
	reach, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	g, _, err := h.guest(reach, name, "wait for")
	if err != nil {
		return false, unlessLater(err)
	}
	defer g.Close()
	_, err = g.ReadFile(reach, "/var/lib/cloud/instance/boot-finished", 64)
	if err != nil {
		return false, nil // not yet
	}
	_, err = g.ReadFile(reach, "/run/cloud-init/result.json", 64)
	return err == nil, nil
}

// unlessLater keeps the errors that waiting does not mend.
func unlessLater(err error) error {
	if errors.Is(err, clade.Timeout) || errors.Is(err, clade.Busy) || errors.Is(err, clade.NotRunning) {
		return nil
	}
	return err
}
