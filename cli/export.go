package cli

import (
	"context"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) exportVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:   "export SRC FILE",
		Short: "Write a template or a machine to a file, for another home",
		Long: `Export writes a template, or a stopped machine without its identity, with all layers it
rests on to one file, a bundle. clade import FILE takes it into another home, and adds
only the layers that are missing there.`,
		Example: `  clade export debian-12:1 debian-12.clade
  clade import debian-12.clade`,
		Args:              takes(2, 2, "SRC and FILE"),
		ValidArgsFunction: a.completeSource,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Carried, error) {
		return s.Export(ctx, args[0], args[1], a.progress())
	}, func(c *clade.Carried) error {
		a.say("%s: %d layers, %v", carriedName(c), c.Layers, c.Bytes)
		return nil
	})
}

func carriedName(c *clade.Carried) string {
	if c.Machine != "" {
		return "machine " + string(c.Machine)
	}
	return "template " + c.Template.String()
}

// importBundle takes in what a bundle holds.
func (a *app) importBundle(cmd *cobra.Command, file, as string, asJSON bool) error {
	var ref clade.Ref
	if as != "" {
		var err error
		if ref, err = clade.ParseRef(as); err != nil {
			return err
		}
	}
	s, err := a.open(cmd.Context())
	if err != nil {
		return err
	}
	c, err := s.ImportBundle(cmd.Context(), file, ref, a.progress())
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(c)
	}
	a.say("%s is here: %d of %d layers were missing", carriedName(c), c.Moved, c.Layers)
	if c.Machine != "" {
		a.say("if the machine it was exported from goes on, it has a twin now: clade mend %s", c.Machine)
	}
	return nil
}
