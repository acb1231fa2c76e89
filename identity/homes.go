package identity

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/clade-vm/clade/rootfs"
)

func homeMarks() []Mark {
	return []Mark{
		{
			Name: "histories", Kind: Residue, Default: true, Where: "any",
			Why:    "what the master's users typed, often with passwords, in every clone",
			Source: "man 1 bash (HISTORY); man 1 virt-sysprep (bash-history)",
			Paths: []string{
				"~/.bash_history*", "~/.zsh_history*", "~/.zhistory", "~/.histfile", "~/.zcompdump*", "~/.sh_history", "~/.ash_history", "~/.ksh_history",
				"~/.mksh_history", "~/.history", "~/.tcsh_history", "~/.local/share/fish/fish_history*", "~/.config/nushell/history.*",
				"~/.local/share/powershell/PSReadLine/*", "~/.local/share/atuin/history.db*", "~/.python_history", "~/.ipython/profile_*/history.sqlite",
				"~/.node_repl_history", "~/.irb_history", "~/.pry_history", "~/.local/share/pry/pry_history", "~/.php_history", "~/.Rhistory", "~/.octave_hist",
				"~/.julia/logs/repl_history.jl", "~/.scala_history*", "~/.jline*.history", "~/.gdb_history",
				"~/.mysql_history", "~/.mariadb_history", "~/.psql_history", "~/.sqlite_history", "~/.rediscli_history", "~/.dbshell",
				"~/.mongodb/mongosh/mongosh_repl_history", "~/.influx_history", "~/.cassandra/cqlsh_history", "~/.mycli-history", "~/.config/pgcli/history",
				"~/.lesshst", "~/.local/state/less/*", "~/.local/state/lesshst", "~/.viminfo*", "~/.local/state/nvim/shada/*", "~/.local/share/nvim/shada/*",
				"~/.vim/.netrwhist", "~/.nano/search_history", "~/.local/share/nano/search_history", "~/.emacs.d/recentf", "~/.emacs.d/places",
				"~/.wget-hsts", "~/.local/share/wget-hsts", "~/.lftp/*_history", "~/.local/share/lftp/*_history", "~/.sudo_as_admin_successful",
				"~/.config/mc/history", "~/.local/share/mc/history", "~/.local/share/mc/filepos",
			},
			Regenerates: "the programs, as they are used",
			way:         remove{},
		},
	}
}

// maxHomes is how many homes a guest may have before it is taken to be hostile.
const maxHomes = 4096

// homes returns the home directories of a guest's users as names: those in
// /etc/passwd, root's, and what is in /home for users that are known elsewhere.
func homes(fsys fs.FS) ([]string, error) {
	passwd, err := text(fsys, "etc/passwd")
	if err != nil {
		return nil, err
	}
	all := []string{"root"}
	for line := range strings.Lines(passwd) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 6 || !strings.HasPrefix(fields[5], "/") || strings.Contains(fields[5], "\x00") {
			continue
		}
		if home := strings.TrimPrefix(path.Clean(fields[5]), "/"); home != "" {
			all = append(all, home)
		}
	}
	others, err := glob(fsys, ".", "home/*", maxHomes)
	if err != nil {
		return nil, err
	}
	all = append(all, others...)
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxHomes {
		return nil, fmt.Errorf("%d homes in etc/passwd: %w", len(all), rootfs.ErrLimit)
	}
	return all, nil
}
