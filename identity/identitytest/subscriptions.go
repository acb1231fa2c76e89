package identitytest

func subscriptionPlants() map[string]Plant {
	return map[string]Plant{
		"yggdrasil-client-id": gone("var/lib/yggdrasil/client-id"),
		"rhsm-identity":       gone("etc/pki/consumer/x", "etc/pki/consumer.old/x", "etc/pki/entitlement/x"),
		"rhsm-cache":          gone("var/lib/rhsm/facts/x", "var/lib/rhsm/cache/x", "var/lib/rhsm/packages/x"),
		"rhn-systemid":        gone("etc/sysconfig/rhn/systemid", "etc/sysconfig/rhn/osad-auth.conf"),
		"insights-id":         gone("etc/insights-client/machine-id", "etc/redhat-access-insights/machine-id"),
		"insights-state": gone(
			"etc/insights-client/.registered", "etc/insights-client/.unregistered", "etc/insights-client/.lastupload",
			"etc/insights-client/.last-upload.results", "var/lib/insights/x",
		),
		"suse-connect":       gone("etc/zypp/credentials.d/SCCcredentials"),
		"zypp-anonymous-id":  gone("var/lib/zypp/AnonymousUniqueId"),
		"yum-uuid":           gone("var/lib/yum/uuid"),
		"smolt-uuid":         gone("etc/smolt/uuid", "etc/smolt/hw-uuid", "etc/sysconfig/hw-uuid"),
		"whoopsie-id":        gone("var/lib/whoopsie/whoopsie-id"),
		"landscape-client":   gone("var/lib/landscape/client/broker.bpickle", "var/lib/landscape/client/broker.bpickle.old"),
		"popularity-contest": edited("etc/popularity-contest.conf", "MY_HOSTID=\"PLANTED\"\nPARTICIPATE=\"yes\"\n", "PARTICIPATE=\"yes\"\n"),
		"ubuntu-pro": gone("etc/apt/sources.list.d/ubuntu-esm-infra.list", "etc/apt/sources.list.d/ubuntu-fips.list", "etc/apt/sources.list.d/ubuntu-ros.list",
			"etc/apt/sources.list.d/ubuntu-realtime-kernel.list", "etc/apt/sources.list.d/ubuntu-cis.list", "etc/apt/sources.list.d/ubuntu-usg.list",
			"etc/apt/sources.list.d/ubuntu-cc-eal.list", "etc/apt/sources.list.d/ubuntu-anbox-cloud.sources").and(
			of("{\"machineToken\": \"PLANTED\"}", None, []string{"var/lib/ubuntu-advantage/private/machine-token.json", "var/lib/ubuntu-advantage/machine-token.json"}),
			of("{\"resourceToken\": \"PLANTED\"}", None, []string{"var/lib/ubuntu-advantage/private/machine-access-esm-infra.json"}),
			of("machine esm.ubuntu.com/ login bearer password PLANTED\n", None, []string{"etc/apt/auth.conf.d/90ubuntu-advantage"})),
		"snapd-device": gone("var/lib/snapd/device/private-keys-v1/x").and(edited("var/lib/snapd/state.json",
			`{"data":{"auth":{"last-id":0,"device":{"brand":"generic","model":"generic-classic","serial":"PLANTED","key-id":"PLANTED","session-macaroon":"PLANTED"}},"x":1e400},"changes":{}}`,
			`{"changes":{},"data":{"auth":{"device":{"brand":"generic","model":"generic-classic"},"last-id":0},"x":1e400}}`)),
	}
}
