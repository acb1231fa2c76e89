package cli

import (
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) poolUpdateVerb() *cobra.Command {
	var u clade.PoolUpdate
	var to string
	var wait bool
	cmd := &cobra.Command{
		Use:   "update NAME --to TEMPLATE | --undo",
		Short: "Roll out another template",
		Long: `Update makes another template the pool's, and clade serve or clade pool reconcile moves
the machines: free ones first, at most --max-unavailable at the same time; claimed ones
when they are released, or after --deadline. Data disks are kept. What the person of a
machine that was moved at the deadline had is kept too, until the claim ends: --undo
with a --deadline gives it back then. Clade pool show tells how far it is; --wait does the moving and tells.`,
		Example: `  clade pool update lab --to debian-12:2 --max-unavailable 5 --deadline 2h
  clade pool update lab --undo --deadline 10m`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completePools,
	}
	flags := cmd.Flags()
	flags.StringVar(&to, "to", "", "the template to move to")
	flags.BoolVar(&u.Undo, "undo", false, "move back to the template before the last update")
	flags.IntVar(&u.MaxUnavailable, "max-unavailable", 0, "how many free machines are taken away at once (default: as the pool has it)")
	flags.Var(&u.Deadline, "deadline", "from now on, when claimed machines are moved too (default: when they are released)")
	flags.BoolVar(&wait, "wait", false, "move what can be moved now, and return when it is")
	complete(cmd, "to", offer(a.templateRefs))
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if u.Pool, err = clade.ParseName(args[0]); err != nil {
			return err
		}
		if (to == "") != u.Undo {
			return usage(cmd, "give either --to TEMPLATE or --undo")
		}
		if !u.Undo {
			if u.To, err = clade.ParseRef(to); err != nil {
				return err
			}
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		p, err := s.UpdatePool(cmd.Context(), u)
		if err == nil && wait {
			if _, err = a.reconcile(cmd.Context(), s, u.Pool, false); err == nil {
				p, err = s.Pool(cmd.Context(), u.Pool)
			}
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(p)
		}
		a.say("pool %s goes to %s: %s", p.Name, p.Template, fmt.Sprintf("%d of %d machines are of it%s", len(p.Members)-p.Outdated, len(p.Members), deadline(p)))
		return nil
	}
	return cmd
}
