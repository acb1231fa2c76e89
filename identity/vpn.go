package identity

import "regexp"

// vpnMarks: a key in a private network is the machine itself. Two machines with
// one key take the address from each other at every packet.
func vpnMarks() []Mark {
	return []Mark{
		{
			Name: "wireguard-keys", Kind: Secret, Default: true, Where: "any",
			Why:         "peers know a machine by its key: with the same one twins steal each other's tunnel, again and again",
			Source:      "man 8 wg; man 8 wg-quick; man 5 systemd.netdev",
			Paths:       []string{"etc/wireguard/*.conf", "etc/systemd/network/*.netdev", "etc/NetworkManager/system-connections/*"},
			Regenerates: "nothing: wg genkey, and the peers must be told. The tunnel stays down until then",
			way:         lines(wireguardKey),
		},
		{
			Name: "wireguard-key-files", Kind: Secret, Default: true, Where: "any",
			Why:         "as the keys in WireGuard's configuration",
			Source:      "man 8 wg (genkey, set private-key); man 5 systemd.netdev (PrivateKeyFile)",
			Paths:       []string{"etc/wireguard/*.key", "etc/wireguard/*private*", "etc/systemd/network/*.wgkey"},
			Regenerates: "nothing: wg genkey, and the peers must be told",
			way:         remove{},
		},
		{
			Name: "tailscale-state", Kind: Secret, Default: true, Where: "any",
			Why:         "node key and machine key are the machine: twins are one node, and only one of them is reached",
			Source:      "https://github.com/tailscale/tailscale/blob/main/cmd/tailscaled/tailscaled.go (statedir); https://github.com/tailscale/tailscale/blob/main/ipn/store.go (MachineKeyStateKey)",
			Paths:       []string{"var/lib/tailscale/tailscaled.state", "var/lib/tailscale/tailscaled.log.conf", "var/lib/tailscale/certs/*.key"},
			Regenerates: "tailscaled, with a login or an auth key (tailscale up)",
			way:         remove{},
		},
		{
			Name: "zerotier-identity", Kind: Secret, Default: true, Where: "any",
			Why:         "the identity is the machine's address in every ZeroTier network: twins have one address",
			Source:      "https://github.com/zerotier/ZeroTierOne/blob/dev/doc/zerotier-one.8.md",
			Paths:       []string{"var/lib/zerotier-one/identity.secret", "var/lib/zerotier-one/identity.public", "var/lib/zerotier-one/authtoken.secret"},
			Regenerates: "zerotier-one. Private networks must authorize the new address",
			way:         remove{},
		},
		{
			Name: "netbird-config", Kind: Secret, Default: true, Where: "any",
			Why:         "the WireGuard key and the SSH key of the peer are in it: twins are one peer",
			Source:      "https://github.com/netbirdio/netbird/blob/main/client/internal/profilemanager/service.go; https://github.com/netbirdio/netbird/blob/main/client/internal/profilemanager/config.go (PrivateKey, SSHKey)",
			Paths:       []string{"var/lib/netbird/default.json", "var/lib/netbird/*/*.json", "etc/netbird/config.json"},
			Regenerates: "netbird up, with a login or a setup key",
			way:         remove{},
		},
		{
			// Off: somebody put them there by hand, and nothing makes them anew.
			Name: "vpn-keys", Kind: Secret, Default: false, Where: "any",
			Why:    "a key that opens a network opens it to every clone; most servers let in only the last that came with it",
			Source: "man 8 openvpn (--key, --duplicate-cn); man 5 swanctl.conf; man 5 tinc.conf",
			Paths: []string{
				"etc/openvpn/*.key", "etc/openvpn/client/*.key", "etc/openvpn/server/*.key", "etc/ipsec.d/private/*", "etc/swanctl/private/*",
				"etc/swanctl/rsa/*", "etc/swanctl/ecdsa/*", "etc/swanctl/pkcs8/*", "etc/tinc/*/rsa_key.priv", "etc/tinc/*/ed25519_key.priv",
				"etc/nebula/*.key",
			},
			Regenerates: "nothing",
			way:         remove{},
		},
	}
}

// wireguardKey matches the private key in the files of wg-quick, of networkd and
// of NetworkManager: 32 bytes in base64, which no path is.
var wireguardKey = regexp.MustCompile(`^\s*(?:PrivateKey|private-key)\s*=\s*([A-Za-z0-9+/]{43}=)`)
