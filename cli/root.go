package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/clade-vm/clade"
)

// The groups of verbs in the overview.
const (
	groupSources  = "sources"
	groupMachines = "machines"
	groupPools    = "pools"
	groupInside   = "inside"
	groupLooking  = "looking"
	groupProof    = "proof"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "clade",
		Short: "Clone virtual machines on QEMU/KVM properly",
		Long: `clade makes templates from a prepared machine and, from those, full, linked and
instant clones that share no identity and rest on layers that cannot change; and it
keeps pools of them ready.

It runs as an ordinary user. Everything lies in one home directory.`,
		Example: `  clade lab
  clade build debian-12 --name master
  clade template create debian-12 --from master
  clade clone debian-12 web-1 web-2 --start
  clade ssh web-1`,
		Version:       clade.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          group,
	}
	root.SetVersionTemplate("clade {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", a.home, "the home directory ($CLADE_HOME)")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print nothing but data and errors")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%w", err) })
	root.AddGroup(
		&cobra.Group{ID: groupSources, Title: "Masters and templates:"},
		&cobra.Group{ID: groupMachines, Title: "Machines:"},
		&cobra.Group{ID: groupPools, Title: "Pools:"},
		&cobra.Group{ID: groupInside, Title: "Inside a machine:"},
		&cobra.Group{ID: groupLooking, Title: "Looking:"},
		&cobra.Group{ID: groupProof, Title: "Proof:"},
	)
	add := func(id string, verbs ...*cobra.Command) {
		for _, v := range verbs {
			v.GroupID = id
		}
		root.AddCommand(verbs...)
	}
	add(groupSources, a.buildVerb(), a.importVerb(), a.exportVerb(), a.pushVerb(), a.pullVerb(), a.templateVerb(), a.generalizeVerb())
	add(groupMachines, a.createVerb(), a.cloneVerb(), a.startVerb(), a.stopVerb(), a.restartVerb(), a.killVerb(), a.rmVerb(), a.networkVerb(), a.mendVerb(),
		a.snapshotVerb(), a.resetVerb(), a.rebaseVerb(), a.promoteVerb())
	add(groupPools, a.poolVerb(), a.serveVerb(), a.inventoryVerb())
	add(groupInside, a.sshVerb(), a.execVerb(), a.cpVerb(), a.consoleVerb(), a.logsVerb(), a.waitVerb())
	add(groupLooking, a.lsVerb(), a.showVerb(), a.treeVerb(), a.duVerb(), a.gcVerb(), a.compactVerb())
	add(groupProof, a.labVerb(), a.auditVerb(), a.verifyVerb(), a.doctorVerb())
	root.AddCommand(a.versionVerb(), a.dialVerb())
	if a.env.Switch != nil {
		root.AddCommand(a.switchVerb())
	}
	return root
}

// group is what a verb does that has only verbs below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		if cmd.HasParent() {
			return usage(cmd, "a verb is missing")
		}
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(cmd, "there is no verb %.40q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usage(cmd, "there is no verb %.40q", args[0])
}

// takes checks the number of arguments: at least low, and at most high unless
// that is negative. form says what they are.
func takes(low, high int, form string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usage(cmd, "too few arguments: it takes %s", form)
		case high >= 0 && len(args) > high:
			return usage(cmd, "too many arguments: it takes %s", form)
		}
		return nil
	}
}

// nothing is for verbs without arguments.
func nothing(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "it takes no arguments, got %.40q", args[0])
	}
	return nil
}
