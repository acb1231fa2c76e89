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
		Long: `Du accounts for every byte of the home. For each machine it shows what its guest sees
(virtual), what its own files take (allocated), how much of that no other file shares
(exclusive), what the layers below take (shared), and what its removal frees (freed). For
each template and layer it shows the same, and who rests on it; then all of it by what it
is, orphans included; and what full copies of all machines would take. The sum is what
du -s --block-size=1 says of the home.`,
		Example: `  clade du
  clade du --json | jq .allocated
  clade du --json | jq '.machines | sort_by(-.freed) | .[:5]'`,
		Args: nothing,
	}, func(ctx context.Context, s clade.Services, _ []string) (*clade.Usage, error) {
		u, err := s.Usage(ctx)
		if err != nil {
			return nil, err
		}
		return listed(u), nil
	}, a.printUsage)
}

// listed makes every list of a usage one that JSON shows as [] where it is empty.
func listed(u *clade.Usage) *clade.Usage {
	u.Machines, u.Layers, u.Templates = filled(u.Machines), filled(u.Layers), filled(u.Templates)
	u.Orphans, u.Parts = filled(u.Orphans), filled(u.Parts)
	for i := range u.Layers {
		u.Layers[i].Machines, u.Layers[i].Templates = filled(u.Layers[i].Machines), filled(u.Layers[i].Templates)
	}
	return u
}

func (a *app) printUsage(u *clade.Usage) error {
	machines, templates, layers, orphans, parts := &table{}, &table{}, &table{}, &table{}, &table{}
	machines.row("MACHINE", "CLONE", "VIRTUAL", "ALLOCATED", "EXCLUSIVE", "SHARED", "FREED")
	for _, m := range u.Machines {
		machines.row(string(m.Name), string(m.Clone), m.Virtual.String(), m.Allocated.String(), m.Exclusive.String(), m.Shared.String(), m.Freed.String())
	}
	templates.row("TEMPLATE", "VIRTUAL", "ALLOCATED", "EXCLUSIVE", "SHARED", "FREED")
	for _, t := range u.Templates {
		templates.row(t.Template, t.Virtual.String(), t.Allocated.String(), t.Exclusive.String(), t.Shared.String(), t.Freed.String())
	}
	layers.row("LAYER", "ALLOCATED", "EXCLUSIVE", "FREED", "ORIGIN", "NEEDED BY")
	for _, l := range u.Layers {
		layers.row(l.ID, l.Allocated.String(), l.Exclusive.String(), freedWith(l), l.Origin, needers(l))
	}
	orphans.row("ORPHAN", "SIZE", "WHY")
	for _, g := range u.Orphans {
		orphans.row(g.Path, g.Bytes.String(), g.Why)
	}
	parts.row("WHAT", "ALLOCATED", "BYTES")
	for _, p := range u.Parts {
		parts.row(p.What, p.Allocated.String(), fmt.Sprint(int64(p.Allocated)))
	}
	parts.row("in all", u.Allocated.String(), fmt.Sprint(int64(u.Allocated)))
	for _, t := range []*table{machines, templates, layers, orphans, parts} {
		if len(t.rows) == 1 && t != machines {
			continue
		}
		if t != machines {
			fmt.Fprintln(a.env.Out)
		}
		if err := a.printTable(t); err != nil {
			return err
		}
	}
	return a.printTotals(u)
}

func (a *app) printTotals(u *clade.Usage) error {
	total := fmt.Sprintf("\n%v in all; full copies would take %v", u.Allocated, u.FullCost)
	if u.Allocated > 0 && u.FullCost > u.Allocated {
		total += fmt.Sprintf(", %.1f times as much", float64(u.FullCost)/float64(u.Allocated))
	}
	if u.Reflinked > 0 {
		total += fmt.Sprintf("\n%v of it lies on the disk once and is in several files: %v are taken", u.Reflinked, u.Allocated-u.Reflinked)
	}
	_, err := fmt.Fprintln(a.env.Out, total)
	return err
}

// freedWith says what a layer frees, and with which removal.
func freedWith(l clade.LayerUsage) string {
	if l.FreedWith == "" {
		return ""
	}
	return l.Freed.String() + " with " + l.FreedWith
}

// needers names the first few that rest on a layer.
func needers(l clade.LayerUsage) string {
	names := append([]string{}, l.Templates...)
	for _, m := range l.Machines {
		names = append(names, string(m))
	}
	return someNames(names)
}
