package cli

import (
	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) importVerb() *cobra.Command {
	var o optionFlags
	var format, sum, as string
	cmd := &cobra.Command{
		Use:   "import NAME FILE|URL | BUNDLE",
		Short: "Make a machine from a disk image, or take in a bundle",
		Long: `Import, given a name, copies a disk image (qcow2, raw, vmdk, vdi or vhdx) and makes a machine of
it. The image is not trusted: one that refers to other files is refused, and so is
one that is not what it says it is.

Given a file only, it takes in the template or machine of a bundle that clade export
wrote: layers that are here already are not read again, every other one is proven by
its digest. A machine gets a new identity outside; inside it is who it was.`,
		Example: `  clade import master ./debian-12.qcow2
  clade import master https://example.org/debian-12.qcow2 --sha256 9f86d0...
  clade import old ./old.img --format raw --firmware uefi
  clade import debian-12.clade --as debian-12:2`,
		Args:              takes(1, 2, "NAME and FILE or URL, or a BUNDLE"),
		ValidArgsFunction: fileSecond,
	}
	cmd.Flags().StringVar(&format, "format", "", "qcow2, raw, vmdk, vdi or vhdx (default: detected)")
	cmd.Flags().StringVar(&sum, "sha256", "", "refuse the image unless its SHA-256 is this")
	cmd.Flags().StringVar(&as, "as", "", "another name for what a bundle holds: NAME[:VERSION] or NAME")
	complete(cmd, "format", cobra.FixedCompletions([]string{"qcow2", "raw", "vmdk", "vdi", "vhdx"}, cobra.ShellCompDirectiveNoFileComp))
	o.add(a, cmd)
	o.addFirmware(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return a.importBundle(cmd, args[0], as, *asJSON)
		}
		if as != "" {
			return usage(cmd, "--as goes with a bundle")
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
