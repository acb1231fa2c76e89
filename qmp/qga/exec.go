package qga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qmp"
)

// maxInput bounds what a command is given on its standard input, in bytes: all of
// it travels in one message through the agent's memory.
const maxInput = 8 << 20

// Exec runs a command in the guest and returns how it ended. When ctx ends first
// the command goes on in the guest: the agent has no way to end it. Kinds:
// Invalid (no command, too much input), NotFound (the guest has no such program).
func (c *Client) Exec(ctx context.Context, cmd clade.Command) (*clade.Exit, error) {
	if len(cmd.Args) == 0 {
		return nil, &clade.Error{Op: "run", On: "guest command", Kind: clade.Invalid, Err: errors.New("no command")}
	}
	if len(cmd.Input) > maxInput {
		return nil, &clade.Error{Op: "run", On: "guest command", Kind: clade.Invalid,
			Err: fmt.Errorf("input of %v, more than %v", clade.Bytes(len(cmd.Input)), clade.Bytes(maxInput))}
	}
	args := struct {
		Path    string   `json:"path"`
		Arg     []string `json:"arg,omitempty"`
		Input   []byte   `json:"input-data,omitempty"`
		Capture bool     `json:"capture-output"`
	}{cmd.Args[0], cmd.Args[1:], cmd.Input, true}
	var started struct {
		PID int64 `json:"pid"`
	}
	if err := c.Execute(ctx, "guest-exec", args, &started); err != nil {
		return nil, refusal("run", fmt.Sprintf("guest command %.80q", cmd.Args[0]), err)
	}
	return c.await(ctx, started.PID)
}

// status is the agent's answer about a command it runs.
type status struct {
	Exited       bool   `json:"exited"`
	Code         int    `json:"exitcode"`
	Signal       int    `json:"signal"`
	Out          []byte `json:"out-data"`
	Err          []byte `json:"err-data"`
	OutTruncated bool   `json:"out-truncated"`
	ErrTruncated bool   `json:"err-truncated"`
}

// await asks until the command has ended, and then never again: the agent forgets
// a command with the answer that says it ended.
func (c *Client) await(ctx context.Context, pid int64) (*clade.Exit, error) {
	for pause := 5 * time.Millisecond; ; pause = min(pause*3/2, 500*time.Millisecond) {
		var s status
		if err := c.Execute(ctx, "guest-exec-status", map[string]int64{"pid": pid}, &s); err != nil {
			return nil, err
		}
		if s.Exited {
			return &clade.Exit{Status: s.Code, Signal: s.Signal, Out: s.Out, Err: s.Err,
				Truncated: s.OutTruncated || s.ErrTruncated}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// refusal gives an agent's refusal its kind. The agent's classes tell next to
// nothing, so that its words have to.
func refusal(op, on string, err error) error {
	said, is := errors.AsType[*qmp.Error](err)
	if !is {
		return fmt.Errorf("%s %s: %w", op, on, err)
	}
	e := &clade.Error{Op: op, On: on, Kind: clade.Invalid, Err: err}
	switch {
	case said.Class == "CommandNotFound" || contains(said.Desc, "has been disabled"):
		e.Kind = clade.Unsupported
		e.Hint = "the guest agent does not allow it: see BLOCK_RPCS in the guest's /etc/sysconfig/qemu-ga, or update the agent"
	case contains(said.Desc, "No such file or directory"):
		e.Kind = clade.NotFound
	case contains(said.Desc, "Permission denied"):
		e.Kind = clade.Denied
	}
	return e
}
