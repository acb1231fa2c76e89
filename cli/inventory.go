package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// A host is one machine of an inventory.
type inventoryHost struct {
	name  clade.Name
	pool  clade.Name // empty: none
	login *clade.Login
}

func (a *app) inventoryVerb() *cobra.Command {
	var ansible, sshConfig bool
	var pools []string
	cmd := &cobra.Command{
		Use:   "inventory --ansible | --ssh-config [NAME...]",
		Short: "Write the machines that run for ansible or ssh",
		Long: `Inventory writes how to log in to machines that run: all, those that are named, or those
of pools. With --ansible it is an inventory file with a group for each pool; with
--ssh-config what ssh -F, scp and editors read. The connections go through clade, with
the home's key, and the host keys that the guests' agents tell. Machines that do not
answer are left out and named on standard error.`,
		Example: `  clade inventory --ansible --pool lab > inventory.json && ansible -i inventory.json lab -m ping
  clade inventory --ssh-config > config && ssh -F config lab-01`,
		ValidArgsFunction: a.completeMachines,
	}
	cmd.Flags().BoolVar(&ansible, "ansible", false, "an inventory file of ansible")
	cmd.Flags().BoolVar(&sshConfig, "ssh-config", false, "a configuration of ssh")
	cmd.Flags().StringArrayVar(&pools, "pool", nil, "the machines of this pool; can be given again")
	complete(cmd, "pool", a.completePools)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if ansible == sshConfig {
			return usage(cmd, "give either --ansible or --ssh-config")
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		hosts, err := inventory(cmd.Context(), s, args, pools)
		if err != nil {
			return err
		}
		missing := a.logins(cmd.Context(), s, hosts)
		hosts = slices.DeleteFunc(hosts, func(h *inventoryHost) bool { return h.login == nil })
		if ansible {
			err = a.printJSON(ansibleInventory(hosts))
		} else {
			a.bars.stop()
			_, err = fmt.Fprint(a.env.Out, sshConfiguration(hosts))
		}
		return errors.Join(err, missing)
	}
	return cmd
}

// inventory finds the machines: those named and those of pools, or all that run.
func inventory(ctx context.Context, s clade.Services, args, pools []string) ([]*inventoryHost, error) {
	names, err := parseNames(args)
	if err != nil {
		return nil, err
	}
	wanted, err := parseNames(pools)
	if err != nil {
		return nil, err
	}
	all, err := s.Pools(ctx)
	if err != nil {
		return nil, err
	}
	poolOf := make(map[clade.Name]clade.Name)
	for _, p := range all {
		for _, m := range p.Members {
			poolOf[m.Machine] = p.Name
		}
	}
	for _, name := range wanted {
		if _, err := s.Pool(ctx, name); err != nil {
			return nil, err
		}
	}
	machines, err := s.Machines(ctx)
	if err != nil {
		return nil, err
	}
	var hosts []*inventoryHost
	for _, m := range machines {
		named := slices.Contains(names, m.Name)
		pooled := poolOf[m.Name] != "" && slices.Contains(wanted, poolOf[m.Name])
		everything := len(names)+len(wanted) == 0
		if named || (pooled || everything) && m.State == clade.Running {
			hosts = append(hosts, &inventoryHost{name: m.Name, pool: poolOf[m.Name]})
		}
	}
	for _, name := range names {
		if _, err := s.Machine(ctx, name); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// logins asks all guests how to log in to them. Of those that were not asked for by
// name it only says that they do not answer.
func (a *app) logins(ctx context.Context, s clade.Services, hosts []*inventoryHost) error {
	byName := make(map[clade.Name]*inventoryHost)
	var names []clade.Name
	for _, h := range hosts {
		byName[h.name] = h
		names = append(names, h.name)
	}
	return each(ctx, names, func(ctx context.Context, name clade.Name) error {
		l, err := s.Login(ctx, name)
		if err != nil {
			a.say("%s is left out: %v", name, err)
			return ctx.Err()
		}
		byName[name].login = l
		return nil
	})
}

// sshConfiguration is what ssh -F reads.
func sshConfiguration(hosts []*inventoryHost) string {
	var b strings.Builder
	b.WriteString("# written by clade inventory --ssh-config\n")
	for _, h := range hosts {
		fmt.Fprintf(&b, "\nHost %s\n", h.name)
		if h.login.User != "" {
			fmt.Fprintf(&b, "  User %s\n", h.login.User)
		}
		for i, o := range sshOptions(h.login) {
			if i < 2 || o == "-o" { // -F none
				continue
			}
			key, value, _ := strings.Cut(o, "=")
			fmt.Fprintf(&b, "  %s %s\n", key, value)
		}
	}
	return b.String()
}

// ansibleInventory is an inventory for ansible's YAML plugin, which JSON is for too.
func ansibleInventory(hosts []*inventoryHost) any {
	type group map[string]any
	vars, children := group{}, group{}
	for _, h := range hosts {
		var arguments []string
		for _, o := range sshOptions(h.login)[2:] {
			if o != "-o" { // unquoted: ansible takes off quotes in which a whole value stands
				o = shellWord(o)
			}
			arguments = append(arguments, o)
		}
		one := group{"ansible_host": h.login.Alias, "ansible_ssh_private_key_file": h.login.Key,
			"ansible_ssh_common_args": strings.Join(arguments, " ")}
		if h.login.User != "" {
			one["ansible_user"] = h.login.User
		}
		vars[string(h.name)] = one
		if h.pool == "" {
			continue
		}
		key := strings.ReplaceAll(string(h.pool), "-", "_") // as ansible wants its groups called
		if children[key] == nil {
			children[key] = group{"hosts": group{}}
		}
		children[key].(group)["hosts"].(group)[string(h.name)] = group{}
	}
	return group{"all": group{"hosts": vars, "children": children}}
}

// shellWord writes a word as a shell, and Python's shlex, reads it back. Ansible makes
// templates of its variables: clade writes nothing that could be one.
func shellWord(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}
