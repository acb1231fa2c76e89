package cli

import (
	"io"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// maxStdin bounds what exec passes to a guest's command: it goes through the
// guest agent in one piece.
const maxStdin = 4 << 20

func (a *app) execVerb() *cobra.Command {
	var input bool
	var inPool string
	cmd := &cobra.Command{
		Use:   "exec NAME | --pool POOL -- COMMAND...",
		Short: "Run a command in a machine through its guest agent",
		Long: `Exec runs a command as root in a running machine, without network or login, and
ends with the command's exit status (128 and more: it was ended by a signal). The
output comes when the command has ended; what is long or interactive is for ssh.

With --pool it runs in all machines of a pool that run, several at the same time. Each
line of output begins with the machine's name, a summary comes last, and the exit status
is the worst.`,
		Example: `  clade exec web-1 -- systemctl is-system-running
  clade exec web-1 -i -- tee /etc/motd < motd
  clade exec web-1 -- sh -c 'df -h /; uptime'
  clade exec --pool lab -- apt-get update`,
		Args:              func(cmd *cobra.Command, args []string) error { return execArgs(cmd, args, inPool != "") },
		ValidArgsFunction: a.completeMachine,
	}
	cmd.Flags().BoolVarP(&input, "input", "i", false, "pass standard input to the command (up to 4 MiB)")
	cmd.Flags().StringVar(&inPool, "pool", "", "run it in all machines of this pool")
	complete(cmd, "pool", a.completePools)
	asJSON := cmd.Flags().Bool("json", false, "with --pool: print how it ended, as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if inPool != "" {
			args = append([]string{inPool}, args...)
		}
		name, err := clade.ParseName(args[0])
		if err != nil {
			return err
		}
		c := clade.Command{Args: args[1:]}
		if input {
			if c.Input, err = io.ReadAll(io.LimitReader(a.env.In, maxStdin+1)); err != nil {
				return err
			}
			if len(c.Input) > maxStdin {
				return usage(cmd, "standard input has more than 4 MiB: use clade cp")
			}
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		if inPool != "" {
			return a.execPool(cmd.Context(), s, name, c, *asJSON)
		}
		exit, err := s.Exec(cmd.Context(), name, c)
		if err != nil {
			return err
		}
		return a.finish(exit)
	}
	return cmd
}

// execArgs wants a machine and a command, or a command alone for a pool.
func execArgs(cmd *cobra.Command, args []string, inPool bool) error {
	dash := cmd.ArgsLenAtDash()
	if inPool && (len(args) == 0 || dash > 0) {
		return usage(cmd, "with --pool it takes -- COMMAND...")
	}
	if !inPool && (len(args) < 2 || dash > 1 || dash == 0) {
		return usage(cmd, "it takes NAME -- COMMAND...")
	}
	return nil
}

// finish passes on how a guest's command ended.
func (a *app) finish(exit *clade.Exit) error {
	if _, err := a.env.Out.Write(exit.Out); err != nil {
		return err
	}
	if _, err := a.env.Err.Write(exit.Err); err != nil {
		return err
	}
	if exit.Truncated {
		a.say("the output was longer, and is cut here")
	}
	switch {
	case exit.Signal != 0:
		return exitStatus(128 + exit.Signal)
	case exit.Status != 0:
		return exitStatus(exit.Status)
	}
	return nil
}
