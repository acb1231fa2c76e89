package identitytest

func networkPlants() map[string]Plant {
	return map[string]Plant{
		"udev-net-rules": of("PLANTED "+MAC, None, []string{"etc/udev/rules.d/70-persistent-net.rules", "etc/udev/rules.d/30-net_persistent_names.rules"}),
		"networkd-mac": {
			Files: map[string]string{
				"etc/systemd/network/a.network": "[Match]\nMACAddress=52:54:00:ab:cd:ef\n\n[Network]\nDHCP=yes\n",
				"etc/systemd/network/b.network": "[Match]\nName=en*\nPermanentMACAddress=52:54:00:ab:cd:ef\n[Link]\nMACAddress=52:54:00:AB:CD:EF\nMTUBytes=1400\n",
				"etc/systemd/network/c.link":    "[Match]\nMACAddress=52:54:00:ab:cd:ef\n[Link]\nName=lan0\n",
				"etc/systemd/network/d.netdev":  "[NetDev]\nName=br0\nKind=bridge\nMACAddress=52-54-00-ab-cd-ef\n",
			},
			After: map[string]string{
				"etc/systemd/network/a.network": "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n",
				"etc/systemd/network/b.network": "[Match]\nName=en*\n[Link]\nMTUBytes=1400\n",
				"etc/systemd/network/c.link":    None,
				"etc/systemd/network/d.netdev":  "[NetDev]\nName=br0\nKind=bridge\n",
			},
		},
		"netplan-mac": {
			Files: map[string]string{
				"etc/netplan/01.yaml": "network:\n  ethernets:\n    lan:\n      # the card\n      match:\n        macaddress: \"52:54:00:ab:cd:ef\"\n      set-name: lan\n      dhcp4: true\n",
				"etc/netplan/02.yaml": "network:\n  ethernets:\n    lan:\n      match:\n        name: en*\n        macaddress: 52:54:00:ab:cd:ef\n      macaddress: '52:54:00:ab:cd:ef'\n      dhcp4: true\n",
				"etc/netplan/03.yaml": "network:\n  ethernets:\n    a: {match: {macaddress: \"52:54:00:ab:cd:ef\", name: x}, dhcp4: true}\n    b:\n      match: {macaddress: 52:54:00:ab:cd:ef}\n",
			},
			After: map[string]string{
				"etc/netplan/01.yaml": "network:\n  ethernets:\n    lan:\n      # the card\n      match:\n        name: \"e*\"\n      set-name: lan\n      dhcp4: true\n",
				"etc/netplan/02.yaml": "network:\n  ethernets:\n    lan:\n      match:\n        name: en*\n      dhcp4: true\n",
				"etc/netplan/03.yaml": "network:\n  ethernets:\n    a: {match: { name: x}, dhcp4: true}\n    b:\n      match: {name: \"e*\"}\n",
			},
		},
		"ifupdown-mac": {
			Files: map[string]string{
				"etc/network/interfaces":      "auto eth0\niface eth0 inet dhcp\n\thwaddress ether 52:54:00:ab:cd:ef\n",
				"etc/network/interfaces.d/x":  "iface eth1 inet dhcp\n  hwaddress 52:54:00:ab:cd:ef\n  mtu 1400\n",
				"etc/network/interfaces.d/d/": "/",
			},
			After: map[string]string{
				"etc/network/interfaces":     "auto eth0\niface eth0 inet dhcp\n",
				"etc/network/interfaces.d/x": "iface eth1 inet dhcp\n  mtu 1400\n",
			},
		},
		"networkmanager-mac": {
			Files: map[string]string{"etc/NetworkManager/system-connections/lan.nmconnection": "[ethernet]\nmac-address=52:54:00:AB:CD:EF\ncloned-mac-address=52:54:00:AB:CD:EF\nmtu=1400\n"},
			After: map[string]string{"etc/NetworkManager/system-connections/lan.nmconnection": "[ethernet]\nmtu=1400\n"},
		},
		"ifcfg-mac": edited("etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\nHWADDR=52:54:00:ab:cd:ef\nMACADDR=\"52:54:00:ab:cd:ef\"\n", "DEVICE=eth0\n").and(
			edited("etc/sysconfig/network/ifcfg-eth0", "BOOTPROTO='dhcp'\nLLADDR='52:54:00:AB:CD:EF'\n", "BOOTPROTO='dhcp'\n")),
		"ifcfg-hostname": edited("etc/sysconfig/network-scripts/ifcfg-eth1",
			"DEVICE=eth1\nDHCP_HOSTNAME=\"PLANTED\"\nHOSTNAME=localhost.localdomain\nDHCPV6_HOSTNAME=PLANTED\n", "DEVICE=eth1\nHOSTNAME=localhost.localdomain\n").and(
			edited("etc/sysconfig/network/ifcfg-eth1", "DHCP_FQDN=PLANTED.example.com\n#\n", "#\n")),
		"ifupdown-hostname": edited("etc/network/interfaces.d/name", "iface eth2 inet dhcp\n\thostname PLANTED\n\thostname $(hostname)\n", "iface eth2 inet dhcp\n\thostname $(hostname)\n"),
		"networkmanager-hostname": edited("etc/NetworkManager/system-connections/name.nmconnection",
			"[ipv4]\ndhcp-hostname=PLANTED\nmethod=auto\n[ipv6]\ndhcp-fqdn=PLANTED.example.com\n", "[ipv4]\nmethod=auto\n[ipv6]\n"),
		"dhclient-hostname": edited("etc/dhcp/dhclient.conf", "send host-name = gethostname();\nsend host-name \"PLANTED\";\nrequest subnet-mask;\n",
			"send host-name = gethostname();\nrequest subnet-mask;\n").and(edited("etc/dhcp/dhclient.d/x.conf", "supersede host-name \"PLANTED\";\n#\n", "#\n")),
		"networkmanager-connections": gone("etc/NetworkManager/system-connections/wireless.nmconnection"),
	}
}
