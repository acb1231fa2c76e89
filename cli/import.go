package cli

import (
	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) importVerb() *cobra.Command {
	var o optionFlags
	var format, sum string
	cmd := &cobra.Command{
		Use:   "import NAME FILE|URL",
		Short: "Make a machine from a disk image",
		Long: `Import copies a disk image (qcow2, raw, vmdk, vdi or vhdx) and makes a machine of
it. The image is not trusted: one that refers to other files is refused, and so is
one that is not what it says it is.`,
		Example: `  clade import master ./debian-12.qcow2
  clade import master https://example.org/debian-12.qcow2 --sha256 9f86d0...
  clade import old ./old.img --format raw --firmware uefi`,
		Args:              takes(2, 2, "NAME and FILE or URL"),
		ValidArgsFunction: fileSecond,
	}
	cmd.Flags().StringVar(&format, "format", "", "qcow2, raw, vmdk, vdi or vhdx (default: detected)")
	cmd.Flags().StringVar(&sum, "sha256", "", "refuse the image unless its SHA-256 is this")
	complete(cmd, "format", cobra.FixedCompletions([]string{"qcow2", "raw", "vmdk", "vdi", "vhdx"}, cobra.ShellCompDirectiveNoFileComp))
	o.add(a, cmd)
	o.addFirmware(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
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
		m, err := s.Import(cmd.Context(), clade.ImportSpec{Name: name, From: args[1], Format: format, SHA256: sum, Options: options}, a.progress())
		if err != nil {
			return err
		}
		return a.printMade([]*clade.Machine{m}, *asJSON)
	}
	return cmd
}

// fileSecond offers files for the second argument; the first is a new name.
func fileSecond(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
