package identitytest

func storagePlants() map[string]Plant {
	return map[string]Plant{
		"iscsi-initiator": {
			Files: map[string]string{"usr/lib/open-iscsi/startup-checks.sh": "=x", "etc/iscsi/initiatorname.iscsi": "## x\nInitiatorName=iqn.1993-08.org.debian:01:PLANTED\n"},
			After: map[string]string{"etc/iscsi/initiatorname.iscsi": "GenerateName=yes\n"},
		},
		"nvme-host": {map[string]string{"etc/nvme/hostnqn": "nqn.PLANTED\n", "etc/nvme/hostid": "PLANTED\n"}, map[string]string{"etc/nvme/hostnqn": None, "etc/nvme/hostid": None}},
	}
}
