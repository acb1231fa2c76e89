package cli

import (
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) verifyVerb() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "verify NAME... | --all",
		Short: "Prove that layers are bit for bit what was sealed",
		Long: `Verify reads the layers under the named machines and templates, or all layers, and
compares their SHA-256 with what was recorded when they were sealed. It ends with
status 3 if one is not what it was.`,
		Example: `  clade verify web-1 debian-12:1
  clade verify --all --json`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return a.completeSource(cmd, nil, word)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all layers")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return usage(cmd, "give either names or --all")
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		verdicts, err := s.Verify(cmd.Context(), args, a.progress())
		if err != nil && (clade.KindOf(err) != clade.Corrupt || len(verdicts) == 0) {
			return err
		}
		if printed := a.printVerdicts(verdicts, *asJSON); printed != nil {
			return printed
		}
		if err != nil {
			a.report(err)
			return exitStatus(statusCheck)
		}
		return nil
	}
	return cmd
}

func (a *app) printVerdicts(verdicts []clade.Verdict, asJSON bool) error {
	if asJSON {
		return a.printJSON(filled(verdicts))
	}
	t := &table{}
	t.row("LAYER", "VERDICT", "NEEDED BY")
	for _, v := range verdicts {
		verdict := "intact"
		if !v.Intact {
			verdict = "changed: " + v.Detail
		}
		t.row(v.Layer, verdict, strings.Join(v.Needed, " "))
	}
	return a.printTable(t)
}
