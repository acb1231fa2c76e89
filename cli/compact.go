package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) compactVerb() *cobra.Command {
	var all, dryRun bool
	cmd := &cobra.Command{
		Use:   "compact NAME... | --all",
		Short: "Merge layers that only one machine needs, and give zeroes back",
		Long: `Compact merges the layers that a machine alone needs into its heads: its chain gets
shorter, and what was written over, discarded or zeroed takes no room any more. Layers
that a template, a snapshot or another machine needs are never touched. A machine may
run: it copies while it runs on, and its guest is asked to discard what its file
systems do not use.

A freeze (a snapshot, template or clone of a machine) that would leave more than 16
layers below it, or $CLADE_CHAIN_BUDGET, does the same before.`,
		Example: `  clade compact web-1
  clade compact --all --dry-run`,
		ValidArgsFunction: a.completeMachines,
	}
	cmd.Flags().BoolVar(&all, "all", false, "all machines")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be merged")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return usage(cmd, "give either names or --all")
		}
		names, err := parseNames(args)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		if all {
			machines, err := s.Machines(cmd.Context())
			if err != nil {
				return err
			}
			for _, m := range machines {
				names = append(names, m.Name)
			}
		}
		done, err := a.compact(cmd.Context(), s, names, dryRun)
		if *asJSON {
			if printed := a.printJSON(done); err == nil {
				err = printed
			}
			return err
		}
		if printed := a.printCompactions(done, dryRun); err == nil {
			err = printed
		}
		return err
	}
	return cmd
}

// compact compacts machines, and returns what became of those for which it went well.
func (a *app) compact(ctx context.Context, s clade.Services, names []clade.Name, dryRun bool) ([]*clade.Compaction, error) {
	var mu sync.Mutex
	done := []*clade.Compaction{}
	err := each(ctx, names, func(ctx context.Context, name clade.Name) error {
		c, err := s.Compact(ctx, name, dryRun, a.progress())
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		done = append(done, c)
		return nil
	})
	slices.SortFunc(done, func(a, b *clade.Compaction) int { return strings.Compare(string(a.Machine), string(b.Machine)) })
	return done, err
}

func (a *app) printCompactions(done []*clade.Compaction, dryRun bool) error {
	if len(done) == 0 {
		return nil
	}
	t := &table{}
	last := map[bool]string{true: "WRITES", false: "FREED"}[dryRun]
	t.row("MACHINE", "DEPTH", "MERGED", last)
	for _, c := range done {
		size := c.Freed
		if dryRun {
			size = c.Writes
		}
		t.row(string(c.Machine), fmt.Sprintf("%d to %d", c.Was, c.Is), strconv.Itoa(len(c.Merged)), size.String())
	}
	if err := a.printTable(t); err != nil {
		return err
	}
	for _, c := range done {
		for _, note := range c.Notes {
			a.say("%s: %s", c.Machine, printable(note))
		}
	}
	return nil
}
