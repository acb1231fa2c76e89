package cli

import (
	"context"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) snapshotVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Keep moments of a machine, and go back to them",
		Long: `A snapshot is a machine's disks as they were at one moment, kept under a name. It takes
no space when it is made, and then what the machine writes over.`,
		Example: `  clade snapshot create web-1 before-upgrade
  clade stop web-1
  clade snapshot restore web-1 before-upgrade`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(a.snapshotCreateVerb(), a.snapshotLsVerb(), a.snapshotRestoreVerb(), a.snapshotRmVerb())
	return cmd
}

func (a *app) snapshotCreateVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:   "create MACHINE NAME",
		Short: "Keep a machine as it is now",
		Long: `Create freezes the machine's disks, all at once, and keeps them under a name; the machine
goes on with new heads, running or not. Where a guest agent answers, its file systems
are consistent; else it is as after a power cut.`,
		Example:           `  clade snapshot create web-1 before-upgrade`,
		Args:              takes(2, 2, "MACHINE NAME"),
		ValidArgsFunction: a.completeMachine,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Snapshot, error) {
		names, err := parseNames(args)
		if err != nil {
			return nil, err
		}
		return s.CreateSnapshot(ctx, names[0], names[1], a.progress())
	}, func(s *clade.Snapshot) error {
		a.stood(string(s.Machine), s.Pause)
		return a.print("%s", s.Name)
	})
}

func (a *app) snapshotLsVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:   "ls [MACHINE]",
		Short: "List snapshots",
		Long:  `Ls lists the snapshots of a machine, or of all.`,
		Example: `  clade snapshot ls
  clade snapshot ls web-1 --json`,
		Args:              takes(0, 1, "MACHINE"),
		ValidArgsFunction: a.completeMachine,
	}, func(ctx context.Context, s clade.Services, args []string) ([]*clade.Snapshot, error) {
		names, err := parseNames(args)
		if err != nil {
			return nil, err
		}
		all, err := s.Snapshots(ctx, append(names, "")[0])
		return filled(all), err
	}, func(all []*clade.Snapshot) error {
		t := &table{}
		t.row("MACHINE", "SNAPSHOT", "SOURCE", "CREATED")
		for _, s := range all {
			t.row(string(s.Machine), string(s.Name), s.Source, when(s.Created))
		}
		return a.printTable(t)
	})
}

func (a *app) snapshotRestoreVerb() *cobra.Command {
	return a.back(&cobra.Command{
		Use:   "restore MACHINE NAME",
		Short: "Make a machine what it was",
		Long: `Restore makes a stopped machine what it was when the snapshot was made. What it wrote
since then is gone, unless it is in another snapshot; the snapshot stays.`,
		Example:           `  clade snapshot restore web-1 before-upgrade`,
		Args:              takes(2, 2, "MACHINE NAME"),
		ValidArgsFunction: a.completeMachine,
	}, func(ctx context.Context, s clade.Services, names []clade.Name) (*clade.Removal, error) {
		return s.RestoreSnapshot(ctx, names[0], names[1], a.progress())
	})
}

func (a *app) snapshotRmVerb() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rm MACHINE NAME",
		Short: "Remove a snapshot",
		Long: `Rm takes a snapshot away. What others need of it stays; --dry-run says what would be
freed, and what would stay for whom.`,
		Example: `  clade snapshot rm web-1 before-upgrade
  clade snapshot rm web-1 before-upgrade --dry-run`,
		Args:              takes(2, 2, "MACHINE NAME"),
		ValidArgsFunction: a.completeMachine,
	}
	a.back(cmd, func(ctx context.Context, s clade.Services, names []clade.Name) (*clade.Removal, error) {
		return s.RemoveSnapshot(ctx, names[0], names[1])
	})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would go")
	remove := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !dryRun {
			return remove(cmd, args)
		}
		names, err := parseNames(args)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		asJSON, _ := cmd.Flags().GetBool("json")
		return a.showGoing(cmd.Context(), s, clade.Going{Snapshots: []clade.GoingSnapshot{{Machine: names[0], Name: names[1]}}}, asJSON)
	}
	return cmd
}

// back makes cmd a verb that gives something up and says what that freed.
func (a *app) back(cmd *cobra.Command, do func(context.Context, clade.Services, []clade.Name) (*clade.Removal, error)) *cobra.Command {
	return reads(a, cmd, func(ctx context.Context, s clade.Services, args []string) (*clade.Removal, error) {
		names, err := parseNames(args)
		if err != nil {
			return nil, err
		}
		return do(ctx, s, names)
	}, func(r *clade.Removal) error {
		a.say("%s is gone: %v freed", r.Removed, r.Freed)
		return nil
	})
}
