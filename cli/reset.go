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

func (a *app) rebaseVerb() *cobra.Command {
	var to string
	var discard, undo, confirm bool
	cmd := &cobra.Command{
		Use:   "rebase NAME... --to TEMPLATE --discard | --undo | --confirm",
		Short: "Move clones to another version of their template",
		Long: `Rebase gives stopped linked clones new, empty heads on a template, mostly a newer
version of their own. They keep their name, address and all other identity; what they
wrote is set aside (--discard says that you know). --undo makes them what they were,
--confirm gives that up; until one of the two a clone is not rebased again.`,
		Example: `  clade ls --outdated
  clade rebase web-1 web-2 --to debian-12:2 --discard
  clade rebase web-1 --undo
  clade rebase web-2 --confirm`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	flags := cmd.Flags()
	flags.StringVar(&to, "to", "", "the template; without a version the newest")
	flags.BoolVar(&discard, "discard", false, "leave behind what the clones wrote")
	flags.BoolVar(&undo, "undo", false, "make the clones what they were before")
	flags.BoolVar(&confirm, "confirm", false, "give up what the clones were before")
	complete(cmd, "to", a.completeTemplates)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		chosen := 0
		for _, is := range []bool{discard, undo, confirm} {
			if is {
				chosen++
			}
		}
		if chosen != 1 || discard != (to != "") {
			return usage(cmd, "give --to TEMPLATE --discard, or --undo, or --confirm")
		}
		ref, err := clade.ParseRef(to)
		if discard && err != nil {
			return err
		}
		return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
			return a.rebase(ctx, s, name, ref, discard, undo)
		})
	}
	return cmd
}

func (a *app) rebase(ctx context.Context, s clade.Services, name clade.Name, to clade.Ref, discard, undo bool) error {
	switch {
	case discard:
		m, err := s.Rebase(ctx, name, to, a.progress())
		if err != nil {
			return err
		}
		a.say("%s is a clone of %s now; clade rebase %s --undo or --confirm", name, m.Source, name)
		return nil
	case undo:
		r, err := s.UndoRebase(ctx, name, a.progress())
		if err != nil {
			return err
		}
		a.say("%s is what it was before: %v freed", name, r.Freed)
		return nil
	}
	r, err := s.ConfirmRebase(ctx, name)
	if err != nil {
		return err
	}
	a.say("%s stays what it is: %v freed", name, r.Freed)
	return nil
}
