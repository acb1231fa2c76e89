package identity_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
)

func find(t testing.TB, name string) identity.Mark {
	t.Helper()
	m, ok := identity.Find(name)
	if !ok {
		t.Fatalf("no mark %s", name)
	}
	return m
}

const systemd = "usr/lib/systemd/systemd"

func TestMachineIDStates(t *testing.T) {
	m := find(t, "machine-id")
	for _, test := range []struct {
		name  string
		files map[string]string
		found string // "path=value note", joined
		etc   string // after erasing
		dbus  string
	}{
		{"nothing, no systemd", nil, "", "none", "none"},
		{"missing", map[string]string{systemd: "x", "etc": "/"}, "etc/machine-id= missing: systemd takes every boot for the first", "", "none"},
		{"empty", map[string]string{"etc/machine-id": ""}, "", "", "none"},
		{"uninitialized", map[string]string{"etc/machine-id": "uninitialized\n"}, "etc/machine-id= uninitialized: systemd takes the next boot for the first", "", "none"},
		{"not one", map[string]string{"etc/machine-id": "xyz"}, "etc/machine-id=xyz not a machine-id", "", "none"},
		{"zeros", map[string]string{"etc/machine-id": strings.Repeat("0", 32)}, "etc/machine-id=" + strings.Repeat("0", 32) + " not a machine-id", "", "none"},
		{"linked copy", map[string]string{"etc/machine-id": id, "var/lib/dbus/machine-id": "->/etc/machine-id"}, "etc/machine-id=" + id, "", "->/etc/machine-id"},
		{"relative link", map[string]string{"etc/machine-id": id, "var/lib/dbus/machine-id": "->../../../etc/machine-id"}, "etc/machine-id=" + id, "", "->../../../etc/machine-id"},
		{"other link", map[string]string{"etc/machine-id": "", "var/lib/dbus/machine-id": "->/srv/id", "srv/id": id}, "var/lib/dbus/machine-id=" + id, "", "none"},
		{"copy only", map[string]string{"var/lib/dbus/machine-id": id}, "var/lib/dbus/machine-id=" + id, "none", "none"},
		{"link to the copy", map[string]string{"etc/machine-id": "->/var/lib/dbus/machine-id", "var/lib/dbus/machine-id": id}, "etc/machine-id=" + id + " a link; var/lib/dbus/machine-id=" + id, "", "none"},
		{"pipe", map[string]string{"etc/machine-id": "|", systemd: "x"}, "etc/machine-id= not a regular file", "", "none"},
		{"directory", map[string]string{"etc/machine-id/x": "x"}, "etc/machine-id= not a regular file", "", "none"},
		{"loop", map[string]string{"etc/machine-id": "->machine-id"}, "etc/machine-id= a link", "", "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			grow(t, dir, test.files)
			tree := openTree(t, dir)
			found, err := m.Read(tree)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, strings.TrimSpace(f.Path+"="+f.Value+" "+f.Note))
			}
			if strings.Join(got, "; ") != test.found {
				t.Errorf("found %q, want %q", strings.Join(got, "; "), test.found)
			}
			if err := m.Erase(tree); err != nil {
				t.Fatal(err)
			}
			if got := read(t, dir, "etc/machine-id"); got != test.etc {
				t.Errorf("etc/machine-id after erasing: %q, want %q", got, test.etc)
			}
			if got := read(t, dir, "var/lib/dbus/machine-id"); got != test.dbus {
				t.Errorf("the D-Bus copy after erasing: %q, want %q", got, test.dbus)
			}
			if found, err := m.Read(tree); len(found) != 0 || err != nil {
				t.Errorf("after erasing: %+v, %v", found, err)
			}
		})
	}
}

func TestIscsiWhereAMissingFileIsMade(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{"etc/iscsi/initiatorname.iscsi": "InitiatorName=iqn.x\n"})
	if err := find(t, "iscsi-initiator").Erase(openTree(t, dir)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "etc/iscsi/initiatorname.iscsi"); got != "none" {
		t.Errorf("initiatorname.iscsi is %q, want none", got)
	}
}

