package identity

import (
	"io/fs"
	"strings"
)

// storageMarks: the names by which storage on the network knows a machine. Two
// with the same name are one to it, and write over each other.
func storageMarks() []Mark {
	return []Mark{
		{
			Name: "iscsi-initiator", Family: "storage", Kind: Conflict, Default: true,
			Why:         "two initiators of one name share sessions and reservations: a target logs one out, or lets both write",
			Source:      "RFC 7143 section 4.2.7; man 8 iscsi-iname",
			Paths:       []string{"etc/iscsi/initiatorname.iscsi"},
			Regenerates: "open-iscsi on Debian (GenerateName=yes); iscsi-init.service where it waits for a missing file",
			way:         reset{value: initiator, to: newInitiator},
		},
		{
			Name: "nvme-host", Family: "storage", Kind: Conflict, Default: true,
			Why:         "two NVMe-oF hosts of one NQN or ID share reservations, and a controller may drop either",
			Source:      "NVMe Base Specification, Host Identifier; man 1 nvme-gen-hostnqn",
			Paths:       []string{"etc/nvme/hostnqn", "etc/nvme/hostid"},
			Regenerates: "nvme-cli takes both from the machine's UUID where the files are missing",
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
