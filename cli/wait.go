package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) waitVerb() *cobra.Command {
	var until string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "wait NAME...",
		Short: "Wait until machines have come so far",
		Long: `Wait returns once the condition holds for all the machines: agent (the guest agent
answers), ssh (an SSH server greets), cloud-init (it is done) or stopped.`,
		Example: `  clade wait web-1 --for ssh
  clade wait web-1 web-2 --for stopped --timeout 1h`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	cmd.Flags().StringVar(&until, "for", string(clade.WhenAgent), strings.Join(conditions, ", "))
	cmd.Flags().DurationVar(&limit, "timeout", 10*time.Minute, "how long to wait")
	complete(cmd, "for", cobra.FixedCompletions(conditions, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(conditions, until) {
			return usage(cmd, "--for %q: it is %s", until, strings.Join(conditions, ", "))
		}
		return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return s.Wait(ctx, name, clade.Condition(until), a.progress())
		})
	}
	return cmd
}
