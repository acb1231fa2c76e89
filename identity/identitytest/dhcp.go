package identitytest

func dhcpPlants() map[string]Plant {
	return map[string]Plant{
		"dhclient-leases": {
			Files: map[string]string{"var/lib/dhcp/dhclient.eth0.leases": Planted, "var/lib/dhcp/dhclient6.leases": Planted, "var/lib/dhclient/x.lease": Planted},
			After: map[string]string{"var/lib/dhcp/dhclient.eth0.leases": None, "var/lib/dhcp/dhclient6.leases": None},
		},
		"dhcpcd-duid":   {map[string]string{"var/lib/dhcpcd/duid": "00:01:PLANTED", "etc/dhcpcd.duid": Planted}, map[string]string{"var/lib/dhcpcd/duid": None}},
		"dhcpcd-secret": {map[string]string{"var/lib/dhcpcd/secret": Planted}, map[string]string{"var/lib/dhcpcd/secret": None}},
		"dhcpcd-leases": {map[string]string{"var/lib/dhcpcd/eth0.lease": Planted, "var/lib/dhcpcd/eth0.lease6": Planted}, map[string]string{"var/lib/dhcpcd/eth0.lease": None}},
		"networkd-leases": {
			Files: map[string]string{"var/lib/systemd/network/dhcp-server-lease/br0": Planted, "run/systemd/netif/leases/2": Planted},
			After: map[string]string{"var/lib/systemd/network": "d---------", "run/systemd/netif/leases/2": None},
		},
		"networkmanager-leases":     {map[string]string{"var/lib/NetworkManager/internal-1-eth0.lease": Planted}, map[string]string{"var/lib/NetworkManager/internal-1-eth0.lease": None}},
		"networkmanager-secret-key": {map[string]string{"var/lib/NetworkManager/secret_key": Planted}, map[string]string{"var/lib/NetworkManager/secret_key": None}},
		"networkmanager-history": {
			Files: map[string]string{"var/lib/NetworkManager/seen-bssids": Planted, "var/lib/NetworkManager/timestamps": Planted},
			After: map[string]string{"var/lib/NetworkManager/seen-bssids": None, "var/lib/NetworkManager/timestamps": None},
		},
	}
}
