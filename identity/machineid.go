package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/clade-vm/clade/rootfs"
)

const (
	machineIDFile = "etc/machine-id"
	dbusIDFile    = "var/lib/dbus/machine-id"
)

func machineIDMarks() []Mark {
	return []Mark{{
		Name: "machine-id", Kind: Conflict, Default: true, Last: true, Where: "any",
		Why:         "DHCP client ids, journals, D-Bus and many agents are named by it: twins get one address and one identity",
		Source:      "man 5 machine-id; https://systemd.io/BUILDING_IMAGES/",
		Paths:       []string{machineIDFile, dbusIDFile},
		Regenerates: "systemd at boot (from the SMBIOS UUID under KVM); systemd-tmpfiles or dbus links the D-Bus copy",
		way:         machineID{},
	}}
}

// machineID is the way of /etc/machine-id and of its copy for D-Bus.
//
// Erased is an empty file and nothing else. A missing one, or "uninitialized", is
// a first boot to systemd: it then enables and disables units by their presets,
// which undoes what was set up in the master; and a missing one stays missing, a
// new id at every boot, where /etc is read-only at the time. The copy goes, unless
// it is a link to /etc/machine-id: left alone it would be taken as the new id, as
// systemd-machine-id-setup prefers it.
type machineID struct{}

func (machineID) will() string { return "empty, remove the D-Bus copy" }

func (machineID) depends() bool { return false }

var machineIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (machineID) read(s *search) error {
	if err := readMachineID(s); err != nil {
		return err
	}
	if linksTo(s.fsys, dbusIDFile, machineIDFile) {
		return nil
	}
	_, err := fs.Lstat(s.fsys, dbusIDFile)
	if rootfs.Absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.file(dbusIDFile, plain)
}

func readMachineID(s *search) error {
	add := func(value, note string) error {
		s.add(Finding{Path: machineIDFile, Value: value, Note: note})
		return nil
	}
	fi, err := fs.Lstat(s.fsys, machineIDFile)
	switch {
	case rootfs.Absent(err) && hasSystemd(s.fsys):
		return add("", "missing: systemd takes every boot for the first")
	case rootfs.Absent(err):
		return nil
	case err != nil:
		return err
	case fi.Mode()&fs.ModeSymlink != 0:
		note := "a link"
		if body, err := text(s.fsys, machineIDFile); err == nil {
			return add(validMachineID(body), note)
		}
		return add("", note)
	case !fi.Mode().IsRegular():
		return add("", "not a regular file")
	case fi.Size() == 0:
		return nil
	}
	data, err := rootfs.ReadFile(s.fsys, machineIDFile, 4096)
	if err != nil && !errors.Is(err, rootfs.ErrLimit) {
		return err
	}
	body := strings.TrimSpace(string(data))
	switch {
	case err != nil:
		return add("", fmt.Sprintf("%d bytes: not a machine-id", fi.Size()))
	case body == "uninitialized":
		return add("", "uninitialized: systemd takes the next boot for the first")
	case validMachineID(body) == "":
		return add(plain(data), "not a machine-id")
	}
	return add(body, "")
}

// validMachineID returns the machine-id that body is, or "".
func validMachineID(body string) string {
	body = strings.TrimSpace(body)
	if !machineIDForm.MatchString(body) || strings.Trim(body, "0") == "" {
		return ""
	}
	return body
}

func hasSystemd(fsys fs.FS) bool {
	return exists(fsys, "usr/lib/systemd/systemd", "lib/systemd/systemd")
}

// linksTo reports whether name is a link whose text leads to target.
func linksTo(fsys fs.FS, name, target string) bool {
	text, err := fs.ReadLink(fsys, name)
	if err != nil {
		return false
	}
	if !strings.HasPrefix(text, "/") {
		text = path.Join("/", path.Dir(name), text)
	}
	return path.Clean(text) == "/"+target
}

// erase removes the copy first: /etc/machine-id is the last thing written.
func (machineID) erase(g *erasing, _ Mark) error {
	t := g.tree
	if !linksTo(t, dbusIDFile, machineIDFile) {
		if err := t.RemoveAll(dbusIDFile); err != nil {
			return err
		}
	}
	fi, err := t.Lstat(machineIDFile)
	switch {
	case rootfs.Absent(err) && !hasSystemd(t):
		return nil
	case err == nil && fi.Mode().IsRegular():
		return t.Truncate(machineIDFile)
	case err == nil:
		if err := t.RemoveAll(machineIDFile); err != nil {
			return err
		}
	case !rootfs.Absent(err):
		return err
	}
	return t.WriteFile(machineIDFile, nil, 0o444)
}
