package cli

import (
	"context"
	"io"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) treeVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Draw what rests on what",
		Long: `Tree draws the lineage: layers, the layers, templates, snapshots and machines that rest
on them, and what each takes on the disk. Machines that rest on nothing come last. As a
picture (svg) more than a few machines on one layer are drawn as one.`,
		Example: `  clade tree
  clade tree --format svg > tree.svg
  clade tree --format dot | dot -Tpdf > tree.pdf
  clade tree --json`,
		Args: nothing,
	}
	formats := map[string]func(io.Writer, *clade.Lineage, *clade.Usage) error{
		"text": writeTree, "svg": writeSVG, "dot": writeDot,
		"json": func(_ io.Writer, l *clade.Lineage, u *clade.Usage) error { return a.printJSON(treeOf(l, u)) },
	}
	format := cmd.Flags().String("format", "text", "text, svg, dot or json")
	asJSON := jsonFlag(cmd)
	complete(cmd, "format", offer(func(context.Context) ([]string, error) { return []string{"text", "svg", "dot", "json"}, nil }))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asJSON {
			*format = "json"
		}
		write, known := formats[*format]
		if !known {
			return usage(cmd, "there is no format %.20q: it is text, svg, dot or json", *format)
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		l, err := s.Lineage(cmd.Context())
		if err != nil {
			return err
		}
		u, err := s.Usage(cmd.Context())
		if err != nil {
			return err
		}
		a.bars.stop()
		return write(a.env.Out, l, u)
	}
	return cmd
}

// treeOf is what tree --json prints.
func treeOf(l *clade.Lineage, u *clade.Usage) any {
	return struct {
		Layers    []*clade.Layer    `json:"layers"`
		Templates []*clade.Template `json:"templates"`
		Machines  []*clade.Machine  `json:"machines"`
		Snapshots []*clade.Snapshot `json:"snapshots"`
		Warm      []*clade.Warm     `json:"warm"`
		Usage     *clade.Usage      `json:"usage"`
	}{filled(l.Layers), filled(l.Templates), filled(l.Machines), filled(l.Snapshots), filled(l.Warm), listed(u)}
}
