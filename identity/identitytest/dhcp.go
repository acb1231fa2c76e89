package identitytest

func dhcpPlants() map[string]Plant {
	return map[string]Plant{
		"dhclient-leases": gone(
			"var/lib/dhcp/dhclient.eth0.leases", "var/lib/dhcp/dhclient6.leases", "var/lib/dhcp3/dhclient.leases", "var/lib/dhclient/dhclient-x.lease",
		),
		"dhcpcd-duid":   gone("var/lib/dhcpcd/duid", "var/db/dhcpcd/duid", "etc/dhcpcd.duid"),
		"dhcpcd-secret": gone("var/lib/dhcpcd/secret", "var/db/dhcpcd/secret", "etc/dhcpcd.secret"),
		"dhcpcd-leases": gone(
			"var/lib/dhcpcd/eth0.lease", "var/lib/dhcpcd/eth0.lease6", "var/lib/dhcpcd/wlan0/x.lease", "var/db/dhcpcd/eth0.lease",
			"var/lib/dhcpcd/rdm_monotonic",
		),
		"networkd-leases": {
			Files: map[string]string{"var/lib/systemd/network/dhcp-server-lease/br0": Planted, "run/systemd/netif/leases/2": Planted},
			After: map[string]string{"var/lib/systemd/network": "d---------", "run/systemd/netif/leases/2": None},
		},
		"networkmanager-leases":     gone("var/lib/NetworkManager/internal-1-eth0.lease", "var/lib/NetworkManager/dhclient-eth0.conf"),
		"networkmanager-secret-key": {map[string]string{"var/lib/NetworkManager/secret_key": Planted}, map[string]string{"var/lib/NetworkManager/secret_key": None}},
		"networkmanager-history": {
			Files: map[string]string{"var/lib/NetworkManager/seen-bssids": Planted, "var/lib/NetworkManager/timestamps": Planted},
			After: map[string]string{"var/lib/NetworkManager/seen-bssids": None, "var/lib/NetworkManager/timestamps": None},
		},
		"wicked-duid":   gone("var/lib/wicked/duid.xml", "var/lib/wicked/iaid.xml"),
		"wicked-leases": gone("var/lib/wicked/lease-eth0-dhcp-ipv4.xml"),
		"dhcp-server-leases": emptied(
			"var/lib/dhcp/dhcpd.leases", "var/lib/dhcpd/dhcpd.leases", "var/lib/misc/dnsmasq.leases", "var/lib/dnsmasq/x.leases",
			"var/lib/misc/udhcpd.leases", "var/lib/kea/x.csv",
		),
		"networkd-duid": edited("etc/systemd/networkd.conf", "[DHCPv4]\nDUIDType=vendor\nDUIDRawData=00:00:PLANTED\n", "[DHCPv4]\nDUIDType=vendor\n").and(
			edited("etc/systemd/networkd.conf.d/x.conf", "[DHCPv6]\nDUIDRawData=00:00:PLANTED\n", "[DHCPv6]\n")),
		"dhcp-client-id": edited("etc/dhclient.conf", "send dhcp-client-identifier \"PLANTED\";\nsend dhcp-client-identifier = hardware;\n",
			"send dhcp-client-identifier = hardware;\n").and(edited("etc/NetworkManager/system-connections/id.nmconnection",
			"[ipv4]\ndhcp-client-id=52:54:00:ab:cd:ef\ndhcp-client-id=mac\n", "[ipv4]\ndhcp-client-id=mac\n")),
	}
}
