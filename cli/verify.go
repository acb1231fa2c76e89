package cli

import (
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) verifyVerb() *cobra.Command {
	var all bool
	var spec clade.VerifySpec
	cmd := &cobra.Command{
		Use:   "verify NAME... | --all",
		Short: "Prove that layers are bit for bit what was sealed",
		Long: `Verify reads the layers under the named machines and templates, or all layers, from the
disk, and compares their SHA-256 with what was recorded when they were sealed. It ends
with status 3 if one is not what it was. It takes what others leave of the processor and
the disk; one that was interrupted goes on where it was, unless --again is given.

With --repair a damaged layer is restored: from a bundle (clade export), from any other
file that has its content, or from a registry. The new file is proven before it takes the
damaged one's place.`,
		Example: `  clade verify web-1 debian-12:1
  clade verify --all --json
  clade verify --all --repair debian-12.clade
  clade verify --all --repair registry.example.org/vms/debian-12:2`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return a.completeSource(cmd, nil, word)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all layers")
	cmd.Flags().BoolVar(&spec.Again, "again", false, "from the start, although the last one was interrupted")
	cmd.Flags().StringVar(&spec.Repair, "repair", "", "restore damaged layers from a bundle, another file or REGISTRY/NAME:VERSION")
	plainHTTP(cmd, &spec.RegistryOptions)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return usage(cmd, "give either names or --all")
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		spec.Names = args
		verdicts, err := s.Verify(cmd.Context(), spec, a.progress())
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
	t.row("LAYER", "VERDICT", "READ", "NEEDED BY")
	for _, v := range verdicts {
		verdict, read := "intact", ""
		switch {
		case v.Repaired:
			verdict = "restored"
		case !v.Intact:
			verdict = "changed: " + v.Detail
		}
		if !v.Verified.IsZero() {
			read = when(v.Verified)
		}
		t.row(v.Layer, verdict, read, someNames(v.Needed))
	}
	if err := a.printTable(t); err != nil {
		return err
	}
	for _, v := range verdicts {
		if len(v.Restart) > 0 {
			names := make([]string, len(v.Restart))
			for i, name := range v.Restart {
				names[i] = string(name)
			}
			a.say("layer %s is restored, but these machines run on the damaged file until they are restarted: clade restart %s", v.Layer, strings.Join(names, " "))
		}
	}
	return nil
}
