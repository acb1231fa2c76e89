package identity

// desktopMarks: what desktops and their programs know a computer and its user by.
func desktopMarks() []Mark {
	return []Mark{
		{
			Name: "session-cookies", Kind: Secret, Default: true, Where: "any",
			Why:    "a cookie that opens the screen and the sound of one twin opens those of all",
			Source: "man 1 xauth; man 5 pulse-client.conf (cookie-file)",
			Paths: []string{
				"~/.Xauthority", "~/.ICEauthority", "~/.config/pulse/cookie", "~/.pulse-cookie", "~/.esd_auth",
			},
			Regenerates: "the session",
			way:         remove{},
		},
		{
			Name: "desktop-traces", Kind: Residue, Default: true, Where: "any",
			Why:    "files that the master's users have opened, with pictures of them, and sessions named by its machine-id",
			Source: "https://specifications.freedesktop.org/recent-file-spec/latest/; https://specifications.freedesktop.org/thumbnail-spec/latest/",
			Paths: []string{
				"~/.local/share/recently-used.xbel*", "~/.recently-used*", "~/.local/share/RecentDocuments/*", "~/.cache/thumbnails/*", "~/.thumbnails/*",
				"~/.local/share/gvfs-metadata/*", "~/.dbus/session-bus/*", "~/.xsession-errors*", "~/.local/share/xorg/*",
			},
			Regenerates: "the desktop",
			way:         remove{},
		},
		{
			Name: "trash", Kind: Residue, Default: true, Where: "any",
			Why:         "what the master's users threw away is in every clone",
			Source:      "https://specifications.freedesktop.org/trash-spec/latest/",
			Paths:       []string{"~/.local/share/Trash/files/*", "~/.local/share/Trash/info/*", "~/.local/share/Trash/expunged/*"},
			Regenerates: "the desktop",
			way:         remove{},
		},
		{
			// Off: bookmarks, add-ons and settings are often what a golden master is for.
			Name: "browser-profiles", Kind: Residue, Default: false, Where: "any",
			Why:    "sessions, passwords and history of the master's users",
			Source: "https://support.mozilla.org/en-US/kb/profiles-where-firefox-stores-user-data",
			Paths: []string{
				"~/.mozilla/firefox/*", "~/snap/firefox/common/.mozilla/firefox/*", "~/.config/google-chrome/*", "~/.config/chromium/*",
				"~/.config/microsoft-edge/*", "~/.config/BraveSoftware/*", "~/.thunderbird/*",
			},
			Regenerates: "the browser",
			way:         remove{},
		},
		{
			// Off: models, packages and browsers are often put there for all clones.
			Name: "user-caches", Kind: Residue, Default: false, Where: "any",
			Why:         "what the master's users looked at, and room in every full clone",
			Source:      "https://specifications.freedesktop.org/basedir-spec/latest/",
			Paths:       []string{"~/.cache/*"},
			Regenerates: "the programs",
			way:         remove{},
		},
		{
			Name: "bluetooth-pairings", Kind: Secret, Default: true, Where: "any",
			Why:         "the keys of the master's devices",
			Source:      "https://github.com/bluez/bluez/blob/master/doc/settings-storage.txt (LinkKey, LongTermKey)",
			Paths:       []string{"var/lib/bluetooth/*/*/info"},
			Regenerates: "nothing: pairing",
			way:         remove{},
		},
		{
			Name: "xrdp-keys", Kind: Secret, Default: true, Where: "any",
			Why:         "the server's key is the same on every clone",
			Source:      "man 8 xrdp-keygen",
			Paths:       []string{"etc/xrdp/rsakeys.ini"},
			Regenerates: "clade-firstboot.service: the package makes it at installation only",
			way:         remove{},
			Firstboot: Piece{
				Needs:   []string{"usr/bin/xrdp-keygen", "etc/xrdp"},
				Missing: "/etc/xrdp/rsakeys.ini",
				Command: "{ /usr/bin/xrdp-keygen xrdp /etc/xrdp/rsakeys.ini; chown xrdp:xrdp /etc/xrdp/rsakeys.ini || true; }",
				Before:  []string{"xrdp.service"},
			},
		},
		{
			Name: "rustdesk-key", Kind: Secret, Default: true, Where: "any",
			Why:         "the key and the password are the master's: who may reach it reaches every clone",
			Source:      "https://github.com/rustdesk/hbb_common/blob/main/src/config.rs (enc_id, key_pair)",
			Paths:       []string{"~/.config/rustdesk/RustDesk.toml"},
			Regenerates: "rustdesk, its id from the MAC; a password that was set is gone",
			way:         remove{},
		},
		{
			Name: "anydesk-id", Kind: Secret, Default: true, Where: "any",
			Why:         "clones answer to the master's AnyDesk address, with its password",
			Source:      "https://support.anydesk.com/docs/anydesk-id-and-alias",
			Paths:       []string{"etc/anydesk/service.conf", "~/.anydesk/service.conf"},
			Regenerates: "anydesk, when it is next connected",
			way:         remove{},
		},
	}
}
