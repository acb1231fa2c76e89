package identity

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/clade-vm/clade/rootfs"
	"golang.org/x/crypto/ssh"
)

// A Reading is who a guest is: the facts that machines are compared by and shown
// with. A fact that the guest does not have is "".
type Reading struct {
	Hostname   string    `json:"hostname"`
	MachineID  string    `json:"machine_id"`
	HostKeys   []HostKey `json:"host_keys"`
	InstanceID string    `json:"instance_id"` // cloud-init's
	RandomSeed string    `json:"random_seed"` // a fingerprint
}

// A HostKey is one SSH host key, by its public half.
type HostKey struct {
	Type        string `json:"type"`        // "ssh-ed25519"
	Fingerprint string `json:"fingerprint"` // as ssh-keygen -l prints it: "SHA256:..."
}

// Read returns the facts of the guest whose files are fsys. What is there but is
// no such fact (a pipe, a text that is no machine-id) counts as not there; an
// error means that the files could not be read.
func Read(fsys fs.FS) (*Reading, error) {
	var r Reading
	for _, fact := range []struct {
		name string
		to   *string
		form func(string) string
	}{
		{"etc/hostname", &r.Hostname, firstLine},
		{machineIDFile, &r.MachineID, validMachineID},
		{"var/lib/cloud/data/instance-id", &r.InstanceID, firstLine},
		{"var/lib/systemd/random-seed", &r.RandomSeed, func(s string) string { return fingerprint([]byte(s)) }},
	} {
		body, err := factText(fsys, fact.name)
		if err != nil {
			return nil, err
		}
		if body != "" {
			*fact.to = printable(fact.form(body))
		}
	}
	names, err := glob(fsys, ".", "etc/ssh/ssh_host_*_key.pub", 64)
	if err != nil {
		return nil, printableErr(err)
	}
	for _, name := range names {
		body, err := factText(fsys, name)
		if err != nil {
			return nil, err
		}
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(body)); err == nil {
			r.HostKeys = append(r.HostKeys, HostKey{Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key)})
		}
	}
	return &r, nil
}

// factText is the text of a small file, and "" for one that is too large to be it.
func factText(fsys fs.FS, name string) (string, error) {
	data, err := rootfs.ReadFile(fsys, name, 64<<10)
	if rootfs.Absent(err) || errors.Is(err, rootfs.ErrSpecial) || errors.Is(err, rootfs.ErrLimit) {
		return "", nil
	}
	return string(data), printableErr(err)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
