package identity

import (
	"io/fs"
	"regexp"
	"strings"
)

// managementMarks: an agent is known to its server by a key and a name. It is long
// because it is a table.
func managementMarks() []Mark {
	return []Mark{
		{
			Name: "salt-minion-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "the id is written down at the first start: twins answer to one name, and the master obeys the last",
			Source:      "https://github.com/uyuni-project/uyuni-docs/blob/master/modules/administration/pages/troubleshooting/tshoot-registerclones.adoc",
			Paths:       []string{"etc/salt/minion_id", "etc/venv-salt-minion/minion_id"},
			Regenerates: "salt-minion, from the hostname",
			way:         remove{},
		},
		{
			Name: "salt-minion-keys", Kind: Secret, Default: true, Where: "any",
			Why:    "a minion is accepted by its key: twins are accepted as one",
			Source: "https://github.com/uyuni-project/uyuni-docs/blob/master/modules/administration/pages/troubleshooting/tshoot-registerclones.adoc",
			Paths: []string{
				"etc/salt/pki/minion/minion.pem", "etc/salt/pki/minion/minion.pub", "etc/venv-salt-minion/pki/minion/minion.pem",
				"etc/venv-salt-minion/pki/minion/minion.pub",
			},
			Regenerates: "salt-minion; its master must accept the new key",
			way:         remove{},
		},
		{
			Name: "salt-cache", Kind: Residue, Default: true, Where: "any",
			Why:         "what the master of Salt told this machine, pillars with passwords among it",
			Source:      "https://github.com/saltstack/salt/blob/master/conf/minion (cachedir)",
			Paths:       []string{"var/cache/salt/minion/*", "var/cache/venv-salt-minion/*"},
			Regenerates: "salt-minion",
			way:         remove{},
		},
		{
			Name: "puppet-certificates", Kind: Secret, Default: true, Where: "any",
			Why:    "the certificate is the node: twins get each other's catalogue, and passwords in it",
			Source: "https://github.com/puppetlabs/puppet/blob/main/lib/puppet/defaults.rb (ssldir); https://github.com/puppetlabs/puppet/blob/main/lib/puppet/util/run_mode.rb",
			Paths: []string{
				"etc/puppetlabs/puppet/ssl/private_keys/*", "etc/puppetlabs/puppet/ssl/certs/*", "etc/puppetlabs/puppet/ssl/certificate_requests/*",
				"etc/puppetlabs/puppet/ssl/public_keys/*", "var/lib/puppet/ssl/private_keys/*", "var/lib/puppet/ssl/certs/*",
				"var/lib/puppet/ssl/certificate_requests/*", "var/lib/puppet/ssl/public_keys/*", "etc/puppet/ssl/private_keys/*", "etc/puppet/ssl/certs/*",
			},
			Regenerates: "puppet agent; its server must sign the new request",
			way:         remove{value: privateKey},
		},
		{
			Name: "puppet-state", Kind: Residue, Default: true, Where: "any",
			Why:    "the master's last catalogue, reports and facts",
			Source: "https://github.com/puppetlabs/puppet/blob/main/lib/puppet/defaults.rb (statedir, client_datadir, clientbucketdir, reportdir); https://github.com/puppetlabs/puppet/blob/main/lib/puppet/util/run_mode.rb; man 1 virt-sysprep (puppet-data-log)",
			Paths: []string{
				"opt/puppetlabs/puppet/cache/state/*", "opt/puppetlabs/puppet/cache/client_data/*", "opt/puppetlabs/puppet/cache/clientbucket/*",
				"opt/puppetlabs/puppet/cache/reports/*", "var/lib/puppet/state/*", "var/lib/puppet/client_data/*", "var/lib/puppet/clientbucket/*",
				"var/lib/puppet/reports/*", "var/cache/puppet/state/*", "var/cache/puppet/client_data/*", "var/cache/puppet/clientbucket/*",
			},
			Regenerates: "puppet agent",
			way:         remove{},
		},
		{
			Name: "chef-client-key", Kind: Secret, Default: true, Where: "any",
			Why:         "the key is the node: twins overwrite each other's attributes",
			Source:      "https://github.com/chef/chef-web-docs/blob/main/content/reusable/md/security_chef_validator_context.md",
			Paths:       []string{"etc/chef/client.pem", "etc/cinc/client.pem"},
			Regenerates: "chef-client, with a validation key",
			way:         remove{},
		},
		{
			Name: "chef-node-name", Kind: Conflict, Default: true, Where: "any",
			Why:         "twins answer to one name",
			Source:      "https://github.com/chef/chef-web-docs/blob/main/content/reusable/md/chef_client_run.md (node_name)",
			Paths:       []string{"etc/chef/client.rb", "etc/cinc/client.rb"},
			Regenerates: "not needed: chef-client takes the host's name",
			way:         nameLines(chefNode),
		},
		{
			Name: "cfengine-keys", Kind: Secret, Default: true, Where: "any",
			Why:    "hosts are known by their keys: twins are one host, and reports of both are mixed",
			Source: "https://github.com/cfengine/documentation/blob/master/content/getting-started/01-installing-cfengine/secure-bootstrap.markdown; https://github.com/Normation/rudder-agent/blob/master/share/commands/agent-check (exist_or_restore)",
			Paths: []string{
				"var/cfengine/ppkeys/localhost.priv", "var/cfengine/ppkeys/localhost.pub", "var/rudder/cfengine-community/ppkeys/localhost.priv",
				"var/rudder/cfengine-community/ppkeys/localhost.pub", "var/backups/rudder/ppkeys-*/localhost.priv", "var/backups/rudder/ppkeys-*/localhost.pub",
			},
			Regenerates: "cf-key, as the agent of Rudder calls it; the hub must be bootstrapped to again",
			way:         remove{},
		},
		{
			Name: "rudder-uuid", Kind: Conflict, Default: true, Where: "any",
			Why:         "nodes of one UUID are one to the server; a UUID that is gone is restored from its backup",
			Source:      "https://github.com/Normation/rudder-agent/blob/master/share/commands/agent-factory-reset; https://github.com/Normation/rudder-agent/blob/master/share/commands/agent-check (exist_or_restore)",
			Paths:       []string{"var/backups/rudder/uuid.hive-*", "var/backups/rudder/agent.cert-*", "opt/rudder/etc/ssl/agent.cert", "opt/rudder/etc/uuid.hive"},
			Regenerates: "rudder agent reinit, or its own check of itself. A server's, which is \"root\", stays",
			way:         when{holds: notRudderServer, way: remove{}},
		},
		{
			// Off: they are most often the same for a class of machines, by intent.
			Name: "ansible-facts", Kind: Residue, Default: false, Where: "any",
			Why:         "facts that were set by hand for the master hold for every clone",
			Source:      "https://github.com/ansible/ansible-documentation/blob/devel/docs/docsite/rst/playbook_guide/playbooks_vars_facts.rst (local facts)",
			Paths:       []string{"etc/ansible/facts.d/*"},
			Regenerates: "nothing",
			way:         remove{},
		},
		{
			Name: "ansible-tmp", Kind: Residue, Default: true, Where: "any",
			Why:         "modules that were broken off, with their arguments",
			Source:      "https://docs.ansible.com/ansible/latest/reference_appendices/config.html",
			Paths:       []string{"~/.ansible/tmp/*", "~/.ansible/cp/*"},
			Regenerates: "ansible",
			way:         remove{},
		},
		{
			Name: "inventory-agent-id", Kind: Conflict, Default: true, Where: "any",
			Why: "GLPI, FusionInventory and OCS know a computer by the id that its agent made: clones take the master's place in the inventory",
			Source: "https://github.com/glpi-project/glpi-agent/blob/develop/lib/GLPI/Agent.pm (deviceid, agentid); " +
				"https://github.com/fusioninventory/fusioninventory-agent/blob/develop/lib/FusionInventory/Agent.pm (deviceid); " +
				"https://github.com/OCSInventory-NG/UnixAgent/blob/master/lib/Ocsinventory/Agent.pm (DEVICEID)",
			Paths: []string{
				"var/lib/glpi-agent/GLPI-Agent.dump", "var/lib/fusioninventory-agent/FusionInventory-Agent.dump",
				"var/lib/ocsinventory-agent/*/ocsinv.conf", "var/lib/ocsinventory-agent/*/ocsinv.adm",
			},
			Regenerates: "the agent, from the hostname and the time",
			way:         remove{value: fingerprint},
		},
		{
			Name: "teleport-host-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "nodes of one id are one to the cluster: sessions go to either",
			Source:      "https://github.com/gravitational/teleport/blob/master/lib/utils/hostid/hostid.go",
			Paths:       []string{"var/lib/teleport/host_uuid"},
			Regenerates: "teleport; where the cluster asks for a new join, with a token",
			way:         remove{value: uuid},
		},
		{
			Name: "azure-agent", Kind: Residue, Default: true, Where: "any",
			Why:         "the certificates and the answers with which Azure provisioned the master",
			Source:      "https://github.com/Azure/WALinuxAgent/blob/master/azurelinuxagent/pa/deprovision/default.py",
			Paths:       []string{"var/lib/waagent/*"},
			Regenerates: "waagent",
			way:         remove{},
		},
		{
			Name: "ecs-agent", Kind: Conflict, Default: true, Where: "any",
			Why: "the state names the container instance that the master was: a clone registers as the same, or not at all",
			Source: "https://github.com/aws/amazon-ecs-agent/blob/master/agent/data/client.go; " +
				"https://github.com/aws/amazon-ecs-logs-collector/blob/master/ecs-logs-collector.sh",
			Paths:       []string{"var/lib/ecs/data/agent.db", "var/lib/ecs/data/ecs_agent_data.json"},
			Regenerates: "the ECS agent",
			way:         remove{value: fingerprint},
		},
		{
			Name: "amazon-ssm-agent", Kind: Secret, Default: true, Where: "any",
			Why:         "twins are one managed node, and commands go to either",
			Source:      "https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/managedInstances/registration/instance_info.go; https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/managedInstances/vault/fsvault/fsvault.go",
			Paths:       []string{"var/lib/amazon/ssm/Vault/Store/*", "var/lib/amazon/ssm/Vault/Manifest", "var/lib/amazon/ssm/registration"},
			Regenerates: "amazon-ssm-agent on EC2; elsewhere it must be registered with an activation",
			way:         remove{},
		},
	}
}

func notRudderServer(fsys fs.FS) bool {
	id, _ := text(fsys, "opt/rudder/etc/uuid.hive") // what cannot be read is found by the mark itself
	return strings.TrimSpace(id) != "root"
}

var chefNode = regexp.MustCompile(`^\s*node_name\s*\(?\s*["']([^"']+)["']`)
