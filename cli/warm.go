package cli

import (
	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) templateWarmVerb() *cobra.Command {
	var spec clade.WarmSpec
	cmd := &cobra.Command{
		Use:   "warm NAME[:VERSION]",
		Short: "Keep a template's memory, for instant clones",
		Long: `Warm boots a machine of the template without a network, brings it to a point and
keeps its memory: clade clone --instant makes clones that go on from there, in a
second instead of a boot. The point is "agent" (its agent answers), "cloud-init"
(that is done) or a shell command, which is run after cloud-init.

What is kept can be resumed under the same QEMU, processor and accelerator only. A
template is warmed again when one of them has changed, or to give its instant
clones other processors or memory; clones of before stay what they are.`,
		Example: `  clade template warm debian-12 --memory 512M
  clade template warm debian-12:1 --after agent
  clade template warm lab --after 'systemctl start postgresql'`,
		Args:              takes(1, 1, "NAME[:VERSION]"),
		ValidArgsFunction: a.completeTemplates,
	}
	f := cmd.Flags()
	f.StringVar(&spec.After, "after", clade.AfterCloudInit, "the point: agent, cloud-init or a shell command")
	f.IntVar(&spec.Hardware.CPUs, "cpus", 0, "processors of its instant clones (default: the template's)")
	f.Var(&spec.Hardware.Memory, "memory", "memory of its instant clones, such as 512M (default: the template's)")
	complete(cmd, "after", cobra.FixedCompletions([]string{clade.AfterAgent, clade.AfterCloudInit}, cobra.ShellCompDirectiveNoFileComp))
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if spec.Template, err = clade.ParseRef(args[0]); err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		w, err := s.WarmTemplate(cmd.Context(), spec, a.progress())
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(w)
		}
		return a.print("%s is warm: %v of memory kept in %v", w.Template, w.Hardware.Memory, w.Allocated())
	}
	return cmd
}

func (a *app) templateCoolVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cool NAME[:VERSION]",
		Short: "Take away what a template keeps for instant clones",
		Long: `Cool takes away what warm kept. What instant clones can go back to stays until the
last of them is gone.`,
		Example:           `  clade template cool debian-12`,
		Args:              takes(1, 1, "NAME[:VERSION]"),
		ValidArgsFunction: a.completeTemplates,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ref, err := clade.ParseRef(args[0])
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		r, err := s.RemoveWarm(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return a.printRemoved([]*clade.Removal{r}, *asJSON)
	}
	return cmd
}
