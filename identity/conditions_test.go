package identity_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
)

// What a guest could not do without stays, though the files of a mark are there.
func TestMarksThatDoNotHold(t *testing.T) {
	for name, test := range map[string]struct {
		mark  string
		files map[string]string // beside the plant
		gone  string            // of the plant
	}{
		"a domain controller":             {"samba-secrets", map[string]string{"var/lib/samba/private/sam.ldb": "x"}, ""},
		"a server of FreeIPA":             {"ipa-client", map[string]string{"var/lib/ipa/sysrestore/sysrestore.state": "x"}, ""},
		"a server of Rudder":              {"rudder-uuid", map[string]string{"opt/rudder/etc/uuid.hive": "root\n"}, ""},
		"Apache without gencerts":         {"httpd-localhost-key", nil, "usr/libexec/httpd-ssl-gencerts"},
		"an installer without cloud-init": {"ubuntu-installer", nil, "usr/bin/cloud-init"},
		"a device of another brand": {"snapd-device", map[string]string{
			"var/lib/snapd/state.json": `{"data":{"auth":{"device":{"brand":"acme","serial":"1"}}}}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := maps.Clone(identitytest.Plants()[test.mark].Files)
			maps.Copy(files, test.files)
			delete(files, test.gone)
			grow(t, dir, files)
			tree, m := openTree(t, dir), find(t, test.mark)
			if found, err := m.Read(tree); len(found) != 0 || err != nil {
				t.Errorf("found %+v, %v", found, err)
			}
			if err := m.Erase(tree); err != nil {
				t.Fatal(err)
			}
			for at, what := range files {
				if got := read(t, dir, at); got != strings.TrimPrefix(what, "=") {
					t.Errorf("%s is now %q", at, got)
				}
			}
		})
	}
}

// What the installer left is removed to the end, though a run was broken off.
func TestInstallerBrokenOff(t *testing.T) {
	m, plant := find(t, "ubuntu-installer"), identitytest.Plants()["ubuntu-installer"]
	for at := range plant.Files {
		if plant.After[at] != identitytest.None || strings.HasSuffix(at, "/99-installer.cfg") {
			continue
		}
		dir := t.TempDir()
		grow(t, dir, plant.Files)
		if err := os.Remove(filepath.Join(dir, at)); err != nil {
			t.Fatal(err)
		}
		if err := m.Erase(openTree(t, dir)); err != nil {
			t.Fatal(err)
		}
		if err := identitytest.Check(dir, plant); err != nil {
			t.Errorf("after %s: %v", at, err)
		}
	}
}

// After the installer's files are gone, cloud-init writes the network again.
func TestInstallerBeforeCloudInit(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, identitytest.Plants()["ubuntu-installer"].Files)
	grow(t, dir, identitytest.Plants()["cloud-init-network"].Files)
	tree := openTree(t, dir)
	for _, m := range identity.All() {
		if err := m.Erase(tree); err != nil {
			t.Fatal(err)
		}
	}
	if left := left(t, dir); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// The state of snapd may be large, and may be broken; what snapd could not read
// either is left alone.
func TestSnapdState(t *testing.T) {
	m := find(t, "snapd-device")
	long := strings.Repeat(" ", 3<<20)
	for before, after := range map[string]string{
		`{"data":{"auth":{"device":{"brand":"canonical","serial":"1","key-id":"k"}}}` + long + `}`: `{"data":{"auth":{"device":{"brand":"canonical"}}}}`,
		`{"data":{"auth":{"users":[]}}}`: `{"data":{"auth":{"users":[]}}}`,
		`{"data":{"auth":null}}`:         `{"data":{"auth":null}}`,
		`{"data"`:                        `{"data"`,
		``:                               ``,
	} {
		dir := t.TempDir()
		grow(t, dir, map[string]string{"var/lib/snapd/state.json": before})
		if err := m.Erase(openTree(t, dir)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, dir, "var/lib/snapd/state.json"); got != after {
			t.Errorf("%.80s is now %.80s", before, got)
		}
		if found, err := m.Read(openTree(t, dir)); len(found) != 0 || err != nil {
			t.Errorf("%.80s: found %+v, %v", before, found, err)
		}
	}
}

// A device that is written on one line of netplan is told, and not mended.
func TestNetplanFlowAddressIsTold(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{"etc/netplan/x.yaml": "network:\n  ethernets:\n    a: {addresses: [10.0.0.5/24], dhcp4: false}\n"})
	tree, m := openTree(t, dir), find(t, "netplan-address")
	for range 2 {
		if found, err := m.Read(tree); len(found) != 1 || found[0].Value != "10.0.0.5" || err != nil {
			t.Errorf("found %+v, %v", found, err)
		}
		if err := m.Erase(tree); err != nil {
			t.Fatal(err)
		}
	}
}

// Machines that are set up alike, and are not twins, share nothing: what is the
// same on both is no value.
func TestAlikeIsNotShared(t *testing.T) {
	for mark, files := range map[string]map[string]string{
		"puppet-certificates": {"etc/puppetlabs/puppet/ssl/certs/ca.pem": "-----BEGIN CERTIFICATE-----\n"},
		"cloud-init-seed":     {"var/lib/cloud/seed/nocloud/user-data": "#cloud-config\n"},
		"ubuntu-pro":          {"etc/apt/sources.list.d/ubuntu-esm-infra.list": "deb https://esm.ubuntu.com/infra/ubuntu x main\n"},
		"osquery-id":          {"var/osquery/osquery.db/CURRENT": "MANIFEST-000005\n"},
		"kubelet-identity":    {"var/lib/kubelet/pki/kubelet.crt": "-----BEGIN CERTIFICATE-----\n"},
		"zabbix-hostname":     {"etc/zabbix/zabbix_agentd.conf": "Hostname=Zabbix server\n"},
		"ifcfg-hostname":      {"etc/sysconfig/network": "HOSTNAME=localhost.localdomain\n"},
		"ifcfg-address":       {"etc/sysconfig/network-scripts/ifcfg-lo": "IPADDR=127.0.0.1\n"},
		"dhcp-server-leases": {"var/lib/dhcp/dhcpd.leases": "# The format of this file\n\nauthoring-byte-order little-endian;\n\n",
			"var/lib/kea/kea-leases4.csv": "address,hwaddr,client_id\n"},
		"adjtime":           {"etc/adjtime": "0.0 0 0.0\n0\nUTC\n"},
		"collectd-hostname": {"etc/collectd.conf": "Hostname localhost\n"},
		"ubuntu-installer": {"usr/bin/cloud-init": "x", "etc/cloud/ds-identify.cfg": "policy: enabled\n",
			"etc/cloud/cloud.cfg.d/99-installer.cfg": "x\n"},
	} {
		dir := t.TempDir()
		grow(t, dir, files)
		found, err := find(t, mark).Read(openTree(t, dir))
		if err != nil {
			t.Error(err)
		}
		for _, f := range found {
			if f.Value != "" {
				t.Errorf("%s: %+v", mark, f)
			}
		}
	}
}

// Each piece of the first-boot unit stands for itself, and is of the form that
// systemd takes.
func TestFirstbootPieces(t *testing.T) {
	pieces := 0
	for _, m := range identity.All() {
		p := m.Firstboot
		if p.Command == "" {
			continue
		}
		pieces++
		dir := t.TempDir()
		files := map[string]string{systemd: "x"}
		for _, name := range p.Needs {
			files[name] = "x"
		}
		grow(t, dir, files)
		unit := identity.Firstboot(openTree(t, dir), identity.All())
		want := "\nExecStart=/bin/sh -c 'ls " + p.Missing + " >/dev/null 2>&1 || " + p.Command + "'\n"
		if strings.Count(unit, want) != 1 || strings.Count(unit, "/bin/sh -c") != 1 {
			t.Errorf("%s: the unit has not this piece alone:\n%s", m.Name, unit)
		}
		if strings.ContainsAny(p.Command+p.Missing, "'\"%$\n\\") || !strings.HasPrefix(p.Missing, "/") {
			t.Errorf("%s: %q is not of the form that a unit takes", m.Name, p.Command)
		}
		for _, before := range p.Before {
			if !strings.HasSuffix(before, ".service") {
				t.Errorf("%s: before %s", m.Name, before)
			}
		}
		if !strings.Contains(m.Regenerates, "clade-firstboot.service") {
			t.Errorf("%s does not say what makes it anew: %s", m.Name, m.Regenerates)
		}
	}
	if pieces < 5 {
		t.Errorf("%d pieces", pieces)
	}
}
