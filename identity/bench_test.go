package identity_test

import (
	"fmt"
	"testing"

	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/rootfs"
)

// debianTree is a guest as Debian has it: some six thousand files, most of them in
// the places that marks look at, with the marks that such a guest has.
func debianTree(b *testing.B) *rootfs.Tree {
	b.Helper()
	dir := b.TempDir()
	files := map[string]string{
		"usr/lib/systemd/systemd": "x", "usr/bin/cloud-init": "x", "usr/sbin/sshd": "x", "etc/machine-id": id + "\n", "etc/hostname": "golden\n",
		"etc/hosts": "127.0.0.1 localhost\n127.0.1.1 golden\n", "etc/ssh/ssh_host_ed25519_key": "k", "etc/ssh/ssh_host_ed25519_key.pub": "k",
		"var/lib/systemd/random-seed": "x", "var/lib/dhcp/dhclient.eth0.leases": "x", "var/lib/cloud/data/instance-id": "i-1\n",
		"var/lib/cloud/instances/i-1/obj.pkl": "x", "var/log/journal/x/system.journal": "x", "var/log/wtmp": "x", "tmp/x": "x",
		"var/run": "->/run", "run/x": "x", "bin": "->usr/bin", "sbin": "->usr/sbin", "lib": "->usr/lib", "var/spool/mail": "->../mail", "var/mail/x": "",
		"etc/passwd": "root:x:0:0::/root:/bin/bash\n",
	}
	many := func(form string, n int) {
		for i := range n {
			files[fmt.Sprintf(form, i)] = "x"
		}
	}
	for _, form := range []string{"etc/conf%d", "etc/d%d/conf", "var/lib/d%d/state", "var/cache/d%d/x", "var/log/x%d.log", "opt/d%d/x", "var/spool/d%d/x"} {
		many(form, 80)
	}
	for i := range 25 { // system users, most of whom have no home
		files["etc/passwd"] += fmt.Sprintf("s%d:x:%d:%d::/nonexistent/%d:/usr/sbin/nologin\n", i, i, i, i)
	}
	for i := range 5 {
		files["etc/passwd"] += fmt.Sprintf("u%d:x:%d:%d::/home/u%d:/bin/bash\n", i, 1000+i, 1000+i, i)
		for _, name := range []string{".bash_history", ".bashrc", ".profile", ".ssh/authorized_keys", ".config/a/b", ".cache/a/b", ".local/share/a/b"} {
			files[fmt.Sprintf("home/u%d/%s", i, name)] = "x"
		}
	}
	many("usr/bin/program%d", 1200)
	many("usr/lib/x%d", 800)
	many("usr/share/doc/p%d/copyright", 600)
	many("var/lib/dpkg/info/p%d.list", 2500)
	many("var/lib/apt/lists/x_dists_%d", 40)
	grow(b, dir, files)
	return openTree(b, dir)
}

// BenchmarkReadAll is what the audit of one machine costs.
func BenchmarkReadAll(b *testing.B) {
	tree, marks := debianTree(b), identity.All()
	for b.Loop() {
		if found, err := identity.ReadAll(tree, marks); err != nil || len(found) < 10 {
			b.Fatal(found, err)
		}
	}
}

// BenchmarkReadEach is the same, mark by mark.
func BenchmarkReadEach(b *testing.B) {
	tree, marks := debianTree(b), identity.All()
	for b.Loop() {
		for _, m := range marks {
			if _, err := m.Read(tree); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkReadNothing is what the list itself costs: no mark is there.
func BenchmarkReadNothing(b *testing.B) {
	tree, marks := openTree(b, b.TempDir()), identity.All()
	for b.Loop() {
		if _, err := identity.ReadAll(tree, marks); err != nil {
			b.Fatal(err)
		}
	}
}
