package cli

import (
	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) createVerb() *cobra.Command {
	var o optionFlags
	var template, disk string
	cmd := &cobra.Command{
		Use:   "create NAME --template T | --disk FILE",
		Short: "Make one machine from a template or a disk image",
		Long: `Create makes one machine: a linked clone of a template, or a machine with a copy
of a disk image file as its disk.`,
		Example: `  clade create web-1 --template debian-12
  clade create web-1 --template debian-12:3 --cpus 2 --memory 2G
  clade create old --disk ./old.vmdk --firmware uefi`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&template, "template", "", "the template, as name or name:version")
	cmd.Flags().StringVar(&disk, "disk", "", "the disk image file")
	complete(cmd, "template", a.completeTemplates)
	o.add(a, cmd)
	o.addFirmware(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (template == "") == (disk == "") {
			return usage(cmd, "give either --template or --disk")
		}
		name, err := clade.ParseName(args[0])
		if err != nil {
			return err
		}
		options, err := o.options(cmd)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		if disk != "" {
			m, err := s.Create(cmd.Context(), clade.CreateSpec{Name: name, Disk: disk, Options: options}, a.progress())
			if err != nil {
				return err
			}
			return a.printMade([]*clade.Machine{m}, *asJSON)
		}
		ref, err := clade.ParseRef(template)
		if err != nil {
			return err
		}
		made, err := s.Clone(cmd.Context(), clade.CloneSpec{Source: ref.String(), Names: []clade.Name{name}, Kind: clade.Linked, Options: options}, a.progress())
		if err != nil {
			return err
		}
		return a.printMade(made, *asJSON)
	}
	return cmd
}
