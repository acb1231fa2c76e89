package identitytest

func managementPlants() map[string]Plant {
	return map[string]Plant{
		"inventory-agent-id": gone(
			"var/lib/glpi-agent/GLPI-Agent.dump", "var/lib/fusioninventory-agent/FusionInventory-Agent.dump",
			"var/lib/ocsinventory-agent/http:__ocs_server/ocsinv.conf", "var/lib/ocsinventory-agent/http:__ocs_server/ocsinv.adm",
		),
		"teleport-host-id": of(MachineID, None, []string{"var/lib/teleport/host_uuid"}),
		"ecs-agent":        gone("var/lib/ecs/data/agent.db", "var/lib/ecs/data/ecs_agent_data.json"),
		"salt-minion-id":   gone("etc/salt/minion_id", "etc/venv-salt-minion/minion_id"),
		"salt-minion-keys": gone(
			"etc/salt/pki/minion/minion.pem", "etc/salt/pki/minion/minion.pub", "etc/venv-salt-minion/pki/minion/minion.pem",
			"etc/venv-salt-minion/pki/minion/minion.pub",
		),
		"salt-cache": gone("var/cache/salt/minion/x", "var/cache/venv-salt-minion/x"),
		"puppet-certificates": keys(
			"etc/puppetlabs/puppet/ssl/private_keys/x", "etc/puppetlabs/puppet/ssl/certs/x", "etc/puppetlabs/puppet/ssl/certificate_requests/x",
			"etc/puppetlabs/puppet/ssl/public_keys/x", "var/lib/puppet/ssl/private_keys/x", "var/lib/puppet/ssl/certs/x",
			"var/lib/puppet/ssl/certificate_requests/x", "var/lib/puppet/ssl/public_keys/x", "etc/puppet/ssl/private_keys/x", "etc/puppet/ssl/certs/x",
		),
		"puppet-state": gone(
			"opt/puppetlabs/puppet/cache/state/x", "opt/puppetlabs/puppet/cache/client_data/x", "opt/puppetlabs/puppet/cache/clientbucket/x",
			"opt/puppetlabs/puppet/cache/reports/x", "var/lib/puppet/state/x", "var/lib/puppet/client_data/x", "var/lib/puppet/clientbucket/x",
			"var/lib/puppet/reports/x", "var/cache/puppet/state/x", "var/cache/puppet/client_data/x", "var/cache/puppet/clientbucket/x",
		),
		"chef-client-key": gone("etc/chef/client.pem", "etc/cinc/client.pem"),
		"cfengine-keys": gone(
			"var/cfengine/ppkeys/localhost.priv", "var/cfengine/ppkeys/localhost.pub", "var/rudder/cfengine-community/ppkeys/localhost.priv",
			"var/rudder/cfengine-community/ppkeys/localhost.pub", "var/backups/rudder/ppkeys-20260101/localhost.priv",
			"var/backups/rudder/ppkeys-20260101/localhost.pub",
		),
		"rudder-uuid":      gone("opt/rudder/etc/uuid.hive", "opt/rudder/etc/ssl/agent.cert", "var/backups/rudder/uuid.hive-20260101", "var/backups/rudder/agent.cert-20260101"),
		"ansible-facts":    gone("etc/ansible/facts.d/x"),
		"ansible-tmp":      gone("root/.ansible/tmp/x", "home/ann/.ansible/cp/x"),
		"azure-agent":      gone("var/lib/waagent/x"),
		"amazon-ssm-agent": gone("var/lib/amazon/ssm/Vault/Store/x", "var/lib/amazon/ssm/Vault/Manifest", "var/lib/amazon/ssm/registration"),
		"chef-node-name": edited("etc/chef/client.rb", "chef_server_url 'https://x'\nnode_name \"PLANTED\"\n", "chef_server_url 'https://x'\n").and(
			edited("etc/cinc/client.rb", "node_name('PLANTED')\n#\n", "#\n")),
	}
}
