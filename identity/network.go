package identity

import "regexp"

// mac matches a MAC address as configuration files write it.
const mac = `[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}`

// networkMarks tie the network to the master: first to its name, then to its card. A clone
// has another MAC: what matches the old one leaves it without a network, and what
// sets the old one gives two machines the same. Either line goes, the rest of the
// configuration stays.
func networkMarks() []Mark { return append(sentNameMarks(), cardMarks()...) }

// sentNameMarks are the names that a DHCP client is told to send.
func sentNameMarks() []Mark {
	const why = "a clone tells the DHCP server the master's name: the server moves the name, and with it DNS, to the clone"
	const fromNow = "not needed: the client sends the hostname"
	return []Mark{
		{
			Name: "ifcfg-hostname", Kind: Conflict, Default: true, Where: "Fedora, RHEL; SUSE",
			Why: why, Source: "https://github.com/NetworkManager/NetworkManager/blob/main/src/core/settings/plugins/ifcfg-rh/nms-ifcfg-rh-utils.c (DHCP_HOSTNAME); man 1 virt-sysprep (net-hostname)", Regenerates: fromNow,
			Paths: []string{"etc/sysconfig/network-scripts/ifcfg-*", "etc/sysconfig/network/ifcfg-*", "etc/sysconfig/network"},
			way:   nameLines(ifcfgHostname),
		},
		{
			Name: "ifupdown-hostname", Kind: Conflict, Default: true, Where: "Debian, Alpine",
			Why: why, Source: "man 5 interfaces", Regenerates: fromNow,
			Paths: []string{"etc/network/interfaces", "etc/network/interfaces.d/*"},
			way:   nameLines(ifupdownHostname),
		},
		{
			Name: "networkmanager-hostname", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "man 5 nm-settings (ipv4.dhcp-hostname); man 5 nm-settings-keyfile", Regenerates: fromNow,
			Paths: []string{"etc/NetworkManager/system-connections/*"},
			way:   nameLines(networkManagerHostname),
		},
		{
			Name: "dhclient-hostname", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "man 5 dhclient.conf", Regenerates: fromNow,
			Paths: []string{"etc/dhcp/dhclient.conf", "etc/dhclient.conf", "etc/dhcp/dhclient.d/*.conf"},
			way:   nameLines(dhclientHostname),
		},
	}
}

// cardMarks are the MACs in configuration files. It is long because it is a table.
func cardMarks() []Mark {
	const why = "a clone has another MAC: the configuration does not match its card, or gives it the master's address"
	const fromNow = "not needed: the configuration no longer names a MAC"
	return []Mark{
		{
			Name: "udev-net-rules", Kind: Conflict, Default: true, Where: "any",
			Why:         "the name eth0 stays reserved for the master's card, and the clone's becomes eth1, which nothing configures",
			Source:      "https://salsa.debian.org/systemd-team/systemd/-/blob/debian/bookworm/debian/udev.README.Debian; man 1 virt-sysprep (udev-persistent-net)",
			Paths:       []string{"etc/udev/rules.d/*persistent-net*.rules", "etc/udev/rules.d/*net_persistent*.rules"},
			Regenerates: "udev, on those systems that still write it",
			way:         remove{value: fingerprint},
		},
		{
			Name: "networkd-mac", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "man 5 systemd.network; man 5 systemd.link", Regenerates: fromNow,
			Paths: []string{"etc/systemd/network/*.network", "etc/systemd/network/*.link", "etc/systemd/network/*.netdev"},
			way:   edit{find: findNetworkd, fix: fixNetworkd},
		},
		{
			Name: "netplan-mac", Kind: Conflict, Default: true, Where: "Ubuntu, Debian",
			Why: why, Source: "https://netplan.readthedocs.io/en/stable/netplan-yaml/", Regenerates: fromNow,
			Paths: []string{"etc/netplan/*.yaml"},
			way:   edit{find: findNetplan, fix: fixNetplan},
		},
		{
			Name: "ifupdown-mac", Kind: Conflict, Default: true, Where: "Debian, Alpine",
			Why: why, Source: "man 5 interfaces", Regenerates: fromNow,
			Paths: []string{"etc/network/interfaces", "etc/network/interfaces.d/*"},
			way:   macLines(ifupdownMAC),
		},
		{
			Name: "networkmanager-mac", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "man 5 nm-settings-keyfile", Regenerates: fromNow,
			Paths: []string{"etc/NetworkManager/system-connections/*"},
			way:   macLines(networkManagerMAC),
		},
		{
			Name: "ifcfg-mac", Kind: Conflict, Default: true, Where: "Fedora, RHEL; SUSE",
			Why: why, Source: "https://github.com/NetworkManager/NetworkManager/blob/main/src/core/settings/plugins/ifcfg-rh/nms-ifcfg-rh-utils.c (HWADDR, MACADDR); man 1 virt-sysprep (net-hwaddr)", Regenerates: fromNow,
			Paths: []string{"etc/sysconfig/network-scripts/ifcfg-*", "etc/sysconfig/network/ifcfg-*"},
			way:   macLines(ifcfgMAC),
		},
		{
			// Off: a static connection, a bridge or a VPN is lost with its profile. Without
			// any NetworkManager makes one that asks DHCP.
			Name: "networkmanager-connections", Kind: Residue, Default: false, Where: "any",
			Why:         "the master's connections, with the passwords of its wireless networks and VPNs, and its static addresses",
			Source:      "man 5 nm-settings-keyfile; man 1 virt-sysprep (net-nmconn)",
			Paths:       []string{"etc/NetworkManager/system-connections/*"},
			Regenerates: "NetworkManager (an automatic connection by DHCP), or cloud-init",
			way:         remove{},
		},
	}
}

var (
	ifupdownMAC            = regexp.MustCompile(`^\s*hwaddress\s+(?:ether\s+)?(` + mac + `)`)
	networkManagerMAC      = regexp.MustCompile(`^\s*(?:cloned-)?mac-address\s*=\s*(` + mac + `)`)
	ifcfgHostname          = regexp.MustCompile(`^\s*(?:HOSTNAME|DHCP_HOSTNAME|DHCPV6_HOSTNAME|DHCP_FQDN)\s*=\s*["']?([^"'\s#]+)`)
	ifupdownHostname       = regexp.MustCompile(`^\s*hostname\s+([A-Za-z0-9][-.A-Za-z0-9]*)\s*$`)
	networkManagerHostname = regexp.MustCompile(`^\s*dhcp-(?:hostname|fqdn)\s*=\s*(\S+)`)
	dhclientHostname       = regexp.MustCompile(`^\s*(?:send|supersede)\s+(?:host-name|fqdn\.fqdn)\s+("[^"]+")`)

	ifcfgMAC = regexp.MustCompile(`^\s*(?:HWADDR|MACADDR|LLADDR)\s*=\s*["']?(` + mac + `)`)
)
