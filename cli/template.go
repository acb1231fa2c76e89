package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) templateVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "template",
		Short: "Make, list and remove templates",
		Long: `A template is name:version: sealed layers, default hardware, and the proof that no
identity is left in them. It never changes; a new version is a new template.`,
		Example: `  clade template create debian-12 --from master
  clade template ls`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(a.templateCreateVerb(), a.templateLsVerb(), a.templateHistoryVerb(), a.templateShowVerb(), a.templateWarmVerb(), a.templateCoolVerb(), a.templateRmVerb())
	return cmd
}

func (a *app) templateCreateVerb() *cobra.Command {
	var from string
	var skip, withData bool
	var marks clade.Marks
	cmd := &cobra.Command{
		Use:   "create NAME[:VERSION] --from MACHINE",
		Short: "Make a template of a machine",
		Long: `Create freezes the machine's disk, erases in an overlay of it everything that must
not be shared (machine-id, host keys, leases, histories and more), proves that it is
gone, and seals the result. The machine keeps its identity and goes on, running or
not. Without a VERSION it is the next number. Its data disks are no part of the
template unless --with-data says so; nothing on them is erased.

A mark that is disabled stays, and every clone must be asked for with --accept-twins
and that mark: clade generalize --list shows them.`,
		Example: `  clade template create debian-12 --from master
  clade template create debian-12:2026-01 --from master`,
		Args:              takes(1, 1, "NAME[:VERSION]"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&from, "from", "", "the machine")
	cmd.Flags().BoolVar(&skip, "skip-generalize", false, "keep the machine's identity in it: clones must be asked for with --accept-twins")
	cmd.Flags().BoolVar(&withData, "with-data", false, "keep the machine's data disks in it, as they are")
	marksFlags(cmd, &marks)
	complete(cmd, "from", a.completeMachines)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if from == "" {
			return usage(cmd, "--from MACHINE is missing")
		}
		machine, err := clade.ParseName(from)
		if err != nil {
			return err
		}
		ref, err := clade.ParseRef(args[0])
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		t, err := s.CreateTemplate(cmd.Context(), clade.TemplateSpec{Ref: ref, Machine: machine, SkipGeneralize: skip, WithData: withData, Marks: marks}, a.progress())
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(t)
		}
		a.stood(from, t.Pause)
		return a.print("%s", t.Ref())
	}
	return cmd
}

func (a *app) templateLsVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:     "ls",
		Short:   "List templates",
		Long:    `Ls lists all templates, what they were made from, and how many machines rest on each.`,
		Example: `  clade template ls --json`,
		Args:    nothing,
	}, func(ctx context.Context, s clade.Services, _ []string) ([]*clade.Template, error) {
		all, err := s.Templates(ctx)
		return filled(all), err
	}, func(all []*clade.Template) error {
		return a.printTemplates(all)
	})
}

func (a *app) printTemplates(all []*clade.Template) error {
	t := &table{}
	t.row("TEMPLATE", "SOURCE", "GENERALIZED", "WARM", "MACHINES", "DISK", "CREATED")
	for _, one := range all {
		var virtual clade.Bytes
		for _, d := range one.Disks {
			virtual += d.Virtual
		}
		t.row(one.Ref().String(), one.Source, yes(one.Generalized), yes(one.Warm != nil), strconv.Itoa(one.Machines), virtual.String(), when(one.Created))
	}
	return a.printTable(t)
}

func (a *app) templateHistoryVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:               "history NAME",
		Short:             "List the versions of a template",
		Long:              `History lists the versions of a template, the newest first. That is also called "latest".`,
		Example:           `  clade template history debian-12`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completeTemplates,
	}, func(ctx context.Context, s clade.Services, args []string) ([]*clade.Template, error) {
		ref, err := clade.ParseRef(args[0])
		if err != nil {
			return nil, err
		}
		if _, err := s.Template(ctx, clade.Ref{Name: ref.Name}); err != nil {
			return nil, err
		}
		all, err := s.Templates(ctx)
		slices.Reverse(all)
		return slices.DeleteFunc(all, func(t *clade.Template) bool { return t.Name != ref.Name }), err
	}, a.printTemplates)
}

func (a *app) templateShowVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:               "show NAME[:VERSION]",
		Short:             "Show a template",
		Long:              `Show prints all that is known of a template, and the proof of its generalization.`,
		Example:           `  clade template show debian-12:1 --json`,
		Args:              takes(1, 1, "NAME[:VERSION]"),
		ValidArgsFunction: a.completeTemplates,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Template, error) {
		ref, err := clade.ParseRef(args[0])
		if err != nil {
			return nil, err
		}
		return s.Template(ctx, ref)
	}, func(one *clade.Template) error {
		t := &table{}
		t.row("template", one.Ref().String())
		t.row("source", one.Source)
		t.row("generalized", yes(one.Generalized))
		if one.Believed != "" {
			t.row("believed", one.Believed+", not proven here")
		}
		t.row("user", one.User)
		t.row("hardware", hardware(one.Hardware))
		for _, d := range one.Disks {
			t.row(fmt.Sprintf("disk %d", d.Slot), fmt.Sprintf("%v on layer %s%s", d.Virtual, d.Layer, dataOf(d.Label, d.Mount)))
		}
		if w := one.Warm; w != nil {
			t.row("warm", fmt.Sprintf("after %s, %s, %v on the disk, for %d clones", w.After, hardware(w.Hardware), w.Allocated(), w.Clones))
		}
		t.row("machines", strconv.Itoa(one.Machines))
		t.row("created", when(one.Created))
		if err := a.printTable(t); err != nil || !one.Generalized {
			return err
		}
		return a.printAttestation(one.Attestation)
	})
}

func (a *app) templateRmVerb() *cobra.Command {
	var r removal
	cmd := &cobra.Command{
		Use:   "rm NAME[:VERSION]...",
		Short: "Remove templates",
		Long: `Rm takes templates away. Layers that clones rest on stay until the last of these
clones is gone, so no clone is harmed. It says what it frees, and what stays for whom.
One of which a pool makes its machines is refused.`,
		Example: `  clade template rm debian-12:1
  clade template rm debian-12:1 debian-12:2 --yes`,
		Args:              takes(1, -1, "NAME[:VERSION]..."),
		ValidArgsFunction: a.completeTemplates,
	}
	r.add(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		refs, err := goingTemplates(cmd.Context(), s, args)
		if err != nil {
			return err
		}
		if err := a.showGoing(cmd.Context(), s, clade.Going{Templates: refs}, r.dryRun && *asJSON); err != nil || r.dryRun {
			return err
		}
		if err := a.confirm(cmd, r, len(refs), "template"); err != nil {
			return err
		}
		var removed []*clade.Removal
		var errs []error
		for _, ref := range refs {
			one, err := s.RemoveTemplate(cmd.Context(), ref)
			removed, errs = append(removed, one), append(errs, err)
		}
		return errors.Join(append(errs, a.printRemoved(removed, *asJSON))...)
	}
	return cmd
}

// goingTemplates finds the templates to remove.
func goingTemplates(ctx context.Context, s clade.Services, args []string) ([]clade.Ref, error) {
	var refs []clade.Ref
	var errs []error
	for _, arg := range args {
		ref, err := clade.ParseRef(arg)
		if err == nil {
			var t *clade.Template
			if t, err = s.Template(ctx, ref); err == nil {
				refs = append(refs, t.Ref())
			}
		}
		errs = append(errs, err)
	}
	return refs, errors.Join(errs...)
}
