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
no space when it is made, and then what the machine writes over. With --memory it is also
what the machine was doing.`,
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
	var memory bool
	cmd := reads(a, &cobra.Command{
		Use:   "create MACHINE NAME",
		Short: "Keep a machine as it is now",
		Long: `Create freezes the machine's disks, all at once, and keeps them under a name; the machine
goes on with new heads, running or not. Where a guest agent answers, its file systems
are consistent; else it is as after a power cut.

With --memory, memory and devices of a running machine are saved in the same pause, and
all its disks, data disks too, are frozen with them: restored, it goes on where it was.
The pause is as long as it takes to write the memory that is in use.`,
		Example: `  clade snapshot create web-1 before-upgrade
  clade snapshot create web-1 in-the-middle --memory`,
		Args:              takes(2, 2, "MACHINE NAME"),
		ValidArgsFunction: a.completeMachine,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Snapshot, error) {
		names, err := parseNames(args)
		if err != nil {
			return nil, err
		}
		return s.CreateSnapshot(ctx, clade.SnapshotSpec{Machine: names[0], Name: names[1], Memory: memory}, a.progress())
	}, func(s *clade.Snapshot) error {
		a.stood(string(s.Machine), s.Pause)
		if s.Memory != nil {
			a.say("its memory takes %v", s.Memory.File.Allocated)
		}
		return a.print("%s", s.Name)
	})
	cmd.Flags().BoolVar(&memory, "memory", false, "keep what the machine is doing too; it must run")
	return cmd
}

// A listedSnapshot is a snapshot with what its removal alone would free.
type listedSnapshot struct {
	*clade.Snapshot
	Frees *clade.Bytes `json:"frees,omitempty"` // of the snapshots of one machine
}

func (a *app) snapshotLsVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:   "ls [MACHINE]",
		Short: "List snapshots",
		Long: `Ls lists the snapshots of all machines, or those of one, with what removing each of them
alone would free: what others rest on too stays. MEMORY is what the memory of those takes
that have it.`,
		Example: `  clade snapshot ls
  clade snapshot ls web-1 --json`,
		Args:              takes(0, 1, "MACHINE"),
		ValidArgsFunction: a.completeMachine,
	}, func(ctx context.Context, s clade.Services, args []string) ([]listedSnapshot, error) {
		names, err := parseNames(args)
		if err != nil {
			return nil, err
		}
		found, err := s.Snapshots(ctx, append(names, "")[0])
		if err != nil {
			return nil, err
		}
		all := []listedSnapshot{}
		for _, one := range found {
			all = append(all, listedSnapshot{Snapshot: one})
			if len(names) == 0 {
				continue
			}
			going, err := s.PlanRemoval(ctx, clade.Going{Snapshots: []clade.GoingSnapshot{{Machine: one.Machine, Name: one.Name}}})
			if err != nil {
				return nil, err
			}
			all[len(all)-1].Frees = &going[0].Freed
		}
		return all, nil
	}, func(all []listedSnapshot) error {
		t := &table{}
		t.row("MACHINE", "SNAPSHOT", "SOURCE", "CREATED", "MEMORY", "FREES")
		for _, s := range all {
			frees := ""
			if s.Frees != nil {
				frees = s.Frees.String()
			}
			memory := "-"
			if s.Memory != nil {
				memory = s.Memory.File.Allocated.String()
			}
			t.row(string(s.Machine), string(s.Name), s.Source, when(s.Created), memory, frees)
		}
		return a.printTable(t)
	})
}

func (a *app) snapshotRestoreVerb() *cobra.Command {
	var diskOnly bool
	cmd := a.back(&cobra.Command{
		Use:   "restore MACHINE NAME",
		Short: "Make a machine what it was",
		Long: `Restore makes a stopped machine what it was when the snapshot was made. What it wrote
since then is gone, unless it is in another snapshot; the snapshot stays.

One that was made with --memory has the machine run on from that moment, with its data
disks as they were. Where it cannot, as QEMU or the machine is another than then, nothing
is changed. --disk-only goes back to the system disks alone: the machine stays stopped,
and boots from them as after a power cut.`,
		Example: `  clade snapshot restore web-1 before-upgrade
  clade snapshot restore web-1 in-the-middle --disk-only`,
		Args:              takes(2, 2, "MACHINE NAME"),
		ValidArgsFunction: a.completeMachine,
	}, func(ctx context.Context, s clade.Services, names []clade.Name) (*clade.Removal, error) {
		return s.RestoreSnapshot(ctx, clade.RestoreSpec{Machine: names[0], Name: names[1], DiskOnly: diskOnly}, a.progress())
	})
	cmd.Flags().BoolVar(&diskOnly, "disk-only", false, "leave its memory, and the machine stopped")
	return cmd
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
