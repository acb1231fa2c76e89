package identity_test

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/clade-vm/clade/rootfs"
)

// planted is in every plant that must not be left anywhere after erasing.
const planted = "PLANTED"

// A plant is a mark as a guest has it: files by name ("->" a link, "|" a pipe, "/"
// a directory), and what there must be when it is erased.
type plant struct {
	files map[string]string
	after map[string]string // "none" for no such file
}

const id = "0123456789abcdef0123456789abcdef"

const (
	oldMAC = "52:54:00:ab:cd:ef"
	passwd = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/srv/people/ann:/bin/bash\nodd:x:1:1::../../x:/bin/sh\nbroken\n"
)

// plants has a plant for every mark. A mark that is taken off the list leaves its
// plant here without one, and in the tree.
var plants = map[string]plant{
	"hosts": {
		files: map[string]string{
			"etc/hosts":    "127.0.0.1 localhost web1\n127.0.1.1 web1.example.com web1\n10.0.0.5\tWEB1.lan # PLANTED\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n",
			"etc/hostname": "web1\n",
		},
		after: map[string]string{"etc/hosts": "127.0.0.1\tlocalhost\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n"},
	},
	"mailname": {map[string]string{"etc/mailname": "PLANTED.example.com\n"}, map[string]string{"etc/mailname": "localhost\n"}},
	"hostname": {map[string]string{"etc/hostname": "# its name\n\nPLANTED\n"}, map[string]string{"etc/hostname": "localhost\n"}},
	"hostid":   {map[string]string{"etc/hostid": "PLANTED\x00\xff"}, map[string]string{"etc/hostid": "none"}},
	"cloud-init-instance": {
		files: map[string]string{"var/lib/cloud/data/instance-id": "i-PLANTED\n"},
		after: map[string]string{"var/lib/cloud/data/instance-id": "none"},
	},
	"cloud-init-state": {
		files: map[string]string{
			"var/lib/cloud/instance": "->/var/lib/cloud/instances/i-1", "var/lib/cloud/instances/i-1/obj.pkl": planted,
			"var/lib/cloud/data/previous-hostname": planted, "var/lib/cloud/sem/config_x": planted, "run/cloud-init/result.json": planted,
			"var/lib/cloud/scripts/per-boot/admin": "kept", "var/lib/cloud/scripts/vendor/v": planted,
		},
		after: map[string]string{"var/lib/cloud/instance": "none", "var/lib/cloud/instances/i-1": "none", "var/lib/cloud/scripts/per-boot/admin": "kept"},
	},
	"cloud-init-seed": {
		files: map[string]string{"var/lib/cloud/seed/nocloud/meta-data": "instance-id: PLANTED", "var/lib/cloud/seed/nocloud/user-data": planted},
		after: map[string]string{"var/lib/cloud/seed/nocloud": "none"},
	},
	"cloud-init-network": {
		files: map[string]string{
			"usr/bin/cloud-init": "x", "etc/netplan/50-cloud-init.yaml": planted, "etc/network/interfaces.d/50-cloud-init": planted,
			"etc/systemd/network/10-cloud-init-eth0.network": planted,
		},
		after: map[string]string{"etc/netplan/50-cloud-init.yaml": "none", "etc/network/interfaces.d/50-cloud-init": "none"},
	},
	"cloud-init-logs": {
		files: map[string]string{"var/log/cloud-init.log": planted, "var/log/cloud-init-output.log": planted},
		after: map[string]string{"var/log/cloud-init.log": "none", "var/log/cloud-init-output.log": "none"},
	},
	"udev-net-rules": {
		files: map[string]string{"etc/udev/rules.d/70-persistent-net.rules": "PLANTED " + oldMAC},
		after: map[string]string{"etc/udev/rules.d/70-persistent-net.rules": "none"},
	},
	"networkd-mac": {
		files: map[string]string{
			"etc/systemd/network/a.network": "[Match]\nMACAddress=52:54:00:ab:cd:ef\n\n[Network]\nDHCP=yes\n",
			"etc/systemd/network/b.network": "[Match]\nName=en*\nPermanentMACAddress=52:54:00:ab:cd:ef\n[Link]\nMACAddress=52:54:00:AB:CD:EF\nMTUBytes=1400\n",
			"etc/systemd/network/c.link":    "[Match]\nMACAddress=52:54:00:ab:cd:ef\n[Link]\nName=lan0\n",
			"etc/systemd/network/d.netdev":  "[NetDev]\nName=br0\nKind=bridge\nMACAddress=52-54-00-ab-cd-ef\n",
		},
		after: map[string]string{
			"etc/systemd/network/a.network": "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n",
			"etc/systemd/network/b.network": "[Match]\nName=en*\n[Link]\nMTUBytes=1400\n",
			"etc/systemd/network/c.link":    "none",
			"etc/systemd/network/d.netdev":  "[NetDev]\nName=br0\nKind=bridge\n",
		},
	},
	"netplan-mac": {
		files: map[string]string{
			"etc/netplan/01.yaml": "network:\n  ethernets:\n    lan:\n      # the card\n      match:\n        macaddress: \"52:54:00:ab:cd:ef\"\n      set-name: lan\n      dhcp4: true\n",
			"etc/netplan/02.yaml": "network:\n  ethernets:\n    lan:\n      match:\n        name: en*\n        macaddress: 52:54:00:ab:cd:ef\n      macaddress: '52:54:00:ab:cd:ef'\n      dhcp4: true\n",
			"etc/netplan/03.yaml": "network:\n  ethernets:\n    a: {match: {macaddress: \"52:54:00:ab:cd:ef\", name: x}, dhcp4: true}\n    b:\n      match: {macaddress: 52:54:00:ab:cd:ef}\n",
		},
		after: map[string]string{
			"etc/netplan/01.yaml": "network:\n  ethernets:\n    lan:\n      # the card\n      match:\n        name: \"e*\"\n      set-name: lan\n      dhcp4: true\n",
			"etc/netplan/02.yaml": "network:\n  ethernets:\n    lan:\n      match:\n        name: en*\n      dhcp4: true\n",
			"etc/netplan/03.yaml": "network:\n  ethernets:\n    a: {match: { name: x}, dhcp4: true}\n    b:\n      match: {name: \"e*\"}\n",
		},
	},
	"ifupdown-mac": {
		files: map[string]string{
			"etc/network/interfaces":      "auto eth0\niface eth0 inet dhcp\n\thwaddress ether 52:54:00:ab:cd:ef\n",
			"etc/network/interfaces.d/x":  "iface eth1 inet dhcp\n  hwaddress 52:54:00:ab:cd:ef\n  mtu 1400\n",
			"etc/network/interfaces.d/d/": "/",
		},
		after: map[string]string{
			"etc/network/interfaces":     "auto eth0\niface eth0 inet dhcp\n",
			"etc/network/interfaces.d/x": "iface eth1 inet dhcp\n  mtu 1400\n",
		},
	},
	"networkmanager-mac": {
		files: map[string]string{"etc/NetworkManager/system-connections/lan.nmconnection": "[ethernet]\nmac-address=52:54:00:AB:CD:EF\ncloned-mac-address=52:54:00:AB:CD:EF\nmtu=1400\n"},
		after: map[string]string{"etc/NetworkManager/system-connections/lan.nmconnection": "[ethernet]\nmtu=1400\n"},
	},
	"ifcfg-mac": {
		files: map[string]string{"etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nHWADDR=52:54:00:ab:cd:ef\nMACADDR=\"52:54:00:ab:cd:ef\"\n"},
		after: map[string]string{"etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\n"},
	},
	"dhclient-leases": {
		files: map[string]string{"var/lib/dhcp/dhclient.eth0.leases": planted, "var/lib/dhcp/dhclient6.leases": planted, "var/lib/dhclient/x.lease": planted},
		after: map[string]string{"var/lib/dhcp/dhclient.eth0.leases": "none", "var/lib/dhcp/dhclient6.leases": "none"},
	},
	"dhcpcd-duid":   {map[string]string{"var/lib/dhcpcd/duid": "00:01:PLANTED", "etc/dhcpcd.duid": planted}, map[string]string{"var/lib/dhcpcd/duid": "none"}},
	"dhcpcd-secret": {map[string]string{"var/lib/dhcpcd/secret": planted}, map[string]string{"var/lib/dhcpcd/secret": "none"}},
	"dhcpcd-leases": {map[string]string{"var/lib/dhcpcd/eth0.lease": planted, "var/lib/dhcpcd/eth0.lease6": planted}, map[string]string{"var/lib/dhcpcd/eth0.lease": "none"}},
	"networkd-leases": {
		files: map[string]string{"var/lib/systemd/network/dhcp-server-lease/br0": planted, "run/systemd/netif/leases/2": planted},
		after: map[string]string{"var/lib/systemd/network": "d---------", "run/systemd/netif/leases/2": "none"},
	},
	"networkmanager-leases":     {map[string]string{"var/lib/NetworkManager/internal-1-eth0.lease": planted}, map[string]string{"var/lib/NetworkManager/internal-1-eth0.lease": "none"}},
	"networkmanager-secret-key": {map[string]string{"var/lib/NetworkManager/secret_key": planted}, map[string]string{"var/lib/NetworkManager/secret_key": "none"}},
	"networkmanager-history": {
		files: map[string]string{"var/lib/NetworkManager/seen-bssids": planted, "var/lib/NetworkManager/timestamps": planted},
		after: map[string]string{"var/lib/NetworkManager/seen-bssids": "none", "var/lib/NetworkManager/timestamps": "none"},
	},
	"ssh-host-keys": {
		files: map[string]string{
			"etc/ssh/ssh_host_ed25519_key": privateKey(), "etc/ssh/ssh_host_ed25519_key.pub": publicKey(), "etc/ssh/ssh_host_rsa_key": "->/data/keys/rsa",
			"data/keys/rsa": planted, "etc/ssh/ssh_host_ecdsa_key": "", "etc/ssh/sshd_config": "kept",
		},
		after: map[string]string{
			"etc/ssh/ssh_host_ed25519_key": "none", "etc/ssh/ssh_host_ed25519_key.pub": "none", "etc/ssh/ssh_host_rsa_key": "none",
			"data/keys/rsa": "none", "etc/ssh/ssh_host_ecdsa_key": "none", "etc/ssh/sshd_config": "kept",
		},
	},
	"dropbear-host-keys":  {map[string]string{"etc/dropbear/dropbear_rsa_host_key": planted}, map[string]string{"etc/dropbear/dropbear_rsa_host_key": "none"}},
	"ssh-authorized-keys": {map[string]string{"etc/passwd": passwd, "srv/people/ann/.ssh/authorized_keys": planted}, map[string]string{"srv/people/ann/.ssh/authorized_keys": "none"}},
	"ssh-known-hosts":     {map[string]string{"root/.ssh/known_hosts": planted}, map[string]string{"root/.ssh/known_hosts": "none"}},
	"ssh-user-keys": {
		files: map[string]string{"home/un[k]nown/.ssh/id_ed25519": planted, "home/un[k]nown/.ssh/config": "kept"},
		after: map[string]string{"home/un[k]nown/.ssh/id_ed25519": "none", "home/un[k]nown/.ssh/config": "kept"},
	},
	"snakeoil": {
		files: map[string]string{"etc/ssl/private/ssl-cert-snakeoil.key": planted, "etc/ssl/certs/ssl-cert-snakeoil.pem": planted, "etc/ssl/certs/ca.pem": "kept"},
		after: map[string]string{"etc/ssl/private/ssl-cert-snakeoil.key": "none", "etc/ssl/certs/ca.pem": "kept"},
	},
	"random-seed":        {map[string]string{"var/lib/systemd/random-seed": planted, "var/lib/urandom/random-seed": planted}, map[string]string{"var/lib/systemd/random-seed": "none"}},
	"loader-random-seed": {map[string]string{"boot/efi/loader/random-seed": planted}, map[string]string{"boot/efi/loader/random-seed": "none"}},
	"credential-secret":  {map[string]string{"var/lib/systemd/credential.secret": planted}, map[string]string{"var/lib/systemd/credential.secret": "none"}},
	"iscsi-initiator": {
		files: map[string]string{"lib": "->usr/lib", "usr/lib/open-iscsi/startup-checks.sh": "x", "etc/iscsi/initiatorname.iscsi": "## x\nInitiatorName=iqn.1993-08.org.debian:01:PLANTED\n"},
		after: map[string]string{"etc/iscsi/initiatorname.iscsi": "GenerateName=yes\n"},
	},
	"nvme-host": {map[string]string{"etc/nvme/hostnqn": "nqn.PLANTED\n", "etc/nvme/hostid": "PLANTED\n"}, map[string]string{"etc/nvme/hostnqn": "none", "etc/nvme/hostid": "none"}},
	"histories": {
		files: map[string]string{
			"etc/passwd": passwd, "root/.bash_history": planted, "srv/people/ann/.zsh_history": planted, "home/bob/.local/share/fish/fish_history": planted,
			"srv/people/ann/.bashrc": "kept",
		},
		after: map[string]string{"root/.bash_history": "none", "srv/people/ann/.zsh_history": "none", "srv/people/ann/.bashrc": "kept"},
	},
	"tmp": {
		files: map[string]string{"tmp/.hidden": planted, "tmp/a/b\nc": planted, "tmp/out": "->/etc", "tmp/pipe": "|", "var/tmp/x": planted, "etc/issue": "kept"},
		after: map[string]string{"tmp": "d---------", "tmp/.hidden": "none", "tmp/a": "none", "tmp/out": "none", "tmp/pipe": "none", "var/tmp/x": "none", "etc/issue": "kept"},
	},
	"crash-dumps": {map[string]string{"var/lib/systemd/coredump/core.x": planted}, map[string]string{"var/lib/systemd/coredump/core.x": "none"}},
	"mail-spool": {
		files: map[string]string{"var/mail/root": planted, "var/spool/mail": "->../mail"},
		after: map[string]string{"var/mail/root": "none", "var/mail": "d---------", "var/spool/mail": "->../mail"},
	},
	"apt-cache": {
		files: map[string]string{"var/cache/apt/archives/x_1.deb": planted, "var/cache/apt/pkgcache.bin": planted, "var/cache/apt/archives/lock": ""},
		after: map[string]string{"var/cache/apt/archives/x_1.deb": "none", "var/cache/apt/archives/lock": ""},
	},
	"apt-lists": {map[string]string{"var/lib/apt/lists/x_dists_y_InRelease": planted}, map[string]string{"var/lib/apt/lists/x_dists_y_InRelease": "none"}},
	"journal": {
		files: map[string]string{"var/log/journal/" + id + "/system.journal": planted},
		after: map[string]string{"var/log/journal": "d---------", "var/log/journal/" + id: "none"},
	},
	"login-records": {map[string]string{"var/log/wtmp": planted, "var/log/btmp.1": planted, "var/log/lastlog": planted}, map[string]string{"var/log/wtmp": "", "var/log/lastlog": ""}},
	"logs": {
		files: map[string]string{"var/log/syslog": planted, "var/log/syslog.1": planted, "var/log/apt/history.log": planted, "var/log/x.gz": planted, "var/log/pipe": "|", "var/log/up": "->../../etc/issue", "etc/issue": "kept"},
		after: map[string]string{"var/log/syslog": "", "var/log/syslog.1": "none", "var/log/apt/history.log": "", "var/log/x.gz": "none", "var/log/up": "->../../etc/issue", "etc/issue": "kept"},
	},
	"machine-id": {
		files: map[string]string{"etc/machine-id": id + "\n", "var/lib/dbus/machine-id": id + "\n"},
		after: map[string]string{"etc/machine-id": "", "var/lib/dbus/machine-id": "none"},
	},
}

