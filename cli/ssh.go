package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func (a *app) sshVerb() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "ssh NAME [-- COMMAND...]",
		Short: "Log in to a machine over SSH",
		Long: `Ssh runs the system's ssh with the home's key, through clade's own network: no
address or port of the host is needed. The machine's host keys are read through its
guest agent, so that even the first connection is verified. Your own ssh
configuration is left out of it. The exit status is ssh's.`,
		Example: `  clade ssh web-1
  clade ssh web-1 -- uname -a
  clade ssh web-1 --user root`,
		Args:              takes(1, -1, "NAME"),
		ValidArgsFunction: a.completeMachine,
	}
	cmd.Flags().StringVar(&user, "user", "", "log in as this user (default: the machine's)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := clade.ParseName(args[0])
		if err != nil {
			return err
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
		argv := append([]string{"ssh"}, sshOptions(login)...)
		argv = append(argv, "-l", login.User, "--", login.Alias)
		return a.become(append(argv, args[1:]...))
	}
	return cmd
}

func (a *app) login(ctx context.Context, name clade.Name) (*clade.Login, error) {
	s, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return s.Login(ctx, name)
}

func checkUser(cmd *cobra.Command, user string) error {
	if user == "" {
		return usage(cmd, "the machine's user is not known: give --user")
	}
	if strings.HasPrefix(user, "-") || strings.ContainsAny(user, " @:/\t\n") {
		return usage(cmd, "--user %.40q is no user name", user)
	}
	return nil
}

// sshOptions are the options that ssh and scp share. The user's configuration is
// not read: it could send the connection elsewhere.
func sshOptions(l *clade.Login) []string {
	options := []string{"-F", "none"}
	for _, o := range []string{
		"IdentityFile=" + quoteConfig(l.Key),
		"IdentitiesOnly=yes",
		"PasswordAuthentication=no",
		"StrictHostKeyChecking=yes",
		"UserKnownHostsFile=" + quoteConfig(l.KnownHosts),
		"GlobalKnownHostsFile=/dev/null",
		"HostKeyAlias=" + l.Alias,
		"ProxyCommand=" + proxyCommand(l.Proxy),
	} {
		options = append(options, "-o", o)
	}
	return options
}

// quoteConfig writes a path as one word of an ssh option. ssh expands percent
// signs in it.
func quoteConfig(path string) string {
	return `"` + strings.NewReplacer("%", "%%", `\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

// proxyCommand writes a command for the shell that ssh starts it with, after an
// exec of its own. ssh expands percent signs in it first.
func proxyCommand(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = "'" + strings.NewReplacer("%", "%%", "'", `'\''`).Replace(arg) + "'"
	}
	return strings.Join(words, " ")
}

// become replaces this process by a program of OpenSSH, so that the terminal,
// signals and the exit status are its own. It returns only on failure.
func (a *app) become(argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return &clade.Error{Op: "run", On: argv[0], Kind: clade.Missing, Err: errors.New("the program is not installed"),
			Hint: "apt-get install openssh-client"}
	}
	a.bars.stop()
	if err := a.close(); err != nil {
		return err
	}
	return &clade.Error{Op: "run", On: path, Kind: clade.Denied, Err: unix.Exec(path, argv, os.Environ())}
}
