package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) rmVerb() *cobra.Command {
	var r removal
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove machines",
		Long: `Rm shows what will go and how many bytes that frees, asks, and removes machines with
their disks and snapshots. Layers that other machines or templates rest on stay; it says
for whom. A running machine is refused, unless --force is given, which kills it first.`,
		Example: `  clade rm web-1
  clade rm web-1 web-2 --yes
  clade rm web-1 --dry-run`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	r.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "kill machines that run")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		names, err := parseNames(args)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		machines, err := goingMachines(cmd.Context(), s, names, force)
		if err != nil {
			return err
		}
		var data []string
		for _, m := range machines {
			data = append(data, withData(m))
		}
		if err := a.showGoing(cmd.Context(), s, clade.Going{Machines: names}, r.dryRun && *asJSON, data...); err != nil || r.dryRun {
			return err
		}
		if err := a.confirm(cmd, r, len(names), "machine"); err != nil {
			return err
		}
		removed := make([]*clade.Removal, len(machines))
		err = each(cmd.Context(), names, func(ctx context.Context, name clade.Name) error {
			return removeOne(ctx, s, name, force, removed, machines)
		})
		return errors.Join(err, a.printRemoved(removed, *asJSON))
	}
	return cmd
}

// removeOne removes a machine and notes what that took at its place.
func removeOne(ctx context.Context, s clade.Services, name clade.Name, force bool, removed []*clade.Removal, machines []*clade.Machine) error {
	if force {
		if err := s.Kill(ctx, name); err != nil && !errors.Is(err, clade.NotRunning) {
			return err
		}
	}
	one, err := s.Remove(ctx, name)
	for i, m := range machines {
		if m.Name == name && err == nil {
			removed[i] = one
		}
	}
	return err
}

// goingMachines finds the machines to remove and refuses, before anything goes,
// names given twice and machines that run.
func goingMachines(ctx context.Context, s clade.Services, names []clade.Name, force bool) ([]*clade.Machine, error) {
	var machines []*clade.Machine
	var errs []error
	seen := map[clade.Name]bool{}
	for _, name := range names {
		on := "machine " + string(name)
		m, err := s.Machine(ctx, name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case seen[name]:
			errs = append(errs, &clade.Error{Op: "remove", On: on, Kind: clade.Invalid, Err: errors.New("it is named twice"), Hint: "name it once"})
		case m.State != clade.Stopped && !force:
			errs = append(errs, &clade.Error{Op: "remove", On: on, Kind: clade.InUse, Err: errors.New("it is running"),
				Hint: "stop it first: clade stop " + string(name) + ", or use --force, which kills it"})
		}
		seen[name] = true
		machines = append(machines, m)
	}
	return machines, errors.Join(errs...)
}

// withData names the data disks that go with m.
func withData(m *clade.Machine) string {
	var list []string
	for _, d := range m.Disks {
		if d.Data() {
			list = append(list, fmt.Sprintf("%s (%v)", d.Label, d.Virtual))
		}
	}
	switch len(list) {
	case 0:
		return ""
	case 1:
		return ", with its data disk " + list[0]
	}
	return ", with its data disks " + strings.Join(list, ", ")
}
