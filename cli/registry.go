package cli

import (
	"context"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) pushVerb() *cobra.Command {
	var o clade.RegistryOptions
	cmd := reads(a, &cobra.Command{
		Use:   "push TEMPLATE REGISTRY/NAME[:VERSION]",
		Short: "Store a template in a registry",
		Long: `Push stores a template in a registry for container images, one blob a layer: what the
registry has already, such as the layers of an earlier version, is not sent. Log in with
docker login, podman login or oras login; the docker configuration is what is read.`,
		Example: `  clade push debian-12:2 registry.example.org/vms/debian-12:2
  clade push debian-12 localhost:5000/debian-12`,
		Args:              takes(2, 2, "TEMPLATE and REGISTRY/NAME[:VERSION]"),
		ValidArgsFunction: a.completeSource,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Carried, error) {
		ref, err := clade.ParseRef(args[0])
		if err != nil {
			return nil, err
		}
		return s.Push(ctx, ref, args[1], o, a.progress())
	}, func(c *clade.Carried) error {
		a.say("%s: %v sent for %d layers", carriedName(c), c.Bytes, c.Layers)
		return nil
	})
	plainHTTP(cmd, &o)
	return cmd
}

func (a *app) pullVerb() *cobra.Command {
	var o clade.RegistryOptions
	var as string
	var arrival clade.Arrival
	cmd := reads(a, &cobra.Command{
		Use:   "pull REGISTRY/NAME:VERSION",
		Short: "Take a template in from a registry",
		Long: `Pull takes in a template that clade push stored. Layers that are here already are not
fetched, nor are those that arrived in a try that failed; every other one is proven by its
digest before it counts. That the template is generalized is proven here, by reading its marks
once, unless you --trust who made it.`,
		Example: `  clade pull registry.example.org/vms/debian-12:2
  clade pull localhost:5000/debian-12:2 --as debian-12:2026-11`,
		Args:              takes(1, 1, "REGISTRY/NAME:VERSION"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Carried, error) {
		if as != "" {
			var err error
			if arrival.As, err = clade.ParseRef(as); err != nil {
				return nil, err
			}
		}
		return s.Pull(ctx, args[0], arrival, o, a.progress())
	}, func(c *clade.Carried) error {
		a.say("%s is here: %d of %d layers were missing%s, %v fetched", carriedName(c), c.Moved, c.Layers, resumed(c), c.Bytes)
		return nil
	})
	cmd.Flags().StringVar(&as, "as", "", "another name for the template: NAME[:VERSION]")
	cmd.Flags().BoolVar(&arrival.Trust, "trust", false, "take the word of who made it that it is generalized")
	plainHTTP(cmd, &o)
	return cmd
}

func plainHTTP(cmd *cobra.Command, o *clade.RegistryOptions) {
	cmd.Flags().BoolVar(&o.PlainHTTP, "plain-http", false, "speak without TLS to a registry that is not on this computer")
}
