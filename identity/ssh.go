package identity

import (
	"bytes"

	"golang.org/x/crypto/ssh"
)

// sshMarks: the host keys go by default. What is in the homes is the users' and by
// default stays: an administrator who puts an authorized key into the master
// wants it in the clones, and the keys that cloud-init put there cannot be told
// from these; it adds its own again. It is long because it is a table.
func sshMarks() []Mark {
	return []Mark{
		{
			Name: "ssh-host-keys", Kind: Secret, Default: true, Where: "any",
			Why:         "who has one twin's key can pass for all of them, and clients cannot tell them apart",
			Source:      "man 8 sshd (AUTHENTICATION, FILES)",
			Paths:       []string{"etc/ssh/ssh_host_*"},
			Regenerates: "cloud-init (ssh module); on Debian without it only clade-firstboot.service, Fedora has sshd-keygen",
			way:         remove{value: hostKey},
			Firstboot: Piece{
				Needs:   []string{"usr/sbin/sshd", "usr/bin/ssh-keygen"},
				Missing: "/etc/ssh/ssh_host_*_key",
				Command: "/usr/bin/ssh-keygen -A",
				Before:  []string{"ssh.service", "sshd.service"},
			},
		},
		{
			Name: "dropbear-host-keys", Kind: Secret, Default: true, Where: "any",
			Why:         "as the host keys of OpenSSH",
			Source:      "man 8 dropbear (-R, -r)",
			Paths:       []string{"etc/dropbear/dropbear_*_host_key", "etc/dropbear/dropbear_*_host_key.pub"},
			Regenerates: "clade-firstboot.service: Debian's dropbear makes them at installation only",
			way:         remove{},
			Firstboot: Piece{
				Needs:   []string{"usr/sbin/dropbear", "usr/bin/dropbearkey", "etc/dropbear"},
				Missing: "/etc/dropbear/dropbear_*_host_key",
				Command: "/usr/bin/dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key",
				Before:  []string{"dropbear.service"},
			},
		},
		{
			Name: "tinyssh-host-keys", Kind: Secret, Default: true, Where: "Debian, Ubuntu, Arch",
			Why:         "as the host keys of OpenSSH",
			Source:      "man 8 tinysshd-makekey; https://salsa.debian.org/debian/tinyssh/-/blob/debian/master/debian/tinysshd@.service",
			Paths:       []string{"etc/tinyssh/sshkeydir/*", "etc/tinyssh/sshkeydir"},
			Regenerates: "tinysshd@.service of Debian, at the first connection; clade-firstboot.service otherwise",
			way:         remove{},
			Firstboot: Piece{
				Needs:   []string{"usr/sbin/tinysshd-makekey", "etc/tinyssh"},
				Missing: "/etc/tinyssh/sshkeydir",
				Command: "/usr/sbin/tinysshd-makekey -q /etc/tinyssh/sshkeydir",
				Before:  []string{"tinyssh.service"},
			},
		},
		{
			// Off: the copies in the initramfs stay until it is built anew, so that
			// without these files the next build makes a system that cannot be unlocked.
			Name: "dropbear-initramfs-keys", Kind: Secret, Default: false, Where: "Debian, Ubuntu",
			Why:         "the keys of the server that unlocks disks at boot are the same on every clone",
			Source:      "man 8 dropbear; https://salsa.debian.org/debian/dropbear/-/blob/debian/latest/debian/README.initramfs",
			Paths:       []string{"etc/dropbear/initramfs/dropbear_*_host_key*", "etc/dropbear-initramfs/dropbear_*_host_key*"},
			Regenerates: "nothing: dropbearkey, then update-initramfs -u",
			way:         remove{},
		},
		{
			Name: "ssh-authorized-keys", Kind: Residue, Default: false, Where: "any",
			Why:         "who could enter the master can enter every clone",
			Source:      "man 8 sshd (AUTHORIZED_KEYS FILE FORMAT)",
			Paths:       []string{"~/.ssh/authorized_keys", "~/.ssh/authorized_keys2"},
			Regenerates: "cloud-init adds the keys it is given; others must be put there",
			way:         remove{},
		},
		{
			Name: "ssh-known-hosts", Kind: Residue, Default: false, Where: "any",
			Why:         "tells which machines the master's users have visited",
			Source:      "man 8 sshd (SSH_KNOWN_HOSTS FILE FORMAT)",
			Paths:       []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts.old", "etc/ssh/ssh_known_hosts"},
			Regenerates: "ssh",
			way:         remove{},
		},
		{
			Name: "ssh-user-keys", Kind: Secret, Default: false, Where: "any",
			Why:         "a user's private key on every clone opens whatever it opens",
			Source:      "man 1 ssh-keygen (FILES)",
			Paths:       []string{"~/.ssh/id_*"},
			Regenerates: "nothing: ssh-keygen, by the user",
			way:         remove{value: hostKey},
		},
	}
}

// hostKey is the value of a key file: the fingerprint that ssh prints, the same
// for the private and the public half, where the file can be read as a key.
func hostKey(data []byte) string {
	if key, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		return ssh.FingerprintSHA256(key)
	}
	if bytes.HasPrefix(data, []byte("-----BEGIN ")) {
		if key, err := ssh.ParsePrivateKey(data); err == nil {
			return ssh.FingerprintSHA256(key.PublicKey())
		}
	}
	return fingerprint(data)
}
