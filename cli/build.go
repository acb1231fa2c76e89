package cli

import (
	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) buildVerb() *cobra.Command {
	var o optionFlags
	var name string
	var size clade.Bytes
	cmd := &cobra.Command{
		Use:   "build RECIPE",
		Short: "Build a golden master from a recipe",
		Long: `Build installs an operating system on a fresh disk, as a recipe says, and makes a
machine of it. A recipe is built in (debian-12, debian-13) or a YAML file. The
built disk is kept, so that the next build of the same recipe only copies it.`,
		Example: `  clade build debian-12
  clade build debian-13 --name master --size 20G
  clade build ./classroom.yaml`,
		Args: takes(1, 1, "RECIPE"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"debian-12", "debian-13"}, cobra.ShellCompDirectiveDefault
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the machine's name (default: the recipe's)")
	cmd.Flags().Var(&size, "size", "the disk's size, such as 20G (default: the recipe's)")
	o.add(a, cmd)
	o.addFirmware(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec := clade.BuildSpec{Recipe: args[0], Size: size}
		var err error
		if name != "" {
			if spec.Name, err = clade.ParseName(name); err != nil {
				return err
			}
		}
		if spec.Options, err = o.options(cmd); err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		m, err := s.Build(cmd.Context(), spec, a.progress())
		if err != nil {
			return err
		}
		return a.printMade([]*clade.Machine{m}, *asJSON)
	}
	return cmd
}
