package identitytest

import (
	"crypto/ed25519"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/ssh"
)

func sshPlants() map[string]Plant {
	return map[string]Plant{
		"ssh-host-keys": {
			Files: map[string]string{
				"etc/ssh/ssh_host_ed25519_key": PrivateKey(), "etc/ssh/ssh_host_ed25519_key.pub": PublicKey(), "etc/ssh/ssh_host_rsa_key": "->/srv/keys/rsa",
				"srv/keys/rsa": Planted, "etc/ssh/ssh_host_ecdsa_key": "", "etc/ssh/sshd_config": "kept",
			},
			After: map[string]string{
				"etc/ssh/ssh_host_ed25519_key": None, "etc/ssh/ssh_host_ed25519_key.pub": None, "etc/ssh/ssh_host_rsa_key": None,
				"srv/keys/rsa": None, "etc/ssh/ssh_host_ecdsa_key": None, "etc/ssh/sshd_config": "kept",
			},
		},
		"dropbear-host-keys":  {map[string]string{"etc/dropbear/dropbear_rsa_host_key": Planted}, map[string]string{"etc/dropbear/dropbear_rsa_host_key": None}},
		"ssh-authorized-keys": {map[string]string{"home/ann/.ssh/authorized_keys": Planted}, map[string]string{"home/ann/.ssh/authorized_keys": None}},
		"ssh-known-hosts":     {map[string]string{"root/.ssh/known_hosts": Planted}, map[string]string{"root/.ssh/known_hosts": None}},
		"ssh-user-keys": {
			Files: map[string]string{"home/un[k]nown/.ssh/id_ed25519": Planted, "home/un[k]nown/.ssh/config": "kept"},
			After: map[string]string{"home/un[k]nown/.ssh/id_ed25519": None, "home/un[k]nown/.ssh/config": "kept"},
		},
		"snakeoil": {
			Files: map[string]string{"etc/ssl/private/ssl-cert-snakeoil.key": Planted, "etc/ssl/certs/ssl-cert-snakeoil.pem": Planted, "etc/ssl/certs/ca.pem": "kept"},
			After: map[string]string{"etc/ssl/private/ssl-cert-snakeoil.key": None, "etc/ssl/certs/ca.pem": "kept"},
		},
	}
}

// HostKey is the key of the plant of host keys, the same in every run.
func HostKey() (ed25519.PrivateKey, ssh.PublicKey) {
	private := ed25519.NewKeyFromSeed([]byte("PLANTED-PLANTED-PLANTED-PLANTED-"))
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	return private, public
}

// PrivateKey is its private half as ssh-keygen writes it.
func PrivateKey() string {
	private, _ := HostKey()
	block, err := ssh.MarshalPrivateKey(private, Planted)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(block))
}

// PublicKey is its public half as ssh-keygen writes it.
func PublicKey() string {
	_, public := HostKey()
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " PLANTED\n"
}