// Without cloud-init to write them again, the network files stay.
func TestCloudInitNetworkStays(t *testing.T) {
	m := find(t, "cloud-init-network")
	const netplan = "etc/netplan/50-cloud-init.yaml"
	for name, files := range map[string]map[string]string{
		"no cloud-init":   nil,
		"switched off":    {"usr/bin/cloud-init": "x", "etc/cloud/cloud-init.disabled": ""},
		"network off":     {"usr/bin/cloud-init": "x", "etc/cloud/cloud.cfg.d/99.cfg": "network: {config: disabled}\n"},
		"network off too": {"usr/bin/cloud-init": "x", "etc/cloud/cloud.cfg": "x: y\nnetwork:\n  config: disabled\n"},
	} {
		dir := t.TempDir()
		grow(t, dir, files)
		grow(t, dir, map[string]string{netplan: "network: {}\n"})
		tree := openTree(t, dir)
		if found, err := m.Read(tree); len(found) != 0 || err != nil {
			t.Errorf("%s: found %+v, %v", name, found, err)
		}
		if err := m.Erase(tree); err != nil || read(t, dir, netplan) == "none" {
			t.Errorf("%s: the network file is %s, %v", name, read(t, dir, netplan), err)
		}
	}
}

func TestFindingsArePrintable(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{
		"etc/ssh/ssh_host_\x1b[2J\n\xff": "k", "etc/hostname": "a\x1b]0;evil\x07", "etc/mailname": strings.Repeat("long", 400),
		"etc/nvme/hostnqn": "nqn\u202e\x00",
	})
	tree := openTree(t, dir)
	n := 0
	for _, m := range identity.All() {
		found, err := m.Read(tree)
		if err != nil {
			t.Error(err)
		}
		for _, f := range found {
			n++
			for _, s := range []string{f.Path, f.Value, f.Note} {
				if strings.ContainsAny(s, "\x1b\n\x07\x00\u202e") || !utf8.ValidString(s) || len(s) > 250 {
					t.Errorf("%s: %+v", m.Name, f)
				}
			}
		}
	}
	if n != 4 {
		t.Errorf("%d findings, want 4", n)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{
		"etc/hostname": "web1\n", "etc/machine-id": id + "\n", "etc/ssh/ssh_host_ed25519_key.pub": identitytest.PublicKey(), "etc/ssh/ssh_host_rsa_key.pub": "junk",
		"var/lib/cloud/data/instance-id": "i-1\n", "var/lib/systemd/random-seed": "seed",
	})
	got, err := identity.Read(openTree(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	_, public := identitytest.HostKey()
	if got.Hostname != "web1" || got.MachineID != id || got.InstanceID != "i-1" || !strings.HasPrefix(got.RandomSeed, "sha256:19b25856e1") ||
		len(got.HostKeys) != 1 || got.HostKeys[0] != (identity.HostKey{Type: "ssh-ed25519", Fingerprint: ssh.FingerprintSHA256(public)}) {
		t.Errorf("%+v", got)
	}
	found, err := find(t, "ssh-host-keys").Read(fstest.MapFS{
		"etc/ssh/ssh_host_ed25519_key":     {Data: []byte(identitytest.PrivateKey())},
		"etc/ssh/ssh_host_ed25519_key.pub": {Data: []byte(identitytest.PublicKey())},
	})
	if len(found) != 2 || err != nil || found[0].Value != ssh.FingerprintSHA256(public) || found[1].Value != found[0].Value {
		t.Errorf("both halves of a key: %+v, %v", found, err)
	}
	empty, err := identity.Read(fstest.MapFS{})
	if err != nil || empty.Hostname+empty.MachineID+empty.InstanceID+empty.RandomSeed != "" {
		t.Errorf("of an empty tree: %+v, %v", empty, err)
	}
}

// BIND starts without its key, and then cannot be reloaded.
func TestFirstbootOfBIND(t *testing.T) {
	const make = "ls /etc/bind/rndc.key >/dev/null 2>&1 || /usr/sbin/rndc-confgen -a -u bind'"
	dir := t.TempDir()
	grow(t, dir, map[string]string{systemd: "x", "usr/sbin/named": "x", "etc/bind/named.conf": "x"})
	if unit := identity.Firstboot(openTree(t, dir), identity.All()); unit != "" {
		t.Errorf("without what makes keys: %s", unit)
	}
	grow(t, dir, map[string]string{"usr/sbin/rndc-confgen": "x"})
	unit := identity.Firstboot(openTree(t, dir), identity.All())
	if !strings.Contains(unit, make) || !strings.Contains(unit, "\nBefore=named.service bind9.service\n") {
		t.Errorf("the unit lacks the key of BIND:\n%s", unit)
	}
}

func TestFirstboot(t *testing.T) {
	debian := map[string]string{systemd: "x", "usr/sbin/sshd": "x", "usr/bin/ssh-keygen": "x", "bin": "->usr/bin", "sbin": "->usr/sbin"}
	dir := t.TempDir()
	grow(t, dir, debian)
	tree := openTree(t, dir)
	unit := identity.Firstboot(tree, identity.All())
	for _, want := range []string{
		"\nConditionPathExistsGlob=|!/etc/ssh/ssh_host_*_key\n", "|| /usr/bin/ssh-keygen -A'\n", "\nBefore=ssh.service sshd.service\n",
		"\nWantedBy=multi-user.target\n",
	} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit lacks %q:\n%s", want, unit)
		}
	}
	grow(t, dir, map[string]string{"usr/sbin/dropbear": "x", "usr/bin/dropbearkey": "x"}) // the programs alone, as dropbear-bin has them
	if identity.Firstboot(tree, identity.All()) != unit {
		t.Error("a piece for dropbear without its directory")
	}
	if strings.Contains(unit, "snakeoil") || strings.Contains(unit, ".socket") {
		t.Errorf("the unit has too much:\n%s", unit)
	}
	if identity.FirstbootInstalled(tree, unit) {
		t.Error("installed before it is")
	}
	for range 2 {
		if err := identity.InstallFirstboot(tree, unit); err != nil {
			t.Fatal(err)
		}
	}
	if !identity.FirstbootInstalled(tree, unit) {
		t.Error("not installed after it is")
	}
	if got := read(t, dir, identity.FirstbootUnit); got != unit {
		t.Errorf("written: %q", got)
	}
	if got := read(t, dir, "etc/systemd/system/multi-user.target.wants/clade-firstboot.service"); got != "->/"+identity.FirstbootUnit {
		t.Errorf("enabled by: %s", got)
	}
	for name, gone := range map[string]string{"no systemd": systemd, "no sshd": "usr/sbin/sshd"} {
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
		if unit := identity.Firstboot(tree, identity.All()); unit != "" {
			t.Errorf("%s: %s", name, unit)
		}
		grow(t, dir, map[string]string{gone: "x"})
	}
	if unit := identity.Firstboot(tree, []identity.Mark{find(t, "machine-id")}); unit != "" {
		t.Errorf("for no keys erased: %s", unit)
	}
}

