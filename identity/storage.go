package identity

import (
	"io/fs"
	"strings"
)

// storageMarks: the names by which storage on the network knows a machine. Two
// with the same name are one to it, and write over each other.
//
// The UUIDs of file systems, of LVM and of partitions are not among them: clones
// are not in one machine, where alone they disturb each other, and /etc/fstab, the
// boot loader and the initramfs name them.
func storageMarks() []Mark {
	return []Mark{
		{
			Name: "iscsi-initiator", Kind: Conflict, Default: true, Where: "any",
			Why:         "two initiators of one name share sessions and reservations: a target logs one out, or lets both write",
			Source:      "RFC 7143 section 4.2.7; man 8 iscsid (FILES); https://github.com/open-iscsi/open-iscsi/blob/master/etc/systemd/iscsi-init.service.template",
			Paths:       []string{"etc/iscsi/initiatorname.iscsi"},
			Regenerates: "open-iscsi on Debian (GenerateName=yes); iscsi-init.service where it waits for a missing file",
			way:         reset{value: initiator, to: newInitiator},
		},
		{
			Name: "nvme-host", Kind: Conflict, Default: true, Where: "any",
			Why:         "two NVMe-oF hosts of one NQN or ID share reservations, and a controller may drop either",
			Source:      "man 1 nvme-connect (--hostnqn, --hostid); man 1 nvme-gen-hostnqn",
			Paths:       []string{"etc/nvme/hostnqn", "etc/nvme/hostid"},
			Regenerates: "nvme-cli takes both from the machine's UUID where the files are missing",
			way:         remove{},
		},
		{
			// Off: a guest that works on such a disk, or boots from it, needs them.
			Name: "iscsi-targets", Kind: Residue, Default: false, Where: "any",
			Why:    "every clone logs in to the master's targets, with its passwords, and two that mount one disk destroy it",
			Source: "man 8 iscsiadm (FILES)",
			Paths: []string{
				"etc/iscsi/nodes/*", "etc/iscsi/send_targets/*", "etc/iscsi/static/*", "etc/iscsi/ifaces/*", "var/lib/iscsi/nodes/*",
				"var/lib/iscsi/send_targets/*", "var/lib/iscsi/static/*", "var/lib/iscsi/ifaces/*",
			},
			Regenerates: "nothing: iscsiadm discovery",
			way:         remove{},
		},
		{
			Name: "multipath-bindings", Kind: Residue, Default: true, Where: "any",
			Why:         "the names and the list of the master's disks are applied to disks that have other ids, or the same by chance",
			Source:      "man 5 multipath.conf (bindings_file, wwids_file, prkeys_file)",
			Paths:       []string{"etc/multipath/bindings", "etc/multipath/wwids", "etc/multipath/prkeys"},
			Regenerates: "multipathd",
			way:         remove{},
		},
		{
			Name: "lvm-devices", Kind: Residue, Default: true, Where: "Fedora, RHEL",
			Why:         "LVM looks only at the disks whose ids are in it, and a clone's have others: its volumes are not found, or only by a search of all disks",
			Source:      "https://github.com/lvmteam/lvm2/blob/main/man/lvmdevices.8_des; man 1 virt-sysprep (lvm-system-devices)",
			Paths:       []string{"etc/lvm/devices/*.devices", "etc/lvm/devices/backup/*"},
			Regenerates: "not needed: without it LVM looks at all disks; vgimportdevices -a makes it anew",
			way:         remove{},
		},
		{
			Name: "blkid-cache", Kind: Residue, Default: true, Where: "any",
			Why:    "lists the master's disks",
			Source: "man 8 blkid (FILES)",
			Paths: []string{
				"etc/blkid.tab", "etc/blkid.tab.old", "etc/blkid/blkid.tab", "etc/blkid/blkid.tab.old", "run/blkid/blkid.tab",
				"run/blkid/blkid.tab.old",
			},
			Regenerates: "blkid",
			way:         remove{},
		},
		{
			Name: "gluster-uuid", Kind: Conflict, Default: true, Where: "any",
			Why:         "peers of one UUID are one to the pool: it refuses the second, or confuses both",
			Source:      "https://github.com/gluster/glusterfs/blob/devel/xlators/mgmt/glusterd/src/glusterd.h (GLUSTERD_INFO_FILE); https://docs.gluster.org/en/latest/Administrator-Guide/Storage-Pools/",
			Paths:       []string{"var/lib/glusterd/glusterd.info"},
			Regenerates: "glusterd. A node that was in a pool must be probed again",
			way:         remove{value: fingerprint},
		},
		{
			Name: "nfs-state", Kind: Residue, Default: true, Where: "any",
			Why:    "tells the master's clients and servers, at every clone's boot, that their locks are gone",
			Source: "man 8 rpc.statd; man 8 sm-notify; man 8 nfsdcld",
			Paths: []string{
				"var/lib/nfs/sm/*", "var/lib/nfs/sm.bak/*", "var/lib/nfs/statd/sm/*", "var/lib/nfs/statd/sm.bak/*", "var/lib/nfs/v4recovery/*",
				"var/lib/nfs/nfsdcld/*",
			},
			Regenerates: "rpc.statd, nfsdcld",
			way:         remove{},
		},
	}
}

// initiator returns the initiator's name in the file of that name.
func initiator(body string) string {
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "InitiatorName="); ok {
			return name
		}
	}
	return ""
}

// newInitiator is what makes a new name at the next start: Debian's start script
// wants a file that asks for it, and refuses to start without a file.
func newInitiator(fsys fs.FS) string {
	if exists(fsys, "usr/lib/open-iscsi/startup-checks.sh", "lib/open-iscsi/startup-checks.sh") {
		return "GenerateName=yes\n"
	}
	return ""
}
