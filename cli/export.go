package cli

import (
	"context"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) exportVerb() *cobra.Command {
	var spec clade.ExportSpec
	var format string
	cmd := reads(a, &cobra.Command{
		Use:   "export SRC FILE",
		Short: "Write a template or a machine to a file, for another home or hypervisor",
		Long: `Export writes a template, or a stopped machine, to one file. What it becomes is said by
the file's name or by --format:

  bundle   for another home, which clade import takes in: every layer it rests on, by digest
  ova      for VirtualBox, VMware and others: the hardware and all disks
  qcow2, raw, vmdk   one disk as a plain image; --disk says which, where there are several

The identity that clade gave a machine stays here. Inside, a machine that is not generalized
is who it is wherever it goes: it leaves for other hypervisors only with --accept-twins.`,
		Example: `  clade export debian-12:1 debian-12.clade
  clade export debian-12:1 debian-12.ova
  clade export web-1 web-1.qcow2 --accept-twins all
  clade export db data.raw --disk 1 --accept-twins all
  clade export debian-12:1 debian-12.clade --dry-run`,
		Args:              takes(2, 2, "SRC and FILE"),
		ValidArgsFunction: a.completeSource,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Carried, error) {
		spec.Source, spec.File, spec.Format = args[0], args[1], clade.ExportFormat(format)
		return s.Export(ctx, spec, a.progress())
	}, func(c *clade.Carried) error {
		a.sayExported(c, spec.DryRun)
		return nil
	})
	f := cmd.Flags()
	f.StringVar(&format, "format", "", "bundle, ova, qcow2, raw or vmdk (default: by the file's name, else bundle)")
	f.IntSliceVar(&spec.Slots, "disk", nil, "which disk, where a format holds one and there are several")
	f.StringSliceVar(&spec.AcceptTwins, "accept-twins", nil, `marks that may leave with the file, or "all"`)
	f.BoolVar(&spec.DryRun, "dry-run", false, "only say what would be written")
	complete(cmd, "format", cobra.FixedCompletions([]string{"bundle", "ova", "qcow2", "raw", "vmdk"}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "accept-twins", cobra.FixedCompletions([]string{clade.AllMarks}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) sayExported(c *clade.Carried, dryRun bool) {
	switch {
	case dryRun:
		a.say("%s: at most %v would be written", carriedName(c), c.Bytes)
	case c.Layers > 0:
		a.say("%s: %d layers, %v", carriedName(c), c.Layers, c.Bytes)
	default:
		a.say("%s: %v", carriedName(c), c.Bytes)
	}
	a.sayNotes(c.Notes)
}

func (a *app) sayNotes(notes []string) {
	for _, note := range notes {
		a.say("note: %s", note)
	}
}

func carriedName(c *clade.Carried) string {
	if c.Machine != "" {
		return "machine " + string(c.Machine)
	}
	return "template " + c.Template.String()
}

// importBundle takes in what a bundle holds.
func (a *app) importBundle(cmd *cobra.Command, file string, f importFlags) error {
	arrival, err := f.arrival()
	if err != nil {
		return err
	}
	s, err := a.open(cmd.Context())
	if err != nil {
		return err
	}
	c, err := s.ImportBundle(cmd.Context(), file, arrival, a.progress())
	if err != nil {
		return err
	}
	if f.asJSON {
		return a.printJSON(c)
	}
	a.say("%s is here: %d of %d layers were missing%s", carriedName(c), c.Moved, c.Layers, resumed(c))
	if c.Machine != "" {
		a.say("if the machine it was exported from goes on, it has a twin now: clade mend %s", c.Machine)
	}
	return nil
}

// resumed says what an earlier try had brought already.
func resumed(c *clade.Carried) string {
	if c.Resumed == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of which had arrived before", c.Resumed)
}