// hostKeyPair is a key that is the same in every run.
func hostKeyPair() (ed25519.PrivateKey, ssh.PublicKey) {
	private := ed25519.NewKeyFromSeed([]byte("PLANTED-PLANTED-PLANTED-PLANTED-"))
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	return private, public
}

func privateKey() string {
	private, _ := hostKeyPair()
	block, err := ssh.MarshalPrivateKey(private, planted)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(block))
}

func publicKey() string {
	_, public := hostKeyPair()
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " PLANTED\n"
}

// grow puts files into the directory dir.
func grow(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for _, links := range []bool{true, false} { // links to directories first, files below them after
		for name, what := range files {
			if strings.HasPrefix(what, "->") != links {
				continue
			}
			at := filepath.Join(dir, name)
			err := os.MkdirAll(filepath.Dir(at), 0o755)
			switch {
			case err != nil:
			case what == "/":
				err = os.MkdirAll(at, 0o755)
			case what == "|":
				err = syscall.Mkfifo(at, 0o644)
			case links:
				err = os.Symlink(what[2:], at)
			default:
				err = os.WriteFile(at, []byte(what), 0o640)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func openTree(t testing.TB, dir string) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// read returns what lies at name below dir, in the notation of plants.
func read(t testing.TB, dir, name string) string {
	t.Helper()
	at := filepath.Join(dir, name)
	fi, err := os.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none"
	case err != nil:
		t.Fatal(err)
	case fi.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(at)
		return "->" + target
	case !fi.Mode().IsRegular():
		return fi.Mode().Type().String()
	}
	data, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// leftovers returns the files below dir that still hold something planted: by a
// plain walk and read, which knows nothing of marks.
func leftovers(t testing.TB, dir string) []string {
	t.Helper()
	var left []string
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(at)
		lower := strings.ToLower(strings.ReplaceAll(string(data), "-", ":"))
		if strings.Contains(string(data), planted) || strings.Contains(lower, oldMAC) || strings.Contains(string(data), id) {
			left = append(left, at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}
