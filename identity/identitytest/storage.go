package identitytest

func storagePlants() map[string]Plant {
	return map[string]Plant{
		"iscsi-initiator": {
			Files: map[string]string{"usr/lib/open-iscsi/startup-checks.sh": "=x", "etc/iscsi/initiatorname.iscsi": "## x\nInitiatorName=iqn.1993-08.org.debian:01:PLANTED\n"},
			After: map[string]string{"etc/iscsi/initiatorname.iscsi": "GenerateName=yes\n"},
		},
		"nvme-host": {map[string]string{"etc/nvme/hostnqn": "nqn.PLANTED\n", "etc/nvme/hostid": "PLANTED\n"}, map[string]string{"etc/nvme/hostnqn": None, "etc/nvme/hostid": None}},
		"iscsi-targets": gone(
			"etc/iscsi/nodes/x", "etc/iscsi/send_targets/x", "etc/iscsi/static/x", "etc/iscsi/ifaces/x", "var/lib/iscsi/nodes/x",
			"var/lib/iscsi/send_targets/x", "var/lib/iscsi/static/x", "var/lib/iscsi/ifaces/x",
		),
		"multipath-bindings": gone("etc/multipath/bindings", "etc/multipath/wwids", "etc/multipath/prkeys"),
		"lvm-devices":        gone("etc/lvm/devices/x.devices", "etc/lvm/devices/backup/x"),
		"blkid-cache": gone(
			"etc/blkid.tab", "etc/blkid.tab.old", "etc/blkid/blkid.tab", "etc/blkid/blkid.tab.old", "run/blkid/blkid.tab", "run/blkid/blkid.tab.old",
		),
		"gluster-uuid": gone("var/lib/glusterd/glusterd.info"),
		"nfs-state": gone(
			"var/lib/nfs/sm/x", "var/lib/nfs/sm.bak/x", "var/lib/nfs/statd/sm/x", "var/lib/nfs/statd/sm.bak/x", "var/lib/nfs/v4recovery/x",
			"var/lib/nfs/nfsdcld/x",
		),
	}
}
