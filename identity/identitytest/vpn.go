package identitytest

func vpnPlants() map[string]Plant {
	const key = "PLANTEDPLANTEDPLANTEDPLANTEDPLANTEDPLANTEDP="
	return map[string]Plant{
		"wireguard-keys": edited("etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = "+key+"\nAddress = 10.9.0.2/24\n[Peer]\nPublicKey = x\n",
			"[Interface]\nAddress = 10.9.0.2/24\n[Peer]\nPublicKey = x\n").and(
			edited("etc/systemd/network/wg.netdev", "[NetDev]\nName=wg1\n[WireGuard]\nPrivateKey="+key+"\n", "[NetDev]\nName=wg1\n[WireGuard]\n"),
			edited("etc/NetworkManager/system-connections/wg2.nmconnection", "[wireguard]\nprivate-key="+key+"\n[802-1x]\nprivate-key=/etc/x.key\n",
				"[wireguard]\n[802-1x]\nprivate-key=/etc/x.key\n")),
		"wireguard-key-files": gone("etc/wireguard/x.key", "etc/wireguard/wg0-private", "etc/systemd/network/x.wgkey"),
		"tailscale-state":     gone("var/lib/tailscale/tailscaled.state", "var/lib/tailscale/tailscaled.log.conf", "var/lib/tailscale/certs/x.key"),
		"zerotier-identity": gone(
			"var/lib/zerotier-one/identity.secret", "var/lib/zerotier-one/identity.public", "var/lib/zerotier-one/authtoken.secret",
		),
		"netbird-config": gone("var/lib/netbird/default.json", "var/lib/netbird/ann/0a1b.json", "etc/netbird/config.json"),
		"vpn-keys": gone(
			"etc/openvpn/x.key", "etc/openvpn/client/x.key", "etc/openvpn/server/x.key", "etc/ipsec.d/private/x", "etc/swanctl/private/x",
			"etc/swanctl/rsa/x", "etc/swanctl/ecdsa/x", "etc/swanctl/pkcs8/x", "etc/tinc/x/rsa_key.priv", "etc/tinc/x/ed25519_key.priv", "etc/nebula/x.key",
		),
	}
}
