package identity

import (
	"io/fs"
	"regexp"
)

// cloudInitMarks are all that "cloud-init clean --logs --configs all" removes, and
// what it forgets: the seed, and what is in /run.
//
// Not among them, by choice: /var/lib/cloud/scripts/per-* and handlers, which an
// administrator put there (clean removes them); /etc/sudoers.d/90-cloud-init-users,
// which belongs to a user that stays. It is long because it is a table.
func cloudInitMarks() []Mark {
	return []Mark{
		{
			Name: "cloud-init-instance", Kind: Conflict, Default: true, Where: "any",
			Why:         "a clone that is given the instance-id it finds does nothing: no new keys, hostname or users",
			Source:      "https://docs.cloud-init.io/en/latest/explanation/first_boot.html",
			Paths:       []string{"var/lib/cloud/data/instance-id"},
			Regenerates: "cloud-init",
			way:         remove{},
		},
		{
			Name: "cloud-init-state", Kind: Residue, Default: true, Where: "any",
			Why:    "the master's user-data, and its marks of work that is done, which a clone would not do again",
			Source: "https://docs.cloud-init.io/en/latest/reference/cli.html#clean",
			Paths: []string{
				"var/lib/cloud/instance", "var/lib/cloud/instances/*", "var/lib/cloud/data/*", "var/lib/cloud/sem/*",
				"var/lib/cloud/scripts/vendor/*", "run/cloud-init/*",
			},
			Regenerates: "cloud-init",
			way:         remove{},
		},
		{
			Name: "cloud-init-seed", Kind: Conflict, Default: true, Where: "any",
			Why:         "a seed in the image gives every clone its instance-id and hostname, which win over those of the clone's own seed",
			Source:      "https://github.com/canonical/cloud-init/blob/main/cloudinit/sources/DataSourceNoCloud.py (seed_dirs, _merge_new_seed)",
			Paths:       []string{"var/lib/cloud/seed/*/meta-data", "var/lib/cloud/seed/*"},
			Regenerates: "nothing: each clone gets its seed from outside",
			way:         remove{value: having("instance-id")},
		},
		{
			Name: "cloud-init-network", Kind: Residue, Default: true, Where: "any",
			Why:    "the network files that cloud-init wrote pin the master's MAC and its static addresses",
			Source: "https://github.com/canonical/cloud-init/blob/main/cloudinit/cmd/clean.py (GEN_NET_CONFIG_FILES); https://docs.cloud-init.io/en/latest/reference/cli.html#clean",
			Paths: []string{
				"etc/netplan/50-cloud-init.yaml", "etc/network/interfaces.d/50-cloud-init*", "etc/systemd/network/10-cloud-init-*",
				"etc/systemd/network/50-cloud-init-*", "etc/NetworkManager/system-connections/cloud-init-*",
				"etc/NetworkManager/conf.d/30-cloud-init-*", "etc/NetworkManager/conf.d/99-cloud-init.conf",
			},
			Regenerates: "cloud-init; where it is not there to do so the files stay, and the marks of the MAC take the pins out",
			way:         when{holds: cloudInitWritesNetwork, way: remove{}},
		},
		{
			Name: "cloud-init-mounts", Kind: Residue, Default: true, Where: "any",
			Why:         "the master's ephemeral disks and swap stay in /etc/fstab, and a clone looks for disks that it may not have",
			Source:      "https://github.com/canonical/cloud-init/blob/main/cloudinit/config/cc_mounts.py (MNT_COMMENT)",
			Paths:       []string{"etc/fstab"},
			Regenerates: "cloud-init (mounts module)",
			way:         lines(cloudInitMount),
		},
		{
			// Off: without it sshd may let in by password whom cloud-init kept out.
			Name: "cloud-init-sshd", Kind: Residue, Default: false, Where: "any",
			Why:         "whether the master let people in by password is decided for its clones too",
			Source:      "https://github.com/canonical/cloud-init/blob/main/cloudinit/cmd/clean.py (GEN_SSH_CONFIG_FILES); https://docs.cloud-init.io/en/latest/reference/cli.html#clean",
			Paths:       []string{"etc/ssh/sshd_config.d/50-cloud-init.conf"},
			Regenerates: "cloud-init, where the seed says ssh_pwauth; otherwise sshd's own default counts",
			way:         remove{},
		},
		{
			Name: "cloud-init-logs", Kind: Residue, Default: true, Where: "any",
			Why:         "the master's first boot, with its user-data, would be read as the clone's",
			Source:      "man 1 cloud-init (clean --logs)",
			Paths:       []string{"var/log/cloud-init*", "var/log/cloud-init/*"},
			Regenerates: "cloud-init",
			way:         remove{},
		},
	}
}

// cloudInitMount is what cloud-init marks its own lines of /etc/fstab with.
var cloudInitMount = regexp.MustCompile(`^[^#].*\b(comment=cloudconfig)\b`)

// networkOff is the setting with which an image keeps cloud-init from writing
// network files: network: {config: disabled}, on one line or two.
var networkOff = regexp.MustCompile(`(?m)^\s*network:\s*(\{\s*|\n\s+)config:\s*["']?disabled`)

// cloudInitWritesNetwork reports whether cloud-init is there, is not switched off,
// and writes the guest's network files. Where it does not, a guest without those
// files would boot without a network.
func cloudInitWritesNetwork(fsys fs.FS) bool {
	if !exists(fsys, "usr/bin/cloud-init", "usr/local/bin/cloud-init") || exists(fsys, "etc/cloud/cloud-init.disabled") {
		return false
	}
	names, err := glob(fsys, ".", "etc/cloud/cloud.cfg.d/*.cfg", maxMatches)
	if err != nil {
		return false
	}
	for _, name := range append(names, "etc/cloud/cloud.cfg") {
		if body, err := text(fsys, name); err != nil || networkOff.MatchString(body) {
			return false
		}
	}
	return true
}
