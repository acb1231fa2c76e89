package identity

// securityMarks: how security agents are known to their servers, and what logins left behind.
func securityMarks() []Mark {
	return []Mark{
		{
			Name: "wazuh-agent-key", Kind: Secret, Default: true, Where: "any",
			Why:         "the manager knows an agent by its key: twins are one agent, and their messages are refused as repeated",
			Source:      "https://documentation.wazuh.com/current/development/client-keys.html; https://github.com/wazuh/wazuh/blob/main/src/shared/os_crypto/shared/msgs.c",
			Paths:       []string{"var/ossec/etc/client.keys"},
			Regenerates: "wazuh-agent enrols again where it may; otherwise agent-auth",
			way:         empty{},
		},
		{
			Name: "wazuh-counters", Kind: Residue, Default: true, Where: "any",
			Why:         "counters of messages that the manager compares with its own",
			Source:      "https://github.com/wazuh/wazuh/blob/main/src/shared/include/sec.h (RIDS_DIR); https://github.com/wazuh/wazuh/blob/main/src/shared/os_crypto/shared/msgs.c",
			Paths:       []string{"var/ossec/queue/rids/*"},
			Regenerates: "wazuh-agent",
			way:         remove{},
		},
		{
			Name: "osquery-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "hosts of one instance id are one to Fleet and other servers",
			Source:      "https://github.com/osquery/osquery/blob/master/docs/wiki/installation/cli-flags.md (host_identifier, database_path); https://github.com/fleetdm/fleet/issues/373",
			Paths:       []string{"var/osquery/osquery.db/*", "var/lib/osquery/osquery.db/*", "opt/orbit/osquery.db/*"},
			Regenerates: "osqueryd",
			way:         remove{value: uuid},
		},
		{
			Name: "fleet-orbit-keys", Kind: Secret, Default: true, Where: "any",
			Why:         "the node key is the host: clones report as the master",
			Source:      "https://github.com/fleetdm/fleet/blob/main/orbit/pkg/constant/constant.go",
			Paths:       []string{"opt/orbit/secret-orbit-node-key.txt", "opt/orbit/identifier", "opt/orbit/host_identity.crt", "opt/orbit/host_identity_tpm.pem", "opt/orbit/host_identity_tpm.old.pem"},
			Regenerates: "orbit, with the enroll secret, which stays",
			way:         remove{},
		},
		{
			// Off: the file holds the customer's id too, and the sensor does not start without.
			Name: "crowdstrike-aid", Kind: Conflict, Default: false, Where: "any",
			Why:         "hosts of one agent id are one to Falcon",
			Source:      "https://github.com/CrowdStrike/falcon-operator/blob/main/docs/resources/node/README.md",
			Paths:       []string{"opt/CrowdStrike/falconstore"},
			Regenerates: "falcon-sensor, after falconctl -s --cid. In the master, falconctl -d -f --aid takes out the agent id alone",
			way:         remove{value: fingerprint},
		},
		{
			Name: "tenable-tag", Kind: Conflict, Default: true, Where: "any",
			Why:         "agents of one tag are one to the manager, or cannot be linked (409)",
			Source:      "https://docs.tenable.com/nessus/command-line-reference/Content/LocalAgentsCommands.htm",
			Paths:       []string{"etc/tenable_tag", "opt/nessus_agent/var/nessus/uuid"},
			Regenerates: "nessusagent, when it is linked",
			way:         remove{},
		},
		{
			Name: "velociraptor-client-id", Kind: Secret, Default: true, Where: "any",
			Why:         "the key is the client: the server refuses twins (409)",
			Source:      "https://github.com/Velocidex/velociraptor-docs/blob/master/content/artifact_references/pages/server.monitor.clientconflict.md; https://github.com/Velocidex/velociraptor-docs/blob/master/content/docs/deployment/clients/_index.md",
			Paths:       []string{"etc/velociraptor.writeback.yaml"},
			Regenerates: "velociraptor",
			way:         remove{},
		},
		{
			// Off: the engine does not start without, until it is registered again.
			Name: "crowdsec-credentials", Kind: Secret, Default: false, Where: "any",
			Why:         "the login is the machine: twins report as one, to the local API and to the central one",
			Source:      "https://github.com/crowdsecurity/crowdsec/blob/master/config/config.yaml (credentials_path)",
			Paths:       []string{"etc/crowdsec/local_api_credentials.yaml", "etc/crowdsec/online_api_credentials.yaml"},
			Regenerates: "nothing: cscli machines add --auto, cscli capi register",
			way:         remove{},
		},
		{
			Name: "fail2ban-database", Kind: Residue, Default: true, Where: "any",
			Why:         "clones ban whom the master banned",
			Source:      "man 5 jail.conf; man 1 fail2ban-server",
			Paths:       []string{"var/lib/fail2ban/fail2ban.sqlite3"},
			Regenerates: "fail2ban-server",
			way:         remove{},
		},
		{
			Name: "sudo-state", Kind: Residue, Default: true, Where: "any",
			Why:         "who has used sudo on the master, and when",
			Source:      "man 5 sudoers_timestamp; man 5 sudoers (lecture_status_dir)",
			Paths:       []string{"var/lib/sudo/lectured/*", "var/lib/sudo/ts/*", "var/db/sudo/lectured/*", "var/db/sudo/ts/*", "run/sudo/ts/*"},
			Regenerates: "sudo",
			way:         remove{},
		},
		{
			Name: "pam-state", Kind: Residue, Default: true, Where: "any",
			Why:         "logins that failed on the master count on the clones",
			Source:      "man 8 pam_faillock; man 1 virt-sysprep (pam-data)",
			Paths:       []string{"run/faillock/*", "var/lib/faillock/*", "run/console/*", "run/sepermit/*"},
			Regenerates: "PAM",
			way:         remove{},
		},
	}
}
