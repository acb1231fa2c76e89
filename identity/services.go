package identity

import (
	"io/fs"
	"regexp"
	"strings"
)

// serviceMarks are the ids of servers. The data of databases stays: what is asked
// of a template is often that it is there. It is long because it is a table.
func serviceMarks() []Mark {
	return []Mark{
		{
			Name: "mysql-server-uuid", Kind: Conflict, Default: true, Where: "any",
			Why:         "replication stops between servers of one UUID",
			Source:      "https://dev.mysql.com/doc/refman/8.0/en/replication-howto-additionalslaves.html",
			Paths:       []string{"var/lib/mysql/auto.cnf"},
			Regenerates: "mysqld",
			way:         remove{value: fingerprint},
		},
		{
			Name: "mysql-certificates", Kind: Secret, Default: true, Where: "any",
			Why:    "the server makes itself an authority and keys when it is first started: twins have the same",
			Source: "https://dev.mysql.com/worklog/task/?id=7699; https://dev.mysql.com/doc/refman/8.4/en/creating-ssl-rsa-files-using-mysql.html",
			Paths: []string{
				"var/lib/mysql/ca.pem", "var/lib/mysql/ca-key.pem", "var/lib/mysql/server-cert.pem", "var/lib/mysql/server-key.pem",
				"var/lib/mysql/client-cert.pem", "var/lib/mysql/client-key.pem", "var/lib/mysql/private_key.pem", "var/lib/mysql/public_key.pem",
			},
			Regenerates: "mysqld (auto_generate_certs)",
			way:         remove{value: privateKey},
		},
		{
			// Off: nodes of one cluster must share it.
			Name: "rabbitmq-cookie", Kind: Secret, Default: false, Where: "any",
			Why:         "who has one twin's cookie may do everything on all of them",
			Source:      "https://github.com/rabbitmq/rabbitmq-website/blob/main/docs/clustering.md (Cookie File Locations)",
			Paths:       []string{"var/lib/rabbitmq/.erlang.cookie"},
			Regenerates: "RabbitMQ",
			way:         remove{},
		},
		{
			// Off: it forgets the cluster, and with it where the keys are.
			Name: "redis-cluster-id", Kind: Conflict, Default: false, Where: "any",
			Why:         "nodes of one id are one to the cluster",
			Source:      "https://github.com/redis/redis/blob/unstable/redis.conf (cluster-config-file)",
			Paths:       []string{"var/lib/redis/nodes*.conf"},
			Regenerates: "redis-server",
			way:         remove{value: fingerprint},
		},
		{
			Name: "snmp-engine-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "engines of one id confuse their managers, which refuse the answers of one as too old",
			Source:      "RFC 3411 section 3.1.1; man 5 snmpd.conf; man 5 snmp_config (/var/lib/snmp); https://github.com/net-snmp/net-snmp/blob/master/snmplib/snmpv3.c (oldEngineID)",
			Paths:       []string{"var/lib/snmp/snmpd.conf", "var/lib/net-snmp/snmpd.conf"},
			Regenerates: "snmpd",
			way:         edit{find: findEngine(false), fix: dropEngine},
		},
		{
			// Off: the keys of users are made of it, and they would have to be told anew.
			Name: "snmp-users-engine-id", Kind: Conflict, Default: false, Where: "any, with users of SNMPv3",
			Why:         "as snmp-engine-id",
			Source:      "RFC 3414 section 2.6; man 5 snmpd.conf",
			Paths:       []string{"var/lib/snmp/snmpd.conf", "var/lib/net-snmp/snmpd.conf"},
			Regenerates: "snmpd; the users must be created again",
			way:         edit{find: findEngine(true), fix: dropEngine},
		},
		{
			Name: "dovecot-state", Kind: Residue, Default: true, Where: "any",
			Why:         "parameters and names of the master's mail server",
			Source:      "man 1 doveadm-instance; man 1 virt-sysprep (dovecot-data)",
			Paths:       []string{"var/lib/dovecot/ssl-parameters.dat", "var/lib/dovecot/instances"},
			Regenerates: "dovecot. The rest of /var/lib/dovecot, such as Sieve scripts, stays",
			way:         remove{},
		},
		{
			Name: "cups-certificates", Kind: Secret, Default: true, Where: "any",
			Why:         "the print server's key is the same on every clone",
			Source:      "man 5 cups-files.conf (CreateSelfSignedCerts, ServerKeychain)",
			Paths:       []string{"etc/cups/ssl/*.key", "etc/cups/ssl/*.crt"},
			Regenerates: "cupsd",
			way:         remove{value: privateKey},
		},
		{
			Name: "github-runner", Kind: Secret, Default: true, Where: "any",
			Why:    "the key is the runner: of twins only one has a session (\"A session for this runner already exists\")",
			Source: "https://github.com/actions/runner/blob/main/src/Runner.Common/HostContext.cs; https://github.com/actions/runner/blob/main/src/Runner.Listener/BrokerMessageListener.cs",
			Paths: []string{
				"~/actions-runner/.runner", "~/actions-runner/.runner_migrated", "~/actions-runner/.credentials", "~/actions-runner/.credentials_migrated",
				"~/actions-runner/.credentials_rsaparams", "opt/actions-runner/.runner", "opt/actions-runner/.runner_migrated",
				"opt/actions-runner/.credentials", "opt/actions-runner/.credentials_migrated", "opt/actions-runner/.credentials_rsaparams",
			},
			Regenerates: "nothing: config.sh of the runner, with a token",
			way:         remove{},
		},
		{
			Name: "gitlab-runner-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "runners of one id are one to GitLab: only the last that started gets jobs",
			Source:      "https://gitlab.com/gitlab-org/gitlab-runner/-/issues/38858",
			Paths:       []string{"etc/gitlab-runner/.runner_system_id", "~/.gitlab-runner/.runner_system_id"},
			Regenerates: "gitlab-runner, of the machine-id",
			way:         remove{},
		},
		{
			Name: "ovs-system-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "controllers, OVN's among them, know a switch by its system-id: twins are one to them",
			Source:      "man 8 ovs-ctl (--system-id)",
			Paths:       []string{"etc/openvswitch/system-id.conf", "etc/openvswitch/install_uuid.conf"},
			Regenerates: "ovs-ctl, where the unit says --system-id=random, as those of Debian do",
			way:         remove{value: fingerprint},
		},
		{
			Name: "tor-keys", Kind: Secret, Default: true, Where: "any",
			Why:    "the keys are the relay, and the onion service: twins have one identity, and one address",
			Source: "man 1 tor (FILES); https://github.com/torproject/tor/blob/main/src/feature/hs/hs_service.c (hs_ed25519)",
			Paths: []string{
				"var/lib/tor/keys/*", "var/lib/tor/fingerprint*", "var/lib/tor/*/hs_ed25519_secret_key", "var/lib/tor/*/hs_ed25519_public_key",
				"var/lib/tor/*/private_key", "var/lib/tor/*/hostname",
			},
			Regenerates: "tor; an onion service has another address then",
			way:         remove{},
		},
		{
			Name: "rndc-key", Kind: Secret, Default: true, Where: "Debian, Ubuntu",
			Why:         "who has one twin's key can command the name server of any that lets the network at its control channel",
			Source:      "man 8 rndc-confgen (-a); https://salsa.debian.org/dns-team/bind9/-/blob/debian/main/debian/bind9.postinst",
			Paths:       []string{"etc/bind/rndc.key"},
			Regenerates: "clade-firstboot.service: the package makes it at installation only",
			way:         remove{},
			Firstboot: Piece{
				Needs:   []string{"usr/sbin/rndc-confgen", "usr/sbin/named", "etc/bind"},
				Missing: "/etc/bind/rndc.key",
				Command: "/usr/sbin/rndc-confgen -a -u bind",
				Before:  []string{"named.service", "bind9.service"},
			},
		},
		{
			Name: "syncthing-identity", Kind: Secret, Default: true, Where: "any",
			Why:    "the key is the device's id: twins are one device to all that share with it",
			Source: "https://docs.syncthing.net/dev/device-ids.html",
			Paths: []string{
				"~/.config/syncthing/key.pem", "~/.config/syncthing/cert.pem", "~/.local/state/syncthing/key.pem", "~/.local/state/syncthing/cert.pem",
			},
			Regenerates: "syncthing; other devices must be told the new id",
			way:         remove{value: privateKey},
		},
	}
}

var (
	snmpEngine = regexp.MustCompile(`(?m)^(?:oldEngineID\s+(\S+)|engineBoots\s+.*)\n?`)
	snmpUser   = regexp.MustCompile(`(?m)^usmUser\s`)
)

// findEngine finds the engine's id in files that have users, or in those that have
// none.
func findEngine(users bool) func(fs.FS, string, string) []string {
	return func(_ fs.FS, _, body string) []string {
		if snmpUser.MatchString(body) != users {
			return nil
		}
		var ids []string
		for _, m := range snmpEngine.FindAllStringSubmatch(body, -1) {
			if m[1] != "" {
				ids = append(ids, strings.ToLower(m[1]))
			}
		}
		return ids
	}
}

// dropEngine takes the engine's id out, how often it has started, and the users
// whose keys are of no use without it.
func dropEngine(_ fs.FS, _, body string) (string, error) {
	body = snmpEngine.ReplaceAllString(body, "")
	var out strings.Builder
	for line := range strings.Lines(body) {
		if !snmpUser.MatchString(line) {
			out.WriteString(line)
		}
	}
	return out.String(), nil
}
