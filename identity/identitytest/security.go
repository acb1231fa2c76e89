package identitytest

func securityPlants() map[string]Plant {
	return map[string]Plant{
		"velociraptor-client-id": gone("etc/velociraptor.writeback.yaml"),
		"crowdsec-credentials":   gone("etc/crowdsec/local_api_credentials.yaml", "etc/crowdsec/online_api_credentials.yaml"),
		"wazuh-agent-key":        emptied("var/ossec/etc/client.keys"),
		"wazuh-counters":         gone("var/ossec/queue/rids/x"),
		"fleet-orbit-keys":       gone("opt/orbit/secret-orbit-node-key.txt", "opt/orbit/identifier", "opt/orbit/host_identity.crt", "opt/orbit/host_identity_tpm.pem", "opt/orbit/host_identity_tpm.old.pem"),
		"tenable-tag":            gone("etc/tenable_tag", "opt/nessus_agent/var/nessus/uuid"),
		"fail2ban-database":      gone("var/lib/fail2ban/fail2ban.sqlite3"),
		"sudo-state":             gone("var/lib/sudo/lectured/x", "var/lib/sudo/ts/x", "var/db/sudo/lectured/x", "var/db/sudo/ts/x", "run/sudo/ts/x"),
		"pam-state":              gone("run/faillock/x", "var/lib/faillock/x", "run/console/x", "run/sepermit/x"),
		"osquery-id": gone(
			"opt/orbit/osquery.db/CURRENT",
		).and(of(MachineID, None, []string{"var/osquery/osquery.db/IDENTITY", "var/lib/osquery/osquery.db/IDENTITY"})),
		"crowdstrike-aid": gone("opt/CrowdStrike/falconstore"),
	}
}
