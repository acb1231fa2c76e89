package identity

import "regexp"

// subscriptionMarks are the ids by which vendors know a machine. It is long
// because it is a table.
func subscriptionMarks() []Mark {
	return []Mark{
		{
			Name: "rhsm-identity", Kind: Secret, Default: true, Where: "RHEL and its kin",
			Why:         "twins are one system to the subscription service, and use one another's",
			Source:      "https://github.com/candlepin/subscription-manager/blob/main/man/subscription-manager.8 (CLEAN OPTIONS, FILES); man 1 virt-sysprep (rh-subscription-manager)",
			Paths:       []string{"etc/pki/consumer/*", "etc/pki/consumer.old/*", "etc/pki/entitlement/*"},
			Regenerates: "nothing: subscription-manager register",
			way:         remove{},
		},
		{
			Name: "rhsm-cache", Kind: Residue, Default: true, Where: "RHEL and its kin",
			Why:         "facts and status of the master",
			Source:      "https://github.com/candlepin/subscription-manager/blob/main/src/subscription_manager/cache.py; https://github.com/candlepin/subscription-manager/blob/main/src/subscription_manager/facts.py",
			Paths:       []string{"var/lib/rhsm/facts/*", "var/lib/rhsm/cache/*", "var/lib/rhsm/packages/*"},
			Regenerates: "rhsmcertd",
			way:         remove{},
		},
		{
			Name: "rhn-systemid", Kind: Secret, Default: true, Where: "RHEL, Oracle Linux",
			Why:         "twins are one system to Satellite 5, Spacewalk or ULN",
			Source:      "man 1 virt-sysprep (rhn-systemid)",
			Paths:       []string{"etc/sysconfig/rhn/systemid", "etc/sysconfig/rhn/osad-auth.conf"},
			Regenerates: "nothing: rhnreg_ks",
			way:         remove{},
		},
		{
			Name: "insights-id", Kind: Conflict, Default: true, Where: "RHEL and its kin",
			Why:         "twins are one host to Insights",
			Source:      "https://github.com/RedHatInsights/insights-core/blob/master/insights/client/constants.py",
			Paths:       []string{"etc/insights-client/machine-id", "etc/redhat-access-insights/machine-id"},
			Regenerates: "insights-client --register",
			way:         remove{},
		},
		{
			Name: "insights-state", Kind: Residue, Default: true, Where: "RHEL and its kin",
			Why:    "a clone takes itself for registered, though it is not",
			Source: "https://github.com/RedHatInsights/insights-core/blob/master/insights/client/constants.py",
			Paths: []string{
				"etc/insights-client/.registered", "etc/insights-client/.unregistered", "etc/insights-client/.lastupload", "etc/insights-client/.last-upload.results",
				"var/lib/insights/*",
			},
			Regenerates: "insights-client",
			way:         remove{},
		},
		{
			Name: "yggdrasil-client-id", Kind: Conflict, Default: true, Where: "Fedora, RHEL",
			Why:         "the id is the host to Red Hat's remote management: what is sent to one twin reaches either",
			Source:      "https://github.com/RedHatInsights/yggdrasil/blob/main/cmd/yggd/main.go (setupClientID)",
			Paths:       []string{"var/lib/yggdrasil/client-id"},
			Regenerates: "yggd: a new one, or the name in the certificate of the subscription",
			way:         remove{value: fingerprint},
		},
		{
			Name: "suse-connect", Kind: Secret, Default: true, Where: "SUSE",
			Why: "twins are one system to the customer center or to RMT",
			Source: "https://github.com/SUSE/connect-ng/blob/main/docs/SUSEConnect.8.md; " +
				"https://github.com/SUSE/connect-ng/blob/main/internal/credentials/credentials.go",
			Paths:       []string{"etc/zypp/credentials.d/SCCcredentials"},
			Regenerates: "nothing: SUSEConnect --cleanup, which also removes the services, then SUSEConnect -r",
			way:         remove{},
		},
		{
			Name: "zypp-anonymous-id", Kind: Conflict, Default: true, Where: "SUSE",
			Why:         "download statistics count twins as one machine",
			Source:      "https://github.com/openSUSE/libzypp/blob/master/zypp/zypp/target/TargetImpl.cc; https://github.com/uyuni-project/uyuni-docs/blob/master/modules/administration/pages/troubleshooting/tshoot-registerclones.adoc",
			Paths:       []string{"var/lib/zypp/AnonymousUniqueId"},
			Regenerates: "zypper",
			way:         remove{},
		},
		{
			Name: "yum-uuid", Kind: Conflict, Default: true, Where: "RHEL 5 to 7, CentOS",
			Why:         "mirrors count twins as one machine",
			Source:      "man 1 virt-sysprep (yum-uuid)",
			Paths:       []string{"var/lib/yum/uuid"},
			Regenerates: "yum",
			way:         remove{},
		},
		{
			Name: "smolt-uuid", Kind: Conflict, Default: true, Where: "Fedora to 17, RHEL 6, openSUSE to 12",
			Why:         "twins are one machine to the statistics of hardware",
			Source:      "man 1 virt-sysprep (smolt-uuid)",
			Paths:       []string{"etc/smolt/uuid", "etc/smolt/hw-uuid", "etc/sysconfig/hw-uuid"},
			Regenerates: "smolt",
			way:         remove{},
		},
		{
			Name: "popularity-contest", Kind: Conflict, Default: true, Where: "Debian, Ubuntu",
			Why:         "twins are one machine to the statistics of packages",
			Source:      "https://salsa.debian.org/popularity-contest-team/popularity-contest/-/blob/master/default.conf (MY_HOSTID); https://salsa.debian.org/popularity-contest-team/popularity-contest/-/blob/master/FAQ",
			Paths:       []string{"etc/popularity-contest.conf"},
			Regenerates: "dpkg-reconfigure popularity-contest. Without an id nothing is sent",
			way:         lines(popconID),
		},
		{
			Name: "whoopsie-id", Kind: Conflict, Default: true, Where: "Ubuntu",
			Why:         "crash reports of twins are taken for one machine's",
			Source:      "https://github.com/ubuntu/error-tracker/blob/main/GDPR.md",
			Paths:       []string{"var/lib/whoopsie/whoopsie-id"},
			Regenerates: "whoopsie",
			way:         remove{},
		},
		{
			Name: "ubuntu-pro", Kind: Secret, Default: true, Where: "Ubuntu",
			Why:    "twins are one machine to the contract, and any of them can detach all",
			Source: "https://github.com/canonical/ubuntu-pro-client/blob/main/uaclient/files/machine_token.py; https://github.com/canonical/ubuntu-pro-client/blob/main/uaclient/api/u/pro/detach/v1.py; https://github.com/canonical/ubuntu-pro-client/blob/main/uaclient/entitlements/repo.py (repo_file_tmpl)",
			Paths: []string{
				"var/lib/ubuntu-advantage/private/machine-token.json", "var/lib/ubuntu-advantage/private/machine-access-*.json",
				"var/lib/ubuntu-advantage/machine-token.json", "etc/apt/auth.conf.d/90ubuntu-advantage",
				"etc/apt/sources.list.d/ubuntu-esm-*", "etc/apt/sources.list.d/ubuntu-fips*", "etc/apt/sources.list.d/ubuntu-ros*",
				"etc/apt/sources.list.d/ubuntu-realtime*", "etc/apt/sources.list.d/ubuntu-cis*", "etc/apt/sources.list.d/ubuntu-usg*",
				"etc/apt/sources.list.d/ubuntu-cc-eal*", "etc/apt/sources.list.d/ubuntu-anbox*",
			},
			Regenerates: "pro attach, or by itself in a cloud that has it. What pro detach removes goes, so that apt works without",
			way:         remove{value: having("machineToken", "resourceToken", "password")},
		},
		{
			Name: "landscape-client", Kind: Secret, Default: true, Where: "Ubuntu",
			Why:         "the secure id is the computer: twins are one to the server until it takes one of them for a clone",
			Source:      "https://github.com/canonical/landscape-client/blob/main/landscape/client/broker/registration.py; https://github.com/canonical/landscape-client/blob/main/landscape/client/broker/service.py; https://github.com/canonical/landscape-client/blob/main/landscape/client/deployment.py",
			Paths:       []string{"var/lib/landscape/client/broker.bpickle*"},
			Regenerates: "landscape-client registers again, with the account and key in etc/landscape/client.conf",
			way:         remove{},
		},
		{
			Name: "snapd-device", Kind: Secret, Default: true, Where: "Ubuntu, and any with snapd",
			Why:    "serial and key are the device to the store: twins are one, and its refreshes go to either",
			Source: "https://github.com/canonical/snapd/blob/master/overlord/devicestate/devicemgr.go (Unregister)",
			Paths:  []string{snapdState, snapdKeys},
			Regenerates: "snapd asks for a new serial. Devices of other brands than generic and canonical stay: " +
				"their stores may not give a second",
			way: when{holds: snapdClassic, way: parts{
				{paths: []string{snapdKeys}, way: remove{}},
				{paths: []string{snapdState}, way: edit{find: findSnapdDevice, fix: dropSnapdDevice, limit: maxSnapdState}},
			}},
		},
	}
}

var popconID = regexp.MustCompile(`^\s*MY_HOSTID\s*=\s*["']?([^"'\s]+)`)
