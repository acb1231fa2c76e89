package live

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"slices"
	"strings"

	"github.com/clade-vm/clade/rootfs"
)

const (
	machineIDFile = "etc/machine-id"
	dbusIDFile    = "var/lib/dbus/machine-id"
	hostnameFile  = "etc/hostname"
	hostsFile     = "etc/hosts"
)

// seeds are the files of random numbers that a guest carries from boot to boot and
// that are as good from anywhere.
var seeds = []string{"var/lib/systemd/random-seed"}

// newMachineID returns a random machine-id in the form in which systemd makes them,
// that of a UUID of version 4.
func newMachineID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return hex.EncodeToString(id[:])
}

// seed returns 512 bytes of text with 3072 random bits.
func seed() string {
	var bits [384]byte
	_, _ = rand.Read(bits[:])
	return base64.StdEncoding.EncodeToString(bits[:])
}

// dress writes what the guest is to be called into its tree, where m is what it was,
// and new seeds for those that are taken.
func (to Identity) dress(tree *rootfs.Tree, m *mirror) error {
	if err := tree.WriteFile(hostnameFile, []byte(string(to.Hostname)+"\n"), 0o644); err != nil {
		return err
	}
	was, err := rootfs.ReadFile(m, hostsFile, maxFile)
	if err == nil {
		is, err := rootfs.ReadFile(tree, hostsFile, maxFile)
		if err != nil && !rootfs.Absent(err) {
			return err
		}
		name, _ := rootfs.ReadFile(m, hostnameFile, maxFile)
		if now := to.hosts(string(was), string(is), string(name)); now != string(is) {
			if err := tree.WriteFile(hostsFile, []byte(now), 0o644); err != nil {
				return err
			}
		}
	}
	for _, name := range seeds {
		fi, err := m.Lstat(name)
		if err != nil || !fi.Mode().IsRegular() {
			continue
		}
		if _, err := tree.Lstat(name); rootfs.Absent(err) {
			if err := tree.WriteFile(name, []byte(seed()), fs.FileMode(0o600)); err != nil {
				return err
			}
		}
	}
	return nil
}

// hosts returns the text of /etc/hosts with a line of the guest's own, at 127.0.1.1
// and in the domain it was in, if it had one in the text that was. The text that is
// has no such line any more, or still that one.
func (to Identity) hosts(was, is, hostname string) string {
	old, _, _ := strings.Cut(strings.TrimSpace(hostname), ".")
	own, found := "127.0.1.1\t"+string(to.Hostname)+"\n", false
	for line := range strings.Lines(was) {
		fields := hostFields(line)
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "127.") && fields[0] != "::1" {
			continue
		}
		for _, name := range fields[1:] {
			short, domain, _ := strings.Cut(name, ".")
			if mine := strings.EqualFold(short, old) || fields[0] == "127.0.1.1"; !mine || short == "localhost" {
				continue
			}
			if domain != "" && !strings.Contains(own, domain) {
				own = "127.0.1.1\t" + string(to.Hostname) + "." + domain + " " + string(to.Hostname) + "\n"
			}
			found = true
		}
	}
	if !found {
		return is
	}
	lines := slices.Collect(strings.Lines(is))
	lines = slices.DeleteFunc(lines, func(line string) bool {
		fields := hostFields(line)
		return len(fields) > 1 && fields[0] == "127.0.1.1"
	})
	at := 0
	for i, line := range lines {
		if fields := hostFields(line); len(fields) > 1 && fields[0] == "127.0.0.1" {
			at = i + 1
			if !strings.HasSuffix(line, "\n") {
				lines[i] += "\n"
			}
		}
	}
	return strings.Join(slices.Insert(lines, at, own), "")
}

// hostFields returns the address and the names of a line of /etc/hosts.
func hostFields(line string) []string {
	line, _, _ = strings.Cut(line, "#")
	return strings.Fields(line)
}
