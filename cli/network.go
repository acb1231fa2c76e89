package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) networkVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Make, list and remove networks",
		Long: `A network is isolated from all others, with its own DHCP and DNS, and a gateway to
the outside unless it has none. It needs no root. Machines find each other by name.`,
		Example: `  clade network create exam --no-nat
  clade clone debian-12 pupil-1 --network exam`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(a.networkCreateVerb(), a.networkLsVerb(), a.networkShowVerb(), a.networkRmVerb())
	return cmd
}

func (a *app) networkCreateVerb() *cobra.Command {
	var subnet string
	var closed, isolated bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a network",
		Long:  `Create makes a network. Without --subnet it gets the next free one.`,
		Example: `  clade network create lab
  clade network create exam --subnet 10.20.0.0/24 --no-nat`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&subnet, "subnet", "", "its addresses, such as 10.20.0.0/24")
	cmd.Flags().BoolVar(&closed, "no-nat", false, "machines do not reach the outside")
	cmd.Flags().BoolVar(&isolated, "isolated", false, "machines reach the gateway and not one another")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, s, err := a.openFor(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		n, err := s.CreateNetwork(cmd.Context(), clade.NetworkSpec{Name: name, Subnet: subnet, NAT: !closed, Isolated: isolated})
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(n)
		}
		return a.print("%s", n.Name)
	}
	return cmd
}

func (a *app) networkLsVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:     "ls",
		Short:   "List networks",
		Long:    `Ls lists all networks and how many machines are on each.`,
		Example: `  clade network ls --json`,
		Args:    nothing,
	}, func(ctx context.Context, s clade.Services, _ []string) ([]*clade.Network, error) {
		networks, err := s.Networks(ctx)
		return filled(networks), err
	}, func(networks []*clade.Network) error {
		t := &table{}
		t.row("NETWORK", "SUBNET", "GATEWAY", "NAT", "MACHINES", "SWITCH")
		for _, n := range networks {
			t.row(string(n.Name), n.Subnet, n.Gateway, yes(n.NAT), strconv.Itoa(len(n.Machines)), runs(n))
		}
		return a.printTable(t)
	})
}

func runs(n *clade.Network) string {
	if n.Running {
		return "running"
	}
	return "at rest"
}

func (a *app) networkShowVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a network",
		Long:              `Show prints all that is known of a network, and the machines on it.`,
		Example:           `  clade network show default`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completeNetworks,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Network, error) {
		name, err := clade.ParseName(args[0])
		if err != nil {
			return nil, err
		}
		n, err := s.Network(ctx, name)
		if err != nil {
			return nil, err
		}
		n.Machines = filled(n.Machines)
		return n, nil
	}, func(n *clade.Network) error {
		t := &table{}
		t.row("network", string(n.Name))
		t.row("subnet", n.Subnet)
		t.row("gateway", n.Gateway)
		t.row("NAT", yes(n.NAT))
		t.row("isolated", yes(n.Isolated))
		t.row("switch", runs(n))
		for i, m := range n.Machines {
			t.row(map[bool]string{true: "machines", false: " "}[i == 0], string(m))
		}
		return a.printTable(t)
	})
}

func (a *app) networkRmVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME...",
		Short:             "Remove networks",
		Long:              `Rm removes networks. One that machines are on is refused.`,
		Example:           `  clade network rm exam`,
		Args:              takes(1, -1, "NAME..."),
		ValidArgsFunction: a.completeNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := parseNames(args)
			if err != nil {
				return err
			}
			s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			var errs []error
			for _, name := range names {
				if err := s.RemoveNetwork(cmd.Context(), name); err != nil {
					errs = append(errs, err)
					continue
				}
				a.say("network %s is removed", name)
			}
			return errors.Join(errs...)
		},
	}
}
