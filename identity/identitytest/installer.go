package identitytest

func installerPlants() map[string]Plant {
	return map[string]Plant{
		"installer-answers": gone(
			"root/anaconda-ks.cfg", "root/original-ks.cfg", "root/initial-setup-ks.cfg", "root/anaconda-post.log", "root/install.log", "root/autoinst.xml",
			"var/adm/autoinstall/cache/x",
		),
		"ubuntu-installer": {
			Files: map[string]string{
				"usr/bin/cloud-init": "=x", "etc/cloud/cloud-init.disabled": Planted, "etc/cloud/ds-identify.cfg": Planted,
				"etc/cloud/cloud.cfg.d/00-subiquity-disable-cloudinit-networking.cfg": "# PLANTED\nnetwork: {config: disabled}\n",
				"etc/cloud/cloud.cfg.d/90-installer-network.cfg":                      Planted, "etc/netplan/00-installer-config.yaml": Planted,
				"etc/netplan/50-cloud-init.yaml":         Planted,
				"etc/cloud/cloud.cfg.d/99-installer.cfg": "datasource_list: [None]\ndatasource:\n  None:\n    metadata: {instance-id: PLANTED}\n",
				"etc/cloud/cloud.cfg.d/05_logging.cfg":   "kept", "etc/cloud/cloud.cfg.d/20-disable-cc-dpkg-grub.cfg": Planted,
			},
			After: map[string]string{
				"etc/cloud/cloud-init.disabled": None, "etc/cloud/ds-identify.cfg": None, "etc/netplan/00-installer-config.yaml": None,
				"etc/cloud/cloud.cfg.d/00-subiquity-disable-cloudinit-networking.cfg": None, "etc/cloud/cloud.cfg.d/90-installer-network.cfg": None,
				"etc/cloud/cloud.cfg.d/99-installer.cfg": None, "etc/netplan/50-cloud-init.yaml": None, "etc/cloud/cloud.cfg.d/05_logging.cfg": "kept",
				"etc/cloud/cloud.cfg.d/20-disable-cc-dpkg-grub.cfg": None,
			},
		},
		"debconf-passwords": emptied("var/cache/debconf/passwords.dat", "var/cache/debconf/passwords.dat-old"),
	}
}
