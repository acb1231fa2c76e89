package cli

import (
	"context"

	"github.com/spf13/cobra"
)

// A completer offers words for the shell.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete offers values for a flag.
func complete(cmd *cobra.Command, flag string, offer completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic("cli: " + err.Error()) // the flag was added one line above
	}
}

// offer makes a completer of a list; what cannot be listed is not offered.
func offer(list func(context.Context) ([]string, error)) completer {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		words, err := list(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) machineNames(ctx context.Context) ([]string, error) {
	s, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := s.Machines(ctx)
	var names []string
	for _, m := range machines {
		names = append(names, string(m.Name))
	}
	return names, err
}

func (a *app) templateRefs(ctx context.Context) ([]string, error) {
	s, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	templates, err := s.Templates(ctx)
	var refs []string
	for _, t := range templates {
		refs = append(refs, t.Ref().String())
	}
	return refs, err
}

func (a *app) completeMachines(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return offer(a.machineNames)(cmd, args, word)
}

// completeMachine offers machines for the first argument only.
func (a *app) completeMachine(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeMachines(cmd, args, word)
}

func (a *app) completeTemplates(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return offer(a.templateRefs)(cmd, args, word)
}

// completeSource offers templates and machines for the first argument.
func (a *app) completeSource(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return offer(func(ctx context.Context) ([]string, error) {
		refs, err := a.templateRefs(ctx)
		if err != nil {
			return nil, err
		}
		names, err := a.machineNames(ctx)
		return append(refs, names...), err
	})(cmd, args, word)
}

func (a *app) completeNetworks(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return offer(func(ctx context.Context) ([]string, error) {
		s, err := a.open(ctx)
		if err != nil {
			return nil, err
		}
		networks, err := s.Networks(ctx)
		var names []string
		for _, n := range networks {
			names = append(names, string(n.Name))
		}
		return names, err
	})(cmd, args, word)
}
