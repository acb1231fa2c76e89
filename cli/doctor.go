package cli

import (
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lab"
	"github.com/spf13/cobra"
)

func (a *app) doctorVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine this computer",
		Long: `Doctor looks for what clade needs: QEMU and its tools, an accelerator that really
works, a kernel for the appliance, memory, disk and what the file system can do; and
says how to install what is missing. It ends with status 1 if clade cannot work here.`,
		Example: `  clade doctor
  clade doctor --json`,
		Args: nothing,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		checks, err := s.Examine(cmd.Context(), a.progress())
		if err != nil {
			return err
		}
		if *asJSON {
			err = a.printJSON(filled(checks))
		} else {
			err = a.printChecks(checks)
		}
		if err != nil {
			return err
		}
		missing := 0
		for _, c := range checks {
			if c.Required && !c.OK {
				missing++
			}
		}
		if missing > 0 {
			return &clade.Error{Op: "examine", On: "this computer", Kind: clade.Missing,
				Err: fmt.Errorf("clade cannot work here: %d of what it needs is missing", missing), Hint: "run the commands above"}
		}
		return nil
	}
	return cmd
}

func (a *app) printChecks(checks []clade.Check) error {
	colour := colours(a.env.Out)
	a.bars.stop()
	width := 0
	for _, c := range checks {
		width = max(width, len([]rune(c.Name)))
	}
	for _, c := range checks {
		mark := lab.Mark(c.OK, colour)
		if !c.OK && !c.Required {
			mark = "–" // good to have
		}
		if _, err := fmt.Fprintf(a.env.Out, "%s %-*s   %s\n", mark, width, printable(c.Name), printable(c.Found)); err != nil {
			return err
		}
		if c.Fix != "" && !c.OK {
			if _, err := fmt.Fprintf(a.env.Out, "  %-*s   %s\n", width, "", printable(c.Fix)); err != nil {
				return err
			}
		}
	}
	return nil
}
