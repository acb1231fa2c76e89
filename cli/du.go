package cli

import (
	"context"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) duVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:   "du",
		Short: "Show what takes how much of the disk",
		Long: `Du shows for each machine what its guest sees (virtual), what only it takes and would
be freed with it (exclusive) and what it shares with others (shared); for each layer
who rests on it; and what full copies of all machines would take.`,
		Example: `  clade du
  clade du --json | jq .allocated`,
		Args: nothing,
	}, func(ctx context.Context, s clade.Services, _ []string) (*clade.Usage, error) {
		u, err := s.Usage(ctx)
		if err != nil {
			return nil, err
		}
		u.Machines, u.Layers = filled(u.Machines), filled(u.Layers)
		return u, nil
	}, a.printUsage)
}

func (a *app) printUsage(u *clade.Usage) error {
	t := &table{}
	t.row("MACHINE", "CLONE", "VIRTUAL", "EXCLUSIVE", "SHARED")
	for _, m := range u.Machines {
		t.row(string(m.Name), string(m.Clone), m.Virtual.String(), m.Exclusive.String(), m.Shared.String())
	}
	if err := a.printTable(t); err != nil {
		return err
	}
	if len(u.Layers) > 0 {
		t = &table{}
		t.row("LAYER", "SIZE", "ORIGIN", "NEEDED BY")
		for _, l := range u.Layers {
			t.row(l.ID, l.Allocated.String(), l.Origin, needers(l))
		}
		if err := a.print(""); err != nil {
			return err
		}
		if err := a.printTable(t); err != nil {
			return err
		}
	}
	total := fmt.Sprintf("\n%v in all; full copies would take %v", u.Allocated, u.FullCost)
	if u.Allocated > 0 && u.FullCost > u.Allocated {
		total += fmt.Sprintf(", %.1f times as much", float64(u.FullCost)/float64(u.Allocated))
	}
	_, err := fmt.Fprintln(a.env.Out, total)
	return err
}

// needers names the first few that rest on a layer.
func needers(l clade.LayerUsage) string {
	names := append([]string{}, l.Templates...)
	for _, m := range l.Machines {
		names = append(names, string(m))
	}
	return someNames(names)
}
