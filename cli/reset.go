package cli

import (
	"context"
	"errors"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) resetVerb() *cobra.Command {
	var force, start bool
	cmd := &cobra.Command{
		Use:   "reset NAME...",
		Short: "Make linked clones what they were when they were made",
		Long: `Reset gives stopped linked clones new, empty heads on what they were made on. They keep
their name, address and all other identity, and boot for the first time again. What
they wrote is gone, unless a snapshot holds it.`,
		Example: `  clade reset pupil-01 pupil-02
  clade reset pupil-01 --force --start`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	cmd.Flags().BoolVar(&force, "force", false, "kill machines that run")
	cmd.Flags().BoolVar(&start, "start", false, "start them again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
			if force {
				if err := s.Kill(ctx, name); err != nil && !errors.Is(err, clade.NotRunning) {
					return err
				}
			}
			r, err := s.Reset(ctx, name, a.progress())
			if err != nil {
				return err
			}
			a.say("%s is as it was made: %v freed", name, r.Freed)
			if start {
				return s.Start(ctx, name, clade.StartOptions{}, a.progress())
			}
			return nil
		})
	}
	return cmd
}

func (a *app) promoteVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "promote NAME...",
		Short: "Make linked clones full",
		Long: `Promote copies into a clone's disks all that they rest on, so that they rest on nothing.
A machine may run meanwhile. A promote that is ended early can be given again; until it
is done the clone rests on what it did.`,
		Example:           `  clade promote web-1`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
			r, err := s.Promote(ctx, name, a.progress())
			if err != nil {
				return err
			}
			a.say("%s rests on nothing now; %v freed", name, r.Freed)
			return nil
		})
	}
	return cmd
}
