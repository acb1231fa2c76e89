package identitytest

func servicePlants() map[string]Plant {
	return map[string]Plant{
		"github-runner": gone(
			"home/ann/actions-runner/.runner", "home/ann/actions-runner/.runner_migrated", "home/ann/actions-runner/.credentials",
			"home/ann/actions-runner/.credentials_migrated", "home/ann/actions-runner/.credentials_rsaparams", "opt/actions-runner/.runner",
			"opt/actions-runner/.runner_migrated", "opt/actions-runner/.credentials", "opt/actions-runner/.credentials_migrated",
			"opt/actions-runner/.credentials_rsaparams",
		),
		"ovs-system-id": gone("etc/openvswitch/system-id.conf", "etc/openvswitch/install_uuid.conf"),
		"tor-keys": gone(
			"var/lib/tor/keys/ed25519_master_id_secret_key", "var/lib/tor/keys/secret_id_key", "var/lib/tor/fingerprint", "var/lib/tor/fingerprint-ed25519",
			"var/lib/tor/site/hs_ed25519_secret_key", "var/lib/tor/site/hs_ed25519_public_key", "var/lib/tor/site/private_key", "var/lib/tor/site/hostname",
		),
		"rndc-key":          gone("etc/bind/rndc.key"),
		"mysql-server-uuid": gone("var/lib/mysql/auto.cnf"),
		"mysql-certificates": keys(
			"var/lib/mysql/ca.pem", "var/lib/mysql/ca-key.pem", "var/lib/mysql/server-cert.pem", "var/lib/mysql/server-key.pem",
			"var/lib/mysql/client-cert.pem", "var/lib/mysql/client-key.pem", "var/lib/mysql/private_key.pem", "var/lib/mysql/public_key.pem",
		),
		"rabbitmq-cookie":   gone("var/lib/rabbitmq/.erlang.cookie"),
		"redis-cluster-id":  gone("var/lib/redis/nodes.conf"),
		"dovecot-state":     gone("var/lib/dovecot/ssl-parameters.dat", "var/lib/dovecot/instances"),
		"cups-certificates": keys("etc/cups/ssl/x.key", "etc/cups/ssl/x.crt"),
		"gitlab-runner-id":  gone("etc/gitlab-runner/.runner_system_id", "home/ann/.gitlab-runner/.runner_system_id"),
		"syncthing-identity": keys(
			"root/.config/syncthing/key.pem", "home/ann/.config/syncthing/cert.pem", "root/.local/state/syncthing/key.pem",
			"home/ann/.local/state/syncthing/cert.pem",
		),
		"snmp-engine-id": edited("var/lib/snmp/snmpd.conf", "# x\nengineBoots 7\noldEngineID 0x8000PLANTED\npsyscontact x\n", "# x\npsyscontact x\n"),
		"snmp-users-engine-id": edited("var/lib/net-snmp/snmpd.conf", "engineBoots 7\noldEngineID 0x8000PLANTED\nusmUser 1 3 0x8000PLANTED 0x61 x\nsetserialno 1\n",
			"setserialno 1\n"),
	}
}
