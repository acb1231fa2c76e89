package identitytest

func cloudInitPlants() map[string]Plant {
	return map[string]Plant{
		"cloud-init-instance": {
			Files: map[string]string{"var/lib/cloud/data/instance-id": "i-PLANTED\n"},
			After: map[string]string{"var/lib/cloud/data/instance-id": None},
		},
		"cloud-init-state": {
			Files: map[string]string{
				"var/lib/cloud/instance": "->/var/lib/cloud/instances/i-1", "var/lib/cloud/instances/i-1/obj.pkl": Planted,
				"var/lib/cloud/data/previous-hostname": Planted, "var/lib/cloud/sem/config_x": Planted, "run/cloud-init/result.json": Planted,
				"var/lib/cloud/scripts/per-boot/admin": "kept", "var/lib/cloud/scripts/vendor/v": Planted,
			},
			After: map[string]string{"var/lib/cloud/instance": None, "var/lib/cloud/instances/i-1": None, "var/lib/cloud/scripts/per-boot/admin": "kept"},
		},
		"cloud-init-seed": {
			Files: map[string]string{"var/lib/cloud/seed/nocloud/meta-data": "instance-id: PLANTED", "var/lib/cloud/seed/nocloud/user-data": Planted},
			After: map[string]string{"var/lib/cloud/seed/nocloud": None},
		},
		"cloud-init-network": gone(
			"etc/netplan/50-cloud-init.yaml", "etc/network/interfaces.d/50-cloud-init", "etc/systemd/network/10-cloud-init-eth0.network",
			"etc/systemd/network/50-cloud-init-eth0.network", "etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection",
			"etc/NetworkManager/conf.d/30-cloud-init-ip6-addr-gen-mode.conf", "etc/NetworkManager/conf.d/99-cloud-init.conf",
		).beside("usr/bin/cloud-init", "=x"),
		"cloud-init-logs": gone("var/log/cloud-init.log", "var/log/cloud-init-output.log", "var/log/cloud-init/x"),
		"cloud-init-sshd": gone("etc/ssh/sshd_config.d/50-cloud-init.conf"),
		"cloud-init-mounts": edited("etc/fstab",
			"UUID=1 / ext4 defaults 0 1\n/dev/PLANTED\t/mnt\tauto\tdefaults,nofail,comment=cloudconfig\t0\t2\n# comment=cloudconfig\n",
			"UUID=1 / ext4 defaults 0 1\n# comment=cloudconfig\n"),
	}
}
