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
		"cloud-init-network": {
			Files: map[string]string{
				"usr/bin/cloud-init": "=x", "etc/netplan/50-cloud-init.yaml": Planted, "etc/network/interfaces.d/50-cloud-init": Planted,
				"etc/systemd/network/10-cloud-init-eth0.network": Planted,
			},
			After: map[string]string{"etc/netplan/50-cloud-init.yaml": None, "etc/network/interfaces.d/50-cloud-init": None},
		},
		"cloud-init-logs": {
			Files: map[string]string{"var/log/cloud-init.log": Planted, "var/log/cloud-init-output.log": Planted},
			After: map[string]string{"var/log/cloud-init.log": None, "var/log/cloud-init-output.log": None},
		},
	}
}
