package identitytest

func homePlants() map[string]Plant {
	return map[string]Plant{
		"histories": gone(
			"root/.bash_history", "home/ann/.zsh_history", "home/bob/.local/share/fish/fish_history", "root/.zhistory", "home/ann/.histfile",
			"home/un[k]nown/.zcompdump-golden-5.9", "root/.sh_history", "home/ann/.ash_history", "home/un[k]nown/.ksh_history", "root/.mksh_history",
			"home/ann/.history", "home/un[k]nown/.tcsh_history", "root/.config/nushell/history.sqlite3",
			"home/ann/.local/share/powershell/PSReadLine/ConsoleHost_history.txt", "home/un[k]nown/.local/share/atuin/history.db", "root/.python_history",
			"home/ann/.ipython/profile_default/history.sqlite", "home/un[k]nown/.node_repl_history", "root/.irb_history", "home/ann/.pry_history",
			"home/un[k]nown/.local/share/pry/pry_history", "root/.php_history", "home/ann/.Rhistory", "home/un[k]nown/.octave_hist",
			"root/.julia/logs/repl_history.jl", "home/ann/.scala_history", "home/un[k]nown/.jline-x.history", "root/.gdb_history", "home/ann/.mysql_history",
			"home/un[k]nown/.mariadb_history", "root/.psql_history", "home/ann/.sqlite_history", "home/un[k]nown/.rediscli_history", "root/.dbshell",
			"home/ann/.mongodb/mongosh/mongosh_repl_history", "home/un[k]nown/.influx_history", "root/.cassandra/cqlsh_history", "home/ann/.mycli-history",
			"home/un[k]nown/.config/pgcli/history", "root/.lesshst", "home/ann/.local/state/less/history", "home/un[k]nown/.local/state/lesshst",
			"root/.viminfo", "home/ann/.local/state/nvim/shada/main.shada", "home/un[k]nown/.local/share/nvim/shada/main.shada", "root/.vim/.netrwhist",
			"home/ann/.nano/search_history", "home/un[k]nown/.local/share/nano/search_history", "root/.emacs.d/recentf", "home/ann/.emacs.d/places",
			"root/.local/share/mc/filepos", "root/.wget-hsts", "home/ann/.local/share/wget-hsts", "home/un[k]nown/.lftp/rl_history",
			"root/.local/share/lftp/rl_history", "home/ann/.sudo_as_admin_successful", "home/un[k]nown/.config/mc/history", "root/.local/share/mc/history",
		).beside("home/ann/.bashrc", "kept"),
	}
}
