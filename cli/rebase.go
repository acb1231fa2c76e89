package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// rebaseFlags are the flags of rebase.
type rebaseFlags struct {
	to                           string
	conflicts                    string
	discard, keep, undo, confirm bool
	dryRun                       bool
}

func (a *app) rebaseVerb() *cobra.Command {
	var f rebaseFlags
	cmd := &cobra.Command{
		Use:   "rebase NAME... --to TEMPLATE --discard | --keep-changes | --undo | --confirm",
		Short: "Move clones to another version of their template",
		Long: `Rebase moves stopped linked clones to a template, mostly a newer version of their own.
They keep their name, address and all other identity. With --discard they get empty
heads: what they wrote is left behind, and they boot for the first time again. With
--keep-changes what they changed since they were made is carried over, file by file,
and they go on as who they are.

What the clone and the template both changed, and not alike, is a conflict: nothing is
done then, unless --conflicts says whose files are taken. --dry-run shows what would
be carried over, and all conflicts. Identity and logs stay the clone's, caches become
the template's; /proc, /sys, /run, /tmp and /dev are left out.

What the clones were is set aside: --undo makes them that again, --confirm gives it
up; until one of the two a clone is not rebased again.`,
		Example: `  clade ls --outdated
  clade rebase web-1 web-2 --to debian-12:2 --discard
  clade rebase web-1 --to debian-12 --keep-changes --dry-run
  clade rebase web-1 --to debian-12 --keep-changes --conflicts template
  clade rebase web-1 --undo
  clade rebase web-2 --confirm`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "the template; without a version the newest")
	flags.BoolVar(&f.discard, "discard", false, "leave behind what the clones wrote")
	flags.BoolVar(&f.keep, "keep-changes", false, "carry over what the clones changed")
	flags.StringVar(&f.conflicts, "conflicts", "", "whose files are taken that both changed: \"clone\" or \"template\"")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only show what would be carried over, and what both changed")
	flags.BoolVar(&f.undo, "undo", false, "make the clones what they were before")
	flags.BoolVar(&f.confirm, "confirm", false, "give up what the clones were before")
	complete(cmd, "to", a.completeTemplates)
	complete(cmd, "conflicts", cobra.FixedCompletions([]string{string(clade.CloneSide), string(clade.TemplateSide)}, cobra.ShellCompDirectiveNoFileComp))
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(cmd); err != nil {
			return err
		}
		if f.discard || f.keep {
			return a.rebase(cmd, f, args, *asJSON)
		}
		return a.onEach(cmd, args, func(ctx context.Context, s clade.Services, name clade.Name) error {
			return a.endRebase(ctx, s, name, f.undo)
		})
	}
	return cmd
}

func (f *rebaseFlags) check(cmd *cobra.Command) error {
	chosen := 0
	for _, is := range []bool{f.discard, f.keep, f.undo, f.confirm} {
		if is {
			chosen++
		}
	}
	switch moves := f.discard || f.keep; {
	case chosen != 1 || moves != (f.to != ""):
		return usage(cmd, "give --to TEMPLATE with --discard or --keep-changes, or --undo, or --confirm")
	case (f.conflicts != "" || f.dryRun) && !f.keep:
		return usage(cmd, "--conflicts and --dry-run go with --keep-changes")
	case f.conflicts != "" && f.conflicts != string(clade.CloneSide) && f.conflicts != string(clade.TemplateSide):
		return usage(cmd, "--conflicts is %q or %q", clade.CloneSide, clade.TemplateSide)
	}
	return nil
}

// rebase moves clones, one after the other where each needs an appliance, and
// prints what was carried over.
func (a *app) rebase(cmd *cobra.Command, f rebaseFlags, args []string, asJSON bool) error {
	names, err := parseNames(args)
	if err != nil {
		return err
	}
	to, err := clade.ParseRef(f.to)
	if err != nil {
		return err
	}
	s, err := a.open(cmd.Context())
	if err != nil {
		return err
	}
	var all []*clade.Rebase
	var errs []error
	for _, name := range names {
		r, err := s.Rebase(cmd.Context(), clade.RebaseSpec{Machine: name, To: to, Keep: f.keep, Conflicts: clade.Side(f.conflicts), DryRun: f.dryRun}, a.progress())
		errs = append(errs, err)
		if r == nil {
			continue
		}
		all = append(all, r)
		if !asJSON {
			errs = append(errs, a.printMerge(r))
		}
		if r.Done {
			a.say("%s is a clone of %s now; clade rebase %s --undo or --confirm", name, r.To, name)
		}
	}
	if asJSON {
		errs = append(errs, a.printJSON(filled(all)))
	}
	return errors.Join(errs...)
}

// printMerge shows what a rebase that keeps changes carries over.
func (a *app) printMerge(r *clade.Rebase) error {
	m := r.Merge
	if m == nil {
		return nil
	}
	t := &table{}
	t.row("machine", string(r.Machine))
	t.row("system", m.System)
	t.row("from", r.From)
	t.row("to", r.To)
	t.row("the clone", sum(m.Clone))
	namesOf(t, m.Clone)
	t.row("the template", sum(m.Template))
	namesOf(t, m.Template)
	t.row("both", fmt.Sprintf("%d conflicts", m.Conflict))
	for _, c := range m.Conflicts {
		text := fmt.Sprintf("%s: the clone %s it, the template %s it", c.Path, c.Clone, c.Template)
		if c.Why != "" {
			text += "; " + c.Why
		}
		t.row("  !", text)
	}
	t.row("by rule", fmt.Sprintf("%d files", m.Settle))
	for _, s := range m.Settled {
		whose := fmt.Sprintf("the %s's, ", s.Side)
		if s.Side == clade.BothSides {
			whose = "" // it says so
		}
		t.row("  =", fmt.Sprintf("%s: %s%s", s.Path, whose, s.Why))
	}
	t.row("carried over", fmt.Sprintf("%d files, %v of content", m.Carried, m.Bytes))
	for _, note := range m.Notes {
		t.row("note", note)
	}
	return a.printTable(t)
}

func sum(c clade.Changes) string {
	return fmt.Sprintf("%d added, %d changed, %d removed", c.Adds, c.Changes, c.Removes)
}

// maxShown is how many names of each kind are shown; --json has more.
const maxShown = 20

func namesOf(t *table, c clade.Changes) {
	for _, list := range []struct {
		sign  string
		names []string
	}{{"  +", c.Added}, {"  ~", c.Changed}, {"  -", c.Removed}} {
		for i, name := range list.names {
			if i == maxShown {
				t.row(list.sign, "and more: --json lists them")
				break
			}
			t.row(list.sign, name)
		}
	}
}

func (a *app) endRebase(ctx context.Context, s clade.Services, name clade.Name, undo bool) error {
	if undo {
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
