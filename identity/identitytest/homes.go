package identitytest

func homePlants() map[string]Plant {
	return map[string]Plant{
		"histories": {
			Files: map[string]string{
				"root/.bash_history": Planted, "home/ann/.zsh_history": Planted, "home/bob/.local/share/fish/fish_history": Planted,
				"home/ann/.bashrc": "kept",
			},
			After: map[string]string{"root/.bash_history": None, "home/ann/.zsh_history": None, "home/ann/.bashrc": "kept"},
		},
		"tmp": {
			Files: map[string]string{"tmp/.hidden": Planted, "tmp/a/b\nc": Planted, "tmp/out": "->/srv", "tmp/pipe": "|", "var/tmp/x": Planted, "srv/kept": "kept"},
			After: map[string]string{"tmp": "d---------", "tmp/.hidden": None, "tmp/a": None, "tmp/out": None, "tmp/pipe": None, "var/tmp/x": None, "srv/kept": "kept"},
		},
		"crash-dumps": {map[string]string{"var/lib/systemd/coredump/core.x": Planted}, map[string]string{"var/lib/systemd/coredump/core.x": None}},
		"mail-spool": {
			Files: map[string]string{"var/mail/root": Planted, "var/spool/mail": "->../mail"},
			After: map[string]string{"var/mail/root": None, "var/mail": "d---------", "var/spool/mail": "->../mail"},
		},
	}
}
