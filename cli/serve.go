package cli

import (
	"github.com/spf13/cobra"
)

func (a *app) serveVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Keep all pools what is wanted of them",
		Long: `Serve controls the pools of the home until it is ended: it makes and starts machines,
cleans what was released, ends claims that expired, replaces what does not answer, rolls
out updates and follows schedules. It also compacts machines whose chains are over the
budget: stopped ones where nobody else wants the computer, and slowly those that run and
do not write. Nothing else needs it; machines run on without it. It may be killed at any
time, and started twice: the second one stands by until the first has ended.`,
		Example: `  clade serve
  systemd-run --user --unit clade clade serve`,
		Args: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			return s.Control(cmd.Context(), a.progress())
		},
	}
}
