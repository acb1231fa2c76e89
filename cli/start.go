package cli

import (
	"context"
	"time"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// conditions are what start and wait can wait for.
var conditions = []string{string(clade.WhenAgent), string(clade.WhenSSH), string(clade.WhenCloudInit), string(clade.WhenStopped)}

func (a *app) startVerb() *cobra.Command {
	var until string
	var o clade.StartOptions
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "start NAME...",
		Short: "Start machines",
		Long: `Start starts machines, several at once. It returns once they run; with --wait, once
their guest agent answers, their SSH server greets, or cloud-init is done in them.
Machines go on running when the command ends. One that is paused, because the disk of
this computer was full, goes on where it stood.

A machine that would collide with a running one (the same UUID, MAC, address, hostname
or known machine-id) is refused, and the other is named: clade mend gives it an
identity of its own.`,
		Example: `  clade start web-1 web-2
  clade start web-1 --wait ssh`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	cmd.Flags().StringVar(&until, "wait", "", "wait for agent, ssh or cloud-init")
	cmd.Flags().DurationVar(&limit, "timeout", 10*time.Minute, "how long to wait")
	acceptTwins(cmd, &o)
	complete(cmd, "wait", cobra.FixedCompletions(conditions[:3], cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch clade.Condition(until) {
		case "", clade.WhenAgent, clade.WhenSSH, clade.WhenCloudInit:
		default:
			return usage(cmd, "--wait %q: it is agent, ssh or cloud-init", until)
		}
		return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
			if err := s.Start(ctx, name, o, a.progress()); err != nil {
				return err
			}
			if until != "" {
				ctx, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				if err := s.Wait(ctx, name, clade.Condition(until), a.progress()); err != nil {
					return err
				}
			}
			a.say("%s runs", name)
			return nil
		})
	}
	return cmd
}

// acceptTwins adds the flag with which twins may run side by side.
func acceptTwins(cmd *cobra.Command, o *clade.StartOptions) {
	cmd.Flags().BoolVar(&o.AcceptTwins, "accept-twins", false, "start although a running machine has the same machine-id")
}

// onEach opens the home and does one thing for all the named machines at once.
func (a *app) onEach(cmd *cobra.Command, args []string, do func(context.Context, clade.Services, clade.Name) error) error {
	names, err := parseNames(args)
	if err != nil {
		return err
	}
	s, err := a.open(cmd.Context())
	if err != nil {
		return err
	}
	return each(cmd.Context(), names, func(ctx context.Context, name clade.Name) error { return do(ctx, s, name) })
}
