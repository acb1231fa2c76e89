package cli

import (
	"context"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) gcVerb() *cobra.Command {
	var dryRun bool
	cmd := reads(a, &cobra.Command{
		Use:   "gc",
		Short: "Remove what nothing rests on and nobody builds",
		Long: `Gc shows and removes what killed commands left: half-built things, and layers that
nothing rests on. Every verb that changes the home does that before it begins, so there
is mostly nothing to do.`,
		Example: `  clade gc --dry-run
  clade gc`,
		Args: nothing,
	}, func(ctx context.Context, s clade.Services, _ []string) ([]clade.Garbage, error) {
		list, err := s.Collect(ctx, dryRun)
		return filled(list), err
	}, func(list []clade.Garbage) error {
		var sum clade.Bytes
		t := &table{}
		t.row("PATH", "SIZE", "WHY")
		for _, g := range list {
			t.row(g.Path, g.Bytes.String(), g.Why)
			sum += g.Bytes
		}
		if len(list) > 0 {
			if err := a.printTable(t); err != nil {
				return err
			}
		}
		a.say("%d things, %v%s", len(list), sum, map[bool]string{true: ": a dry run, nothing was removed", false: " freed"}[dryRun])
		return nil
	})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would go")
	return cmd
}
