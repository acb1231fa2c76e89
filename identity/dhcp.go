package identity

import (
	"bytes"
	"regexp"
)

// dhcpMarks: a lease makes a clone ask for the master's address, a DUID or IAID
// makes the server take the clone for the master and give it that address. It is
// long because it is a table: one mark after the other, no logic.
func dhcpMarks() []Mark {
	return []Mark{
		{
			Name: "dhclient-leases", Kind: Conflict, Default: true, Where: "any",
			Why:         "holds the master's address and DUID: the server gives a clone the same address",
			Source:      "man 5 dhclient.leases; RFC 8415 section 11",
			Paths:       []string{"var/lib/dhcp/dhclient*.lease*", "var/lib/dhcp3/dhclient*.lease*", "var/lib/dhclient/*.lease*"},
			Regenerates: "dhclient",
			way:         remove{value: fingerprint},
		},
		{
			Name: "dhcpcd-duid", Kind: Conflict, Default: true, Where: "any",
			Why:         "the DUID is the client id by which servers know a machine",
			Source:      "man 8 dhcpcd (FILES)",
			Paths:       []string{"var/lib/dhcpcd/duid", "var/db/dhcpcd/duid", "etc/dhcpcd.duid"},
			Regenerates: "dhcpcd",
			way:         remove{},
		},
		{
			Name: "dhcpcd-secret", Kind: Secret, Default: true, Where: "any",
			Why:         "stable private IPv6 addresses (RFC 7217) are made from it: twins get the same",
			Source:      "man 8 dhcpcd (FILES)",
			Paths:       []string{"var/lib/dhcpcd/secret", "var/db/dhcpcd/secret", "etc/dhcpcd.secret"},
			Regenerates: "dhcpcd",
			way:         remove{},
		},
		{
			Name: "dhcpcd-leases", Kind: Conflict, Default: true, Where: "any",
			Why:         "a clone asks for the master's address",
			Source:      "man 8 dhcpcd (FILES)",
			Paths:       []string{"var/lib/dhcpcd/*.lease*", "var/lib/dhcpcd/*/*.lease*", "var/db/dhcpcd/*.lease*", "var/lib/dhcpcd/rdm_monotonic"},
			Regenerates: "dhcpcd",
			way:         remove{value: fingerprint},
		},
		{
			Name: "networkd-leases", Kind: Conflict, Default: true, Where: "any",
			Why:         "a clone asks for the master's address; a DHCP server on the clone serves the master's leases",
			Source:      "man 8 systemd-networkd; man 5 systemd.network (PersistLeases)",
			Paths:       []string{"var/lib/systemd/network/*", "run/systemd/netif/leases/*"},
			Regenerates: "systemd-networkd; its DUID comes from the machine-id",
			way:         remove{value: fingerprint},
		},
		{
			Name: "networkd-duid", Kind: Conflict, Default: true, Where: "any",
			Why:         "a DUID that is written down does not change with the machine-id: servers take twins for one",
			Source:      "man 5 networkd.conf (DUIDRawData); man 5 systemd.network",
			Paths:       []string{"etc/systemd/networkd.conf", "etc/systemd/networkd.conf.d/*.conf", "etc/systemd/network/*.network"},
			Regenerates: "systemd-networkd makes its DUID of the machine-id",
			way:         lines(networkdDUID),
		},
		{
			Name: "networkmanager-leases", Kind: Conflict, Default: true, Where: "any",
			Why:         "a clone asks for the master's address",
			Source:      "https://github.com/NetworkManager/NetworkManager/blob/main/src/core/dhcp/nm-dhcp-utils.c (statedir_path)",
			Paths:       []string{"var/lib/NetworkManager/*.lease", "var/lib/NetworkManager/dhclient*.conf"},
			Regenerates: "NetworkManager",
			way:         remove{value: fingerprint},
		},
		{
			Name: "networkmanager-secret-key", Kind: Secret, Default: true, Where: "any",
			Why:         "stable MAC and IPv6 addresses and DHCP client ids are made from it: twins get the same",
			Source:      "man 8 NetworkManager (/var/lib/NetworkManager/secret_key and /etc/machine-id); man 5 nm-settings (ipv6.addr-gen-mode, connection.stable-id)",
			Paths:       []string{"var/lib/NetworkManager/secret_key"},
			Regenerates: "NetworkManager",
			way:         remove{},
		},
		{
			Name: "networkmanager-history", Kind: Residue, Default: true, Where: "any",
			Why:         "where the master has been: access points seen, connections used",
			Source:      "https://github.com/NetworkManager/NetworkManager/blob/main/src/core/settings/nm-settings.c (kf_db_timestamps, kf_db_seen_bssids)",
			Paths:       []string{"var/lib/NetworkManager/seen-bssids", "var/lib/NetworkManager/timestamps"},
			Regenerates: "NetworkManager",
			way:         remove{},
		},
		{
			Name: "dhcp-client-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "a client id that is written down is the same on twins: the server gives both one address",
			Source:      "man 5 nm-settings (ipv4.dhcp-client-id); man 5 dhclient.conf; RFC 2132 section 9.14",
			Paths:       []string{"etc/NetworkManager/system-connections/*", "etc/dhcp/dhclient.conf", "etc/dhclient.conf"},
			Regenerates: "not needed: the client's own default, the MAC or a DUID",
			way:         lines(dhcpClientID),
		},
		{
			Name: "wicked-duid", Kind: Conflict, Default: true, Where: "SUSE",
			Why:         "the DUID and the IAIDs are the ids by which servers know a machine",
			Source:      "https://github.com/openSUSE/wicked/blob/master/src/duid.c; https://github.com/openSUSE/wicked/blob/master/src/iaid.c; https://github.com/openSUSE/wicked/blob/master/man/wicked-config.5.in (storedir, default-duid)",
			Paths:       []string{"var/lib/wicked/duid.xml", "var/lib/wicked/iaid.xml"},
			Regenerates: "wickedd",
			way:         remove{value: fingerprint},
		},
		{
			Name: "wicked-leases", Kind: Conflict, Default: true, Where: "SUSE",
			Why:         "a clone asks for the master's address",
			Source:      "https://github.com/openSUSE/wicked/blob/master/src/leasefile.c; https://github.com/openSUSE/wicked/blob/master/man/wicked-config.5.in (storedir)",
			Paths:       []string{"var/lib/wicked/lease-*.xml"},
			Regenerates: "wickedd",
			way:         remove{value: fingerprint},
		},
		{
			// Emptied: ISC's dhcpd does not start without its file.
			Name: "dhcp-server-leases", Kind: Conflict, Default: true, Where: "any",
			Why:    "two servers that hold the same leases, under the same server id, give one address to two clients",
			Source: "man 5 dhcpd.leases; man 8 dnsmasq; man 1 virt-sysprep (dhcp-server-state)",
			Paths: []string{
				"var/lib/dhcp/dhcpd*.leases*", "var/lib/dhcpd/dhcpd*.leases*", "var/lib/misc/dnsmasq.leases", "var/lib/dnsmasq/*.leases",
				"var/lib/misc/udhcpd.leases", "var/lib/kea/*.csv*",
			},
			Regenerates: "the server, as clients ask",
			way:         empty{value: givenLeases},
		},
	}
}

var (
	networkdDUID = regexp.MustCompile(`^\s*DUIDRawData\s*=\s*(\S+)`)
	dhcpClientID = regexp.MustCompile(`^\s*(?:dhcp-client-id\s*=|send\s+dhcp-client-identifier\s)\s*("[^"]+"|[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2})+)`)
)

var noLeases = regexp.MustCompile(`(?m)^(?:#.*|authoring-byte-order.*|address,.*|\s*)\n?`)

// givenLeases is the value of a server's leases: none for a file that has its head
// only, which is the same on every server.
func givenLeases(data []byte) string {
	if len(bytes.TrimSpace(noLeases.ReplaceAll(data, nil))) == 0 {
		return ""
	}
	return fingerprint(data)
}
