package cli

import (
	"errors"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) mendVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mend NAME...",
		Short: "Give twins an identity of their own",
		Long: `Mend makes a twin a machine of its own: it erases what must differ (machine-id, host
keys, leases, agents' ids and more) and leaves what the machine has lived through. A
stopped machine makes it anew at its next start; a running one is renewed at once
through its guest agent, and keeps running.

clade audit finds out who needs it.`,
		Example: `  clade audit
  clade mend web-2 web-3`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeMachines,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		names, err := parseNames(args)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		var done []*clade.Generalization
		var errs []error
		for _, name := range names { // one after the other: the appliance takes a processor
			g, err := s.Mend(cmd.Context(), name, a.progress())
			if err != nil {
				errs = append(errs, err)
				continue
			}
			done = append(done, g)
			a.say("%s has an identity of its own", name)
		}
		if *asJSON {
			errs = append(errs, a.printJSON(filled(done)))
		}
		return errors.Join(errs...)
	}
	return cmd
}
