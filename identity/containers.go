package identity

// containerMarks erase who a node is, and leave what it holds: images, volumes and
// the state of containers are often why there is a template.
//
// Those of a whole cluster are off. Thirty students, each with a cluster of one
// node, do not meet; without its certificates each of the thirty is broken. What
// twins share is told by the audit all the same. It is long because it is a table.
func containerMarks() []Mark {
	return []Mark{
		{
			Name: "docker-engine-id", Kind: Conflict, Default: true, Where: "any",
			Why:         "engines of one id are one to what manages them",
			Source:      "https://github.com/moby/moby/issues/13278; https://github.com/moby/moby/blob/master/daemon/id.go",
			Paths:       []string{"var/lib/docker/engine-id", "etc/docker/key.json"},
			Regenerates: "dockerd",
			way:         remove{value: fingerprint},
		},
		{
			// Off: it is the whole swarm, and on a manager all its services.
			Name: "docker-swarm", Kind: Secret, Default: false, Where: "any",
			Why:    "the certificate is the node: of twins in one swarm only one is seen",
			Source: "https://docs.docker.com/engine/swarm/how-swarm-mode-works/pki/; https://github.com/moby/moby/blob/master/daemon/cluster/utils.go",
			Paths: []string{
				"var/lib/docker/swarm/certificates/*", "var/lib/docker/swarm/*.json",
				"var/lib/docker/swarm/raft/*", "var/lib/docker/swarm/worker/*",
			},
			Regenerates: "nothing: docker swarm join",
			way:         remove{value: privateKey},
		},
		{
			Name: "containerd-uuid", Kind: Conflict, Default: true, Where: "any",
			Why:    "the daemon's UUID is the same on twins",
			Source: "https://github.com/containerd/containerd/blob/main/plugins/services/introspection/local.go",
			Paths: []string{
				"var/lib/containerd/io.containerd.grpc.v1.introspection/uuid", "var/lib/docker/containerd/daemon/io.containerd.grpc.v1.introspection/uuid",
				"var/lib/rancher/*/agent/containerd/io.containerd.grpc.v1.introspection/uuid",
			},
			Regenerates: "containerd",
			way:         remove{},
		},
		{
			Name: "incus-server-key", Kind: Secret, Default: true, Where: "any",
			Why:         "clients and other servers know the server by its certificate: twins pass for each other",
			Source:      "https://github.com/lxc/incus/blob/main/internal/util/cert.go (LoadServerCert); https://linuxcontainers.org/incus/docs/main/authentication/",
			Paths:       []string{"var/lib/incus/server.*", "var/lib/lxd/server.*", "var/snap/lxd/common/lxd/server.*"},
			Regenerates: "incusd, lxd",
			way:         remove{value: privateKey},
		},
		{
			// Off: a node without it is none, and a control plane does not start.
			Name: "kubelet-identity", Kind: Secret, Default: false, Where: "any",
			Why:    "two kubelets with one certificate are one node: each undoes what the other does",
			Source: "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/",
			Paths: []string{
				"var/lib/kubelet/pki/*.pem", "var/lib/kubelet/pki/*.key", "var/lib/kubelet/pki/*.crt", "etc/kubernetes/kubelet.conf",
			},
			Regenerates: "nothing: kubeadm join",
			way:         remove{value: having("PRIVATE KEY", "client-key-data")},
		},
		{
			Name: "k3s-node-password", Kind: Secret, Default: true, Where: "any, with K3s or RKE2",
			Why:         "the server takes whoever knows name and password for the node",
			Source:      "https://docs.k3s.io/architecture#how-agent-node-registration-works",
			Paths:       []string{"etc/rancher/node/password"},
			Regenerates: "k3s, rke2. A clone that keeps the master's hostname is refused by the master's server",
			way:         remove{},
		},
		{
			Name: "k3s-node-certificates", Kind: Secret, Default: true, Where: "any, with K3s or RKE2",
			Why:    "certificates of the master's name make a clone act as the master's node",
			Source: "https://docs.k3s.io/cli/certificate",
			Paths: []string{
				"var/lib/rancher/*/agent/client-kubelet.*", "var/lib/rancher/*/agent/serving-kubelet.*",
				"var/lib/rancher/*/agent/client-kube-proxy.*", "var/lib/rancher/*/agent/client-*-controller.*",
			},
			Regenerates: "k3s, rke2: each start of the agent asks for them",
			way:         remove{value: privateKey},
		},
		{
			// Off: with it goes the cluster.
			Name: "k3s-server-keys", Kind: Secret, Default: false, Where: "any, with K3s or RKE2",
			Why:    "who has one twin's authority and token can enter all of them",
			Source: "https://docs.k3s.io/cli/token; https://docs.k3s.io/cli/certificate",
			Paths: []string{
				"var/lib/rancher/*/server/token", "var/lib/rancher/*/server/agent-token", "var/lib/rancher/*/server/tls/*.key",
				"var/lib/rancher/*/server/tls/etcd/*.key", "var/lib/rancher/*/server/cred/passwd",
			},
			Regenerates: "nothing: the cluster must be made anew",
			way:         remove{},
		},
		{
			Name: "rancher-agent", Kind: Secret, Default: true, Where: "any",
			Why:         "clones carry out the plans that Rancher makes for the master",
			Source:      "https://github.com/rancher/system-agent/blob/main/install.sh",
			Paths:       []string{"var/lib/rancher/agent/rancher2_connection_info.json", "etc/rancher/agent/cattle-id", "etc/rancher/agent/connection-info.json"},
			Regenerates: "nothing: the registration command that Rancher shows",
			way:         remove{},
		},
		{
			Name: "calico-nodename", Kind: Conflict, Default: true, Where: "any",
			Why:         "Calico takes the name that it wrote down before it asks for the hostname: the clone's pods are the master's",
			Source:      "https://github.com/projectcalico/calico/blob/master/node/pkg/lifecycle/utils/utils.go (DetermineNodeName)",
			Paths:       []string{"var/lib/calico/nodename"},
			Regenerates: "calico/node",
			way:         remove{value: plain},
		},
		{
			Name: "longhorn-disk", Kind: Conflict, Default: true, Where: "any",
			Why:         "disks of one UUID make Longhorn move replicas between the nodes without end",
			Source:      "https://github.com/longhorn/longhorn/issues/14032",
			Paths:       []string{"var/lib/longhorn/longhorn-disk.cfg"},
			Regenerates: "longhorn-manager, when the disk is added to the node",
			way:         remove{},
		},
	}
}