// The machine's own name is taken out of /etc/hosts wherever it stands.
func TestOwnNameInHosts(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{
		"etc/hostname": "web1.example.com\n",
		"etc/hosts":    "127.0.0.1 localhost web1\n127.0.1.1 other\n10.0.0.5\tWEB1.lan # it\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n",
	})
	m := find(t, "hosts")
	found, err := m.Read(openTree(t, dir))
	if got := fmt.Sprint(found); len(found) != 3 || err != nil || !strings.Contains(got, "WEB1.lan") {
		t.Errorf("found %s, %v", got, err)
	}
	if err := m.Erase(openTree(t, dir)); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir, "etc/hosts"), "127.0.0.1\tlocalhost\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n"; got != want {
		t.Errorf("etc/hosts is %q, want %q", got, want)
	}
}

// Homes are those of /etc/passwd, whatever it says, root's, and all in /home.
func TestHomes(t *testing.T) {
	dir := t.TempDir()
	homes := []string{"root", "srv/people/ann", "home/un[k]nown", "var/lib/postgresql"}
	files := map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/srv/people/ann:/bin/bash\n" +
		"odd:x:1:1::../../x:/bin/sh\nbroken\ntop:x:2:2::/:/bin/sh\npostgres:x:9:9::/var/lib/postgresql/:/bin/sh\n"}
	for _, home := range homes {
		files[home+"/.bash_history"] = "PLANTED"
	}
	grow(t, dir, files)
	m := find(t, "histories")
	if found, err := m.Read(openTree(t, dir)); len(found) != len(homes) || err != nil {
		t.Errorf("found %+v, %v, want %d", found, err, len(homes))
	}
	if err := m.Erase(openTree(t, dir)); err != nil {
		t.Fatal(err)
	}
	if left := left(t, dir); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}
