package identitytest

func containerPlants() map[string]Plant {
	return map[string]Plant{
		"calico-nodename":  gone("var/lib/calico/nodename"),
		"docker-engine-id": gone("var/lib/docker/engine-id", "etc/docker/key.json"),
		"docker-swarm": keys(
			"var/lib/docker/swarm/certificates/x", "var/lib/docker/swarm/x.json", "var/lib/docker/swarm/raft/x", "var/lib/docker/swarm/worker/x",
		),
		"containerd-uuid": gone(
			"var/lib/containerd/io.containerd.grpc.v1.introspection/uuid", "var/lib/docker/containerd/daemon/io.containerd.grpc.v1.introspection/uuid",
			"var/lib/rancher/k3s/agent/containerd/io.containerd.grpc.v1.introspection/uuid",
		),
		"incus-server-key":  keys("var/lib/incus/server.key", "var/lib/lxd/server.key", "var/snap/lxd/common/lxd/server.key"),
		"kubelet-identity":  keys("var/lib/kubelet/pki/x.pem", "var/lib/kubelet/pki/x.key", "var/lib/kubelet/pki/x.crt", "etc/kubernetes/kubelet.conf"),
		"k3s-node-password": gone("etc/rancher/node/password"),
		"k3s-node-certificates": keys(
			"var/lib/rancher/k3s/agent/client-kubelet.key", "var/lib/rancher/k3s/agent/serving-kubelet.key",
			"var/lib/rancher/k3s/agent/client-kube-proxy.key", "var/lib/rancher/k3s/agent/client-k3s-controller.key",
		),
		"k3s-server-keys": gone(
			"var/lib/rancher/k3s/server/token", "var/lib/rancher/k3s/server/agent-token", "var/lib/rancher/k3s/server/tls/x.key",
			"var/lib/rancher/k3s/server/tls/etcd/x.key", "var/lib/rancher/k3s/server/cred/passwd",
		),
		"rancher-agent": gone(
			"var/lib/rancher/agent/rancher2_connection_info.json", "etc/rancher/agent/cattle-id", "etc/rancher/agent/connection-info.json",
		),
		"longhorn-disk": gone("var/lib/longhorn/longhorn-disk.cfg"),
	}
}
