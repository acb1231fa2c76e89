package identitytest

func monitoringPlants() map[string]Plant {
	return map[string]Plant{
		"monit-id":           gone("var/lib/monit/id", "var/.monit.id", "root/.monit.id"),
		"alloy-id":           gone("var/lib/alloy/data/alloy_seed.json", "var/lib/alloy/alloy_seed.json"),
		"icinga-node-key":    gone("var/lib/icinga2/certs/web.key"),
		"datadog-auth-token": gone("etc/datadog-agent/auth_token", "etc/datadog-agent/ipc_cert.pem"),
		"netdata-node-id": gone(
			"var/lib/netdata/registry/netdata.public.unique.id", "opt/netdata/var/lib/netdata/registry/netdata.public.unique.id",
			"var/lib/netdata/status-netdata.json", "var/cache/netdata/status-netdata.json", "tmp/status-netdata.json", "run/status-netdata.json",
			"var/run/status-netdata.json", "opt/netdata/var/lib/netdata/status-netdata.json", "opt/netdata/var/cache/netdata/status-netdata.json",
		),
		"netdata-claim": gone(
			"var/lib/netdata/cloud.d/private.pem", "var/lib/netdata/cloud.d/claimed_id", "var/lib/netdata/cloud.d/token",
			"opt/netdata/var/lib/netdata/cloud.d/private.pem", "opt/netdata/var/lib/netdata/cloud.d/claimed_id", "opt/netdata/var/lib/netdata/cloud.d/token",
			"var/lib/netdata/cloud.d/cloud.conf", "var/lib/netdata/cloud.d/public.pem", "opt/netdata/var/lib/netdata/cloud.d/cloud.conf", "opt/netdata/var/lib/netdata/cloud.d/public.pem",
		),
		"beats-id": gone("var/lib/filebeat/meta.json"),
		"elastic-agent": gone(
			"opt/Elastic/Agent/fleet.enc", "opt/Elastic/Agent/fleet.yml", "opt/Elastic/Agent/data/elastic-agent-8.1.0-abc/state.enc", "var/lib/elastic-agent/data/elastic-agent-8.1.0-abc/state.enc", "etc/elastic-agent/fleet.enc",
			"etc/elastic-agent/fleet.yml", "var/lib/elastic-agent/fleet.enc",
		),
		"splunk-guid": gone("opt/splunkforwarder/etc/instance.cfg", "opt/splunk/etc/instance.cfg"),
		"zabbix-hostname": edited("etc/zabbix/zabbix_agentd.conf", "# Hostname=\nHostname=PLANTED\nServer=x\n", "# Hostname=\nServer=x\n").and(
			edited("etc/zabbix/zabbix_agent2.conf", "Hostname=Zabbix server\n", "Hostname=Zabbix server\n"),
			edited("etc/zabbix/zabbix_agentd.d/x.conf", "Hostname=PLANTED 1\n", ""), edited("etc/zabbix/zabbix_agent2.d/x.conf", "Hostname=PLANTED 2\n", ""),
			edited("etc/zabbix/zabbix_agentd.conf.d/x.conf", "Hostname=PLANTED 3\n", ""), edited("etc/zabbix_agentd.conf", "Hostname=PLANTED 4\n", "")),
		"telegraf-hostname": edited("etc/telegraf/telegraf.conf", "[agent]\n  hostname = \"PLANTED\"\n  omit_hostname = false\n", "[agent]\n  omit_hostname = false\n").and(
			edited("etc/telegraf/telegraf.d/x.conf", "  hostname = \"$HOST\"\n  hostname = 'PLANTED'\n", "  hostname = \"$HOST\"\n")),
		"collectd-hostname": edited("etc/collectd/collectd.conf", "Hostname \"PLANTED\"\nFQDNLookup true\n", "FQDNLookup true\n").and(
			edited("etc/collectd.conf", "Hostname PLANTED\n#Hostname x\n", "#Hostname x\n"), edited("etc/collectd/collectd.conf.d/x.conf", "Hostname PLANTED\n", ""),
			edited("etc/collectd.d/x.conf", "Hostname localhost\n", "Hostname localhost\n")),
		"munin-hostname":   edited("etc/munin/munin-node.conf", "host_name PLANTED.example.com\nport 4949\n", "port 4949\n"),
		"datadog-hostname": edited("etc/datadog-agent/datadog.yaml", "api_key: x\nhostname: PLANTED\n# hostname: y\n", "api_key: x\n# hostname: y\n"),
		"splunk-hostname": edited("opt/splunkforwarder/etc/system/local/server.conf", "[general]\nserverName = PLANTED\n", "[general]\n").and(
			edited("opt/splunkforwarder/etc/system/local/inputs.conf", "[default]\nhost = PLANTED\n[x]\nhost = $decideOnStartup\n", "[default]\n[x]\nhost = $decideOnStartup\n"),
			edited("opt/splunk/etc/system/local/server.conf", "serverName=PLANTED\n", ""), edited("opt/splunk/etc/system/local/inputs.conf", "host = PLANTED\n", "")),
	}
}
