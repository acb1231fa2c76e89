package identity

import (
	"bytes"
	"regexp"
)

// monitoringMarks: a name that is written down in an agent's configuration makes
// every clone report as the master. Where there is none, agents ask for the
// hostname. It is long because it is a table.
func monitoringMarks() []Mark {
	const why = "clones report as the master: their measurements are mixed under one name"
	const fromNow = "not needed: the agent reports under the hostname"
	return []Mark{
		{
			Name: "zabbix-hostname", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "https://www.zabbix.com/documentation/current/en/manual/appendix/config/zabbix_agentd", Regenerates: fromNow,
			Paths: []string{
				"etc/zabbix/zabbix_agentd.conf", "etc/zabbix/zabbix_agent2.conf", "etc/zabbix/zabbix_agentd.d/*.conf", "etc/zabbix/zabbix_agent2.d/*.conf",
				"etc/zabbix/zabbix_agentd.conf.d/*.conf", "etc/zabbix_agentd.conf",
			},
			way: linesOf(zabbixHostname, notZabbixDefault),
		},
		{
			Name: "telegraf-hostname", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "https://github.com/influxdata/telegraf/blob/master/docs/CONFIGURATION.md (hostname)", Regenerates: fromNow,
			Paths: []string{"etc/telegraf/telegraf.conf", "etc/telegraf/telegraf.d/*.conf"},
			way:   nameLines(tomlHostname),
		},
		{
			Name: "collectd-hostname", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "man 5 collectd.conf", Regenerates: fromNow,
			Paths: []string{"etc/collectd/collectd.conf", "etc/collectd.conf", "etc/collectd/collectd.conf.d/*.conf", "etc/collectd.d/*.conf"},
			way:   nameLines(collectdHostname),
		},
		{
			Name: "munin-hostname", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "man 5 munin-node.conf", Regenerates: fromNow,
			Paths: []string{"etc/munin/munin-node.conf"},
			way:   nameLines(muninHostname),
		},
		{
			Name: "datadog-hostname", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "https://docs.datadoghq.com/agent/faq/how-datadog-agent-determines-the-hostname/", Regenerates: fromNow,
			Paths: []string{"etc/datadog-agent/datadog.yaml"},
			way:   nameLines(yamlHostname),
		},
		{
			Name: "datadog-auth-token", Kind: Secret, Default: true, Where: "any",
			Why: "who has one twin's token can command the agents of all of them",
			Source: "https://github.com/DataDog/datadog-agent/blob/main/pkg/api/security/security.go; " +
				"https://github.com/DataDog/datadog-agent/blob/main/pkg/api/security/cert/cert_getter.go",
			Paths:       []string{"etc/datadog-agent/auth_token", "etc/datadog-agent/ipc_cert.pem"},
			Regenerates: "datadog-agent",
			way:         remove{},
		},
		{
			Name: "netdata-node-id", Kind: Conflict, Default: true, Where: "any",
			Why:    "nodes of one id are one to the cloud and to parents, which then disconnect either",
			Source: "https://github.com/netdata/netdata/blob/master/docs/learn/vm-templates.md; https://github.com/netdata/netdata/blob/master/docs/learn/node-identities.md",
			Paths: []string{
				"var/lib/netdata/status-netdata.json", "var/cache/netdata/status-netdata.json", "tmp/status-netdata.json", "run/status-netdata.json",
				"var/run/status-netdata.json", "opt/netdata/var/lib/netdata/status-netdata.json", "opt/netdata/var/cache/netdata/status-netdata.json",
				"var/lib/netdata/registry/netdata.public.unique.id", "opt/netdata/var/lib/netdata/registry/netdata.public.unique.id",
			},
			Regenerates: "netdata. Its status files hold the id too, and it is taken from them where its own file is gone",
			way:         remove{value: netdataID},
		},
		{
			Name: "netdata-claim", Kind: Secret, Default: true, Where: "any",
			Why:    "clones connect to the cloud as the master",
			Source: "https://github.com/netdata/netdata/blob/master/docs/learn/vm-templates.md; https://github.com/netdata/netdata/blob/master/docs/learn/node-identities.md",
			Paths: []string{
				"var/lib/netdata/cloud.d/private.pem", "var/lib/netdata/cloud.d/claimed_id", "var/lib/netdata/cloud.d/token",
				"var/lib/netdata/cloud.d/cloud.conf", "var/lib/netdata/cloud.d/public.pem", "opt/netdata/var/lib/netdata/cloud.d/cloud.conf",
				"opt/netdata/var/lib/netdata/cloud.d/public.pem",
				"opt/netdata/var/lib/netdata/cloud.d/private.pem", "opt/netdata/var/lib/netdata/cloud.d/claimed_id",
				"opt/netdata/var/lib/netdata/cloud.d/token",
			},
			Regenerates: "nothing: the node must be claimed, or etc/netdata/claim.conf says how",
			way:         remove{},
		},
		{
			Name: "monit-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "the id is the instance: M/Monit takes twins for one host",
			Source:      "man 1 monit (-i, -r); https://salsa.debian.org/debian/monit/-/blob/master/debian/monitrc (idfile)",
			Paths:       []string{"var/lib/monit/id", "var/.monit.id", "~/.monit.id"},
			Regenerates: "monit",
			way:         remove{value: fingerprint},
		},
		{
			Name: "alloy-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "collectors of one id are one to Grafana",
			Source:      "https://github.com/grafana/alloy/blob/main/internal/alloyseed/alloyseed.go",
			Paths:       []string{"var/lib/alloy/data/alloy_seed.json", "var/lib/alloy/alloy_seed.json"},
			Regenerates: "alloy",
			way:         remove{value: fingerprint},
		},
		{
			// Off: the agent does not start without, until it has joined again.
			Name: "icinga-node-key", Kind: Secret, Default: false, Where: "any",
			Why:         "the certificate is the endpoint: to the parent twins are one, by the master's name",
			Source:      "https://github.com/Icinga/icinga2/blob/master/doc/06-distributed-monitoring.md",
			Paths:       []string{"var/lib/icinga2/certs/*.key"},
			Regenerates: "nothing: icinga2 node wizard",
			way:         remove{},
		},
		{
			Name: "beats-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "Beats of one agent id are one to the stack's monitoring",
			Source:      "https://github.com/elastic/beats/issues/21847; https://github.com/elastic/beats/issues/26225",
			Paths:       []string{"var/lib/*beat/meta.json"},
			Regenerates: "the Beat",
			way:         remove{},
		},
		{
			Name: "elastic-agent", Kind: Secret, Default: true, Where: "any",
			Why:    "the agent's id and its key for Fleet: twins are one agent there",
			Source: "https://github.com/elastic/beats/issues/37743; https://github.com/elastic/elastic-agent/blob/main/internal/pkg/agent/application/paths/files.go",
			Paths: []string{
				"opt/Elastic/Agent/fleet.enc", "opt/Elastic/Agent/fleet.yml", "opt/Elastic/Agent/data/elastic-agent-*/state.enc", "var/lib/elastic-agent/data/elastic-agent-*/state.enc", "etc/elastic-agent/fleet.enc",
				"etc/elastic-agent/fleet.yml", "var/lib/elastic-agent/fleet.enc",
			},
			Regenerates: "nothing: elastic-agent enroll",
			way:         remove{},
		},
		{
			Name: "splunk-guid", Kind: Conflict, Default: true, Where: "any",
			Why:    "forwarders of one GUID are one to the indexers and to the deployment server",
			Source: "https://help.splunk.com/en/data-management/splunk-enterprise-admin-manual/9.4/configuration-file-reference/9.4.0-configuration-file-reference/instance.cfg.conf",
			Paths:  []string{"opt/splunkforwarder/etc/instance.cfg", "opt/splunk/etc/instance.cfg"},
			// It is what "splunk clone-prep-clear-config" does.
			Regenerates: "splunkd",
			way:         remove{value: fingerprint},
		},
		{
			Name: "splunk-hostname", Kind: Conflict, Default: true, Where: "any",
			Why: why, Source: "https://github.com/splunk/vscode-extension-splunk/blob/master/spec_files/8.2/server.conf.spec (serverName)",
			Paths: []string{
				"opt/splunkforwarder/etc/system/local/server.conf", "opt/splunkforwarder/etc/system/local/inputs.conf",
				"opt/splunk/etc/system/local/server.conf", "opt/splunk/etc/system/local/inputs.conf",
			},
			Regenerates: "splunkd, from the hostname",
			way:         nameLines(splunkHostname),
		},
	}
}

var (
	zabbixHostname   = regexp.MustCompile(`^Hostname=([^\n]+)`)
	tomlHostname     = regexp.MustCompile(`^\s*hostname\s*=\s*["']([^"'$]+)["']`)
	collectdHostname = regexp.MustCompile(`^\s*Hostname\s+["']?([^\s"']+)`)
	muninHostname    = regexp.MustCompile(`^\s*host_name\s+(\S+)`)
	yamlHostname     = regexp.MustCompile(`^hostname:\s*["']?([^\s"'#]+)`)
	splunkHostname   = regexp.MustCompile(`^\s*(?:serverName|host)\s*=\s*([^$\s]+)\s*$`)
)

// notZabbixDefault passes by the name in the file as it is packaged, which is no
// machine's own.
func notZabbixDefault(name string) string {
	if name == "Zabbix server" {
		return ""
	}
	return name
}

// netdataID is the value of the file of Netdata's id. Its status files, which hold
// the id among a lot that changes by the minute, have none.
func netdataID(data []byte) string {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return ""
	}
	return plain(data)
}
