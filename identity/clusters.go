package identity

func clusterMarks() []Mark {
	return []Mark{
		{
			Name: "consul-node-id", Kind: Conflict, Default: true, Where: "any",
			Why:    "the cluster refuses a second member of one id: \"Member has conflicting node ID\"",
			Source: "https://github.com/hashicorp/consul/blob/main/website/content/docs/agent/config/cli-flags.mdx (-node-id); https://github.com/hashicorp/consul/issues/3070",
			Paths: []string{
				"opt/consul/node-id", "opt/consul/data/node-id", "var/lib/consul/node-id", "var/consul/node-id",
			},
			Regenerates: "consul",
			way:         remove{},
		},
		{
			Name: "consul-members", Kind: Residue, Default: true, Where: "any",
			Why:         "a clone joins the master's cluster by itself, by the members that the master knew",
			Source:      "https://github.com/hashicorp/consul/blob/main/website/content/docs/agent/config/cli-flags.mdx (-rejoin)",
			Paths:       []string{"opt/consul/serf/*", "opt/consul/data/serf/*", "var/lib/consul/serf/*", "var/consul/serf/*"},
			Regenerates: "consul, from retry_join",
			way:         remove{},
		},
		{
			Name: "nomad-node-id", Kind: Secret, Default: true, Where: "any",
			Why:    "clients of one id are one node, and its secret lets either act as the other",
			Source: "https://github.com/hashicorp/nomad/blob/main/client/client.go (client-id, secret-id); https://github.com/hashicorp/nomad/blob/main/command/agent/agent.go (node-id)",
			Paths: []string{
				"opt/nomad/client/client-id", "opt/nomad/client/secret-id", "opt/nomad/data/client/client-id", "opt/nomad/data/client/secret-id",
				"var/lib/nomad/client/client-id", "var/lib/nomad/client/secret-id", "opt/nomad/server/node-id", "opt/nomad/data/server/node-id",
				"var/lib/nomad/server/node-id",
			},
			Regenerates: "nomad",
			way:         remove{},
		},
		{
			// Off: the nodes of one cluster must share it.
			Name: "corosync-authkey", Kind: Secret, Default: false, Where: "any",
			Why:         "who has one twin's key can join the cluster of any",
			Source:      "man 8 corosync-keygen",
			Paths:       []string{"etc/corosync/authkey", "etc/pacemaker/authkey"},
			Regenerates: "nothing: corosync-keygen",
			way:         remove{},
		},
	}
}
