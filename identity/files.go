package identity

func fileMarks() []Mark {
	return []Mark{
		{
			Name: "tmp", Kind: Residue, Default: true, Where: "any",
			Why:         "the master's temporary files, private ones among them",
			Source:      "man 7 file-hierarchy",
			Paths:       []string{"tmp/*", "var/tmp/*"},
			Regenerates: "programs; systemd-tmpfiles makes the sockets' directories",
			way:         remove{},
		},
		{
			// Not everywhere below /var and /srv, as virt-sysprep does: there *.bak is data.
			Name: "backup-files", Kind: Residue, Default: true, Where: "any",
			Why:    "what an editor kept of configurations: old names, addresses and passwords",
			Source: "man 1 virt-sysprep (backup-files)",
			Paths: []string{
				"etc/*~", "etc/*.bak", "etc/.*.sw[a-p]", "etc/ssh/*~", "etc/ssh/*.bak", "etc/network/*~", "etc/network/*.bak", "etc/netplan/*~",
				"etc/netplan/*.bak", "etc/systemd/network/*~", "etc/systemd/network/*.bak", "etc/NetworkManager/system-connections/*~",
				"etc/NetworkManager/system-connections/*.bak", "etc/wireguard/*~", "etc/wireguard/*.bak", "root/*~", "root/.*~", "root/.*.sw[a-p]",
			},
			Regenerates: "nothing",
			way:         remove{},
		},
		{
			Name: "locate-database", Kind: Residue, Default: true, Where: "any",
			Why:         "the names of all the master's files, those that are gone among them",
			Source:      "man 1 plocate; man 8 updatedb.plocate",
			Paths:       []string{"var/lib/mlocate/mlocate.db*", "var/lib/plocate/plocate.db*", "var/cache/locate/locatedb*", "var/lib/slocate/slocate.db*"},
			Regenerates: "updatedb, once a day",
			way:         remove{},
		},
	}
}
