package cli

import (
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) cpVerb() *cobra.Command {
	var user string
	var recursive bool
	cmd := &cobra.Command{
		Use:   "cp SRC DST",
		Short: "Copy files to or from a machine",
		Long: `Cp copies with the system's scp, connected as clade ssh is. One side is NAME:PATH;
a path in the machine that does not begin with / is taken from the user's home. A
file here whose name looks like NAME:PATH is written ./NAME:PATH.`,
		Example: `  clade cp ./site.conf web-1:/tmp/
  clade cp -r web-1:/var/log ./logs`,
		Args: takes(2, 2, "SRC and DST"),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			names, err := a.machineNames(cmd.Context())
			if err != nil || strings.ContainsAny(word, "./:") {
				return nil, cobra.ShellCompDirectiveDefault
			}
			for i := range names {
				names[i] += ":"
			}
			return names, cobra.ShellCompDirectiveNoSpace
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "log in as this user (default: the machine's)")
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "copy directories")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, fromPath, fromMachine := inMachine(args[0])
		to, toPath, toMachine := inMachine(args[1])
		if fromMachine == toMachine {
			return usage(cmd, "one side is NAME:PATH, the other a path here")
		}
		name := from
		if toMachine {
			name = to
		}
		login, err := a.login(cmd.Context(), name)
		if err != nil {
			return err
		}
		if user != "" {
			login.User = user
		}
		if err := checkUser(cmd, login.User); err != nil {
			return err
		}
		argv := append([]string{"scp"}, sshOptions(login)...)
		if recursive {
			argv = append(argv, "-r")
		}
		there := login.User + "@" + login.Alias + ":"
		if toMachine {
			return a.become(append(argv, "--", here(args[0]), there+toPath))
		}
		return a.become(append(argv, "--", there+fromPath, here(args[1])))
	}
	return cmd
}

// inMachine takes NAME:PATH apart.
func inMachine(arg string) (name clade.Name, path string, is bool) {
	before, path, found := strings.Cut(arg, ":")
	name, err := clade.ParseName(before)
	if !found || err != nil {
		return "", "", false
	}
	return name, path, true
}

// here writes a local path so that scp takes it for nothing else.
func here(path string) string {
	if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ":") {
		return "./" + path
	}
	return path
}
