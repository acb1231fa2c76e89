package identitytest

func addressPlants() map[string]Plant {
	return map[string]Plant{
		"ifupdown-address": edited("etc/network/interfaces.d/static",
			"auto lo\niface lo inet loopback\n\naddress 1\niface eth3 inet static\n  address 10.7.0.5/24 # PLANTED\n  gateway 10.7.0.1\n  mtu 1400\n\n"+
				"iface eth3 inet6 static\n  address fd07::5\n  netmask 64\nallow-hotplug eth4\niface eth4 inet dhcp\n  network x\n",
			"auto lo\niface lo inet loopback\n\naddress 1\niface eth3 inet dhcp\n  mtu 1400\n\n"+
				"iface eth3 inet6 auto\nallow-hotplug eth4\niface eth4 inet dhcp\n  network x\n"),
		"netplan-address": edited("etc/netplan/60-static.yaml",
			"network:\n  version: 2\n  ethernets:\n    eth5:\n      dhcp4: no\n      # kept\n      addresses:\n        - 10.7.0.6/24 # PLANTED\n        - \"fd07::6/64\"\n"+
				"      routes:\n        - to: default\n          via: 10.7.0.1\n      nameservers:\n        addresses: [10.7.0.2]\n      mtu: 1400\n"+
				"    eth6:\n      addresses: [10.7.0.7/24]\n      gateway4: 10.7.0.1\n    eth7:\n      dhcp4: true\n      routes:\n      - to: 10.8.0.0/16\n        via: 10.7.0.3\n",
			"network:\n  version: 2\n  ethernets:\n    eth5:\n      # kept\n      dhcp4: true\n      nameservers:\n        addresses: [10.7.0.2]\n      mtu: 1400\n"+
				"    eth6:\n      dhcp4: true\n    eth7:\n      dhcp4: true\n      routes:\n      - to: 10.8.0.0/16\n        via: 10.7.0.3\n"),
		"networkd-address": edited("etc/systemd/network/static.network",
			"[Match]\nName=eth8\n\n[Network]\nDHCP=no\nAddress=10.7.0.8/24 # PLANTED\nGateway=10.7.0.1\nDNS=10.7.0.2\n\n[Address]\nAddress=fd07::8/64\n\n[Route]\nGateway=fd07::1\n",
			"[Match]\nName=eth8\n\n[Network]\nDHCP=yes\nDNS=10.7.0.2\n\n"),
		"networkmanager-address": edited("etc/NetworkManager/system-connections/static.nmconnection",
			"[connection]\nid=static\n[ipv4]\naddress1=10.7.0.9/24,10.7.0.1;PLANTED\ngateway=10.7.0.1\ndns=10.7.0.2;\nmethod=manual\n[ipv6]\nmethod=ignore\n",
			"[connection]\nid=static\n[ipv4]\ndns=10.7.0.2;\nmethod=auto\n[ipv6]\nmethod=ignore\n"),
		"ifcfg-address": edited("etc/sysconfig/network-scripts/ifcfg-eth2",
			"DEVICE=eth2\nBOOTPROTO=none\nIPADDR=10.7.0.10 # PLANTED\nPREFIX=24\nGATEWAY=10.7.0.1\nDNS1=10.7.0.2\n", "DEVICE=eth2\nDNS1=10.7.0.2\nBOOTPROTO=dhcp\n").and(
			edited("etc/sysconfig/network-scripts/ifcfg-lo", "DEVICE=lo\nIPADDR=127.0.0.1\nNETMASK=255.0.0.0\n", "DEVICE=lo\nIPADDR=127.0.0.1\nNETMASK=255.0.0.0\n")),
		"dhcpcd-address": edited("etc/dhcpcd.conf", "hostname\ninterface eth0\nstatic ip_address=10.7.0.11/24 # PLANTED\nstatic routers=10.7.0.1\nstatic domain_name_servers=10.7.0.2\n",
			"hostname\ninterface eth0\nstatic domain_name_servers=10.7.0.2\n"),
	}
}
