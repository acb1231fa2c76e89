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
			Name: "histories", Family: "homes", Kind: Residue, Default: true,
			Why:    "what the master's users typed, often with passwords, in every clone",
			Source: "man 1 bash (HISTORY); man 1 virt-sysprep (bash-history)",
			Paths: []string{
				"~/.bash_history", "~/.zsh_history", "~/.zhistory", "~/.histfile", "~/.sh_history", "~/.ash_history", "~/.ksh_history",
				"~/.history", "~/.local/share/fish/fish_history", "~/.python_history", "~/.node_repl_history", "~/.irb_history",
				"~/.mysql_history", "~/.mariadb_history", "~/.psql_history", "~/.sqlite_history", "~/.rediscli_history", "~/.dbshell",
				"~/.lesshst", "~/.viminfo", "~/.local/state/nvim/shada/*", "~/.wget-hsts", "~/.Xauthority", "~/.ICEauthority",
			},
			Regenerates: "the programs, as they are used",
			way:         remove{},
		},
		{
			Name: "tmp", Family: "homes", Kind: Residue, Default: true,
			Why:         "the master's temporary files, private ones among them",
			Source:      "man 7 file-hierarchy",
			Paths:       []string{"tmp/*", "var/tmp/*"},
			Regenerates: "programs; systemd-tmpfiles makes the sockets' directories",
			way:         remove{},
		},
		{
			Name: "crash-dumps", Family: "homes", Kind: Residue, Default: true,
			Why:         "memory of the master's programs, with the secrets in it",
			Source:      "man 8 systemd-coredump",
			Paths:       []string{"var/crash/*", "var/lib/systemd/coredump/*"},
			Regenerates: "nothing",
			way:         remove{},
		},
		{
			Name: "mail-spool", Family: "homes", Kind: Residue, Default: true,
			Why:         "the mail of the master's users",
			Source:      "man 1 virt-sysprep (mail-spool)",
			Paths:       []string{"var/mail/*", "var/spool/mail/*"},
			Regenerates: "the mail server",
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
	others, err := rootfs.Glob(fsys, "home/*", maxHomes)
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
