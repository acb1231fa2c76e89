package identity

// dhcpMarks: a lease makes a clone ask for the master's address, a DUID or IAID
// makes the server take the clone for the master and give it that address. It is
// long because it is a table: one mark after the other, no logic.
func dhcpMarks() []Mark {
	return []Mark{
		{
			Name: "dhclient-leases", Family: "dhcp", Kind: Conflict, Default: true,
			Why:         "holds the master's address and DUID: the server gives a clone the same address",
			Source:      "man 5 dhclient.leases; RFC 8415 section 11",
			Paths:       []string{"var/lib/dhcp/*.lease*", "var/lib/dhclient/*.lease*"},
			Regenerates: "dhclient",
			way:         remove{value: fingerprint},
		},
		{
			Name: "dhcpcd-duid", Family: "dhcp", Kind: Conflict, Default: true,
			Why:         "the DUID is the client id by which servers know a machine",
			Source:      "man 8 dhcpcd (FILES)",
			Paths:       []string{"var/lib/dhcpcd/duid", "var/db/dhcpcd/duid", "etc/dhcpcd.duid"},
			Regenerates: "dhcpcd",
			way:         remove{},
		},
		{
			Name: "dhcpcd-secret", Family: "dhcp", Kind: Secret, Default: true,
			Why:         "stable private IPv6 addresses (RFC 7217) are made from it: twins get the same",
			Source:      "man 8 dhcpcd (FILES)",
			Paths:       []string{"var/lib/dhcpcd/secret", "var/db/dhcpcd/secret", "etc/dhcpcd.secret"},
			Regenerates: "dhcpcd",
			way:         remove{},
		},
		{
			Name: "dhcpcd-leases", Family: "dhcp", Kind: Conflict, Default: true,
			Why:         "a clone asks for the master's address",
			Source:      "man 8 dhcpcd (FILES)",
			Paths:       []string{"var/lib/dhcpcd/*.lease*", "var/lib/dhcpcd/*/*.lease*", "var/db/dhcpcd/*.lease*", "var/lib/dhcpcd/rdm_monotonic"},
			Regenerates: "dhcpcd",
			way:         remove{value: fingerprint},
		},
		{
			Name: "networkd-leases", Family: "dhcp", Kind: Conflict, Default: true,
			Why:         "a clone asks for the master's address; a DHCP server on the clone serves the master's leases",
			Source:      "man 8 systemd-networkd",
			Paths:       []string{"var/lib/systemd/network/*", "run/systemd/netif/leases/*"},
			Regenerates: "systemd-networkd; its DUID comes from the machine-id",
			way:         remove{value: fingerprint},
		},
		{
			Name: "networkmanager-leases", Family: "dhcp", Kind: Conflict, Default: true,
			Why:         "a clone asks for the master's address",
			Source:      "man 8 NetworkManager",
			Paths:       []string{"var/lib/NetworkManager/*.lease", "var/lib/NetworkManager/dhclient*.conf"},
			Regenerates: "NetworkManager",
			way:         remove{value: fingerprint},
		},
		{
			Name: "networkmanager-secret-key", Family: "dhcp", Kind: Secret, Default: true,
			Why:         "stable MAC and IPv6 addresses and DHCP client ids are made from it: twins get the same",
			Source:      "man 5 nm-settings (ipv6.addr-gen-mode, connection.stable-id)",
			Paths:       []string{"var/lib/NetworkManager/secret_key"},
			Regenerates: "NetworkManager",
			way:         remove{},
		},
		{
			Name: "networkmanager-history", Family: "dhcp", Kind: Residue, Default: true,
			Why:         "where the master has been: access points seen, connections used",
			Source:      "man 8 NetworkManager",
			Paths:       []string{"var/lib/NetworkManager/seen-bssids", "var/lib/NetworkManager/timestamps"},
			Regenerates: "NetworkManager",
			way:         remove{},
		},
	}
}
