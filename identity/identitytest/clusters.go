package identitytest

func clusterPlants() map[string]Plant {
	return map[string]Plant{
		"consul-node-id": gone("opt/consul/node-id", "opt/consul/data/node-id", "var/lib/consul/node-id", "var/consul/node-id"),
		"consul-members": gone("opt/consul/serf/x", "opt/consul/data/serf/x", "var/lib/consul/serf/x", "var/consul/serf/x"),
		"nomad-node-id": gone(
			"opt/nomad/client/client-id", "opt/nomad/client/secret-id", "opt/nomad/data/client/client-id", "opt/nomad/data/client/secret-id",
			"var/lib/nomad/client/client-id", "var/lib/nomad/client/secret-id", "opt/nomad/server/node-id", "opt/nomad/data/server/node-id",
			"var/lib/nomad/server/node-id",
		),
		"corosync-authkey": gone("etc/corosync/authkey", "etc/pacemaker/authkey"),
	}
}
