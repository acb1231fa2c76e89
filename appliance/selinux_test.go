//go:build integration

package appliance

import (
	"fmt"
	"strings"
	"testing"
)

// labelled is a guest with SELinux, which will need the unit of the first boot. Its
// files have the labels that are given.
func labelled(t testing.TB, labels map[string]string) Disk {
	t.Helper()
	image := ext4(t, grow(t, with(map[string]string{
		"etc/selinux/config":       "# how\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
		"etc/hosts":                "127.0.0.1 localhost\n127.0.1.1 golden.example.com golden\n",
		"usr/lib/systemd/systemd":  "",
		"usr/bin/ssh-keygen":       "",
		"usr/sbin/sshd":            "",
		"etc/systemd/system/.keep": "",
	}), all), "64M")
	for name, label := range labels {
		command(t, "", "debugfs", "-w", "-R", fmt.Sprintf("ea_set /%s security.selinux %s", name, label), image)
	}
	return Disk{Path: image, Format: Raw}
}

// TestSELinux shows that what is rewritten keeps its label, that what is new gets
// the one of its directory, and that a guest without labels is told to make them.
func TestSELinux(t *testing.T) {
	const unit, net, id = "system_u:object_r:systemd_unit_file_t:s0", "system_u:object_r:net_conf_t:s0", "system_u:object_r:machineid_t:s0"
	for _, c := range []struct {
		name      string
		set, want map[string]string // labels
		relabel   bool
	}{
		{"with labels",
			map[string]string{"etc/systemd/system": unit, "etc/hosts": net, "etc/machine-id": id},
			map[string]string{
				"etc/hosts": net, "etc/machine-id": id, "etc/systemd/system/clade-firstboot.service": unit,
				"etc/systemd/system/multi-user.target.wants": unit, "etc/systemd/system/multi-user.target.wants/clade-firstboot.service": unit,
			}, false},
		{"without labels", nil, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := labelled(t, c.set)
			a, ctx := boot(t)
			if _, err := a.Generalize(ctx, []Disk{d}, Options{}, nil); err != nil {
				t.Fatal(err)
			}
			for name, label := range c.want {
				if got := debugfs(t, d.Path, "ea_get /"+name+" security.selinux"); !strings.Contains(got, label) {
					t.Errorf("%s has the label %q, want %s", name, got, label)
				}
			}
			if hosts := debugfs(t, d.Path, "cat /etc/hosts"); strings.Contains(hosts, "golden") {
				t.Errorf("hosts was not rewritten: %q", hosts)
			}
			if there := !strings.Contains(debugfs(t, d.Path, "stat /.autorelabel"), "File not found"); there != c.relabel {
				t.Errorf("/.autorelabel is there: %v, want %v", there, c.relabel)
			}
		})
	}
}
