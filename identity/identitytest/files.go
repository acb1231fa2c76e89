package identitytest

func filePlants() map[string]Plant {
	return map[string]Plant{
		"backup-files": gone(
			"etc/x~", "etc/x.bak", "etc/.x.swp", "etc/ssh/x~", "etc/ssh/x.bak", "etc/network/x~", "etc/network/x.bak", "etc/netplan/x~", "etc/netplan/x.bak",
			"etc/systemd/network/x~", "etc/systemd/network/x.bak", "etc/NetworkManager/system-connections/x~", "etc/NetworkManager/system-connections/x.bak",
			"etc/wireguard/x~", "etc/wireguard/x.bak", "root/x~", "root/.x~", "root/.x.swp",
		),
		"locate-database": gone("var/lib/mlocate/mlocate.db", "var/lib/plocate/plocate.db", "var/cache/locate/locatedb", "var/lib/slocate/slocate.db"),
		"tmp": {
			Files: map[string]string{"tmp/.hidden": Planted, "tmp/a/b\nc": Planted, "tmp/out": "->/srv", "tmp/pipe": "|", "var/tmp/x": Planted, "srv/kept": "kept"},
			After: map[string]string{"tmp": "d---------", "tmp/.hidden": None, "tmp/a": None, "tmp/out": None, "tmp/pipe": None, "var/tmp/x": None, "srv/kept": "kept"},
		},
	}
}
