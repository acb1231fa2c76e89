package cli

import (
	"context"
	"errors"
	"time"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// stopWait is how long a guest may take to power off.
const stopWait = 90 * time.Second

func (a *app) stopVerb() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "stop NAME...",
		Short: "Ask machines to power off",
		Long: `Stop asks the guests to power off, through their agent or else by ACPI, and returns
once they did. A guest that does not within the time goes on running: kill ends it.`,
		Example: `  clade stop web-1 web-2
  clade stop web-1 --wait 5m`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	cmd.Flags().DurationVar(&limit, "wait", stopWait, "how long the guests may take")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
			if err := a.stopOne(ctx, s, name, limit); err != nil {
				return err
			}
			a.say("%s is stopped", name)
			return nil
		})
	}
	return cmd
}

func (a *app) stopOne(ctx context.Context, s clade.Services, name clade.Name, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.Stop(ctx, name, a.progress())
}

func (a *app) restartVerb() *cobra.Command {
	var limit time.Duration
	var o clade.StartOptions
	cmd := &cobra.Command{
		Use:   "restart NAME...",
		Short: "Power machines off and start them again",
		Long: `Restart asks the guests to power off, waits until they did, and starts the machines
again. A machine that is stopped is started.`,
		Example: `  clade restart web-1
  clade restart web-1 web-2 --wait 3m`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	cmd.Flags().DurationVar(&limit, "wait", stopWait, "how long the guests may take to power off")
	acceptTwins(cmd, &o)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
			if err := a.stopOne(ctx, s, name, limit); err != nil && !errors.Is(err, clade.NotRunning) {
				return err
			}
			if err := s.Start(ctx, name, o, a.progress()); err != nil {
				return err
			}
			a.say("%s runs", name)
			return nil
		})
	}
	return cmd
}

func (a *app) killVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "kill NAME...",
		Short: "End machines at once, like pulling the plug",
		Long: `Kill ends the processes of machines without asking the guests, which lose what they
have not written. Stop asks.`,
		Example:           `  clade kill web-1`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
				if err := s.Kill(ctx, name); err != nil {
					return err
				}
				a.say("%s is killed", name)
				return nil
			})
		},
	}
}
