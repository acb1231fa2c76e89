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
		"dropbear-host-keys":  gone("etc/dropbear/dropbear_rsa_host_key", "etc/dropbear/dropbear_rsa_host_key.pub"),
		"ssh-authorized-keys": gone("home/ann/.ssh/authorized_keys", "root/.ssh/authorized_keys2"),
		"ssh-known-hosts":     gone("root/.ssh/known_hosts", "home/ann/.ssh/known_hosts.old", "etc/ssh/ssh_known_hosts"),
		"ssh-user-keys": {
			Files: map[string]string{"home/un[k]nown/.ssh/id_ed25519": Planted, "home/un[k]nown/.ssh/config": "kept"},
			After: map[string]string{"home/un[k]nown/.ssh/id_ed25519": None, "home/un[k]nown/.ssh/config": "kept"},
		},
		"tinyssh-host-keys":       gone("etc/tinyssh/sshkeydir/.ed25519.sk"),
		"dropbear-initramfs-keys": gone("etc/dropbear/initramfs/dropbear_ed25519_host_key", "etc/dropbear-initramfs/dropbear_ed25519_host_key"),
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
