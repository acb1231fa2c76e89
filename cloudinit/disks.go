package cloudinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A Disk is a data disk of the guest: a file system with a label, made on the disk
// if that is empty, and mounted.
type Disk struct {
	Serial string // as the guest's kernel tells it
	Label  string
	Mount  string // a directory
}

const maxDisks = 16

var (
	serialForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,20}$`)
	labelForm  = regexp.MustCompile(`^[a-z0-9-]{1,16}$`)
	mountForm  = regexp.MustCompile(`^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$`)
)

// check refuses what would have a meaning of its own in a shell or in fstab.
func (d Disk) check() error {
	if !serialForm.MatchString(d.Serial) || !labelForm.MatchString(d.Label) || !mountForm.MatchString(d.Mount) {
		return errors.New("its serial, label or directory is not plain")
	}
	return nil
}

// mountDisks is a boot hook: cloud-init runs it early, on every boot, whatever the
// user's own configuration says of mounts. cloud-init's fs_setup is not used: it
// formats a disk whose file system has another label or type than it expects.
//
// Only a disk on which blkid finds nothing (status 2), and that begins with a
// mebibyte of zeroes, is formatted. A line for the label or the directory in fstab,
// also one that is commented out, is the user's own and stays.
const mountDisks = `#!/bin/sh
# From clade: gives data disks that are empty a file system, and mounts them.
status=0
failed() { echo "clade: data disk $1: $2" >&2; status=1; }
data_disk() { # SERIAL LABEL DIRECTORY
	device= source=
	for block in /sys/block/*; do
		if [ "$(cat "$block/serial" 2>/dev/null)" = "$1" ]; then device=/dev/${block##*/}; fi
	done
	if [ -z "$device" ]; then failed "$2" "no disk has the serial $1"; return; fi
	blkid -p "$device" >/dev/null 2>&1
	if [ $? -eq 2 ] && [ "$(head -c 1048576 "$device" | tr -d '\0' | wc -c)" -eq 0 ]; then
		mkfs.ext4 -q -m 0 -L "$2" "$device" || { failed "$2" "it could not be formatted"; return; }
	fi
	if ! awk -v label="LABEL=$2" -v dir="$3" '$1 == label || $2 == dir { found = 1 } END { exit !found }' /etc/fstab; then
		if [ -n "$(tail -c 1 /etc/fstab)" ]; then echo >>/etc/fstab; fi
		source=$device # udev may not have seen the label yet
		echo "LABEL=$2 $3 auto defaults,nofail,x-systemd.device-timeout=10s 0 2" >>/etc/fstab
	fi
	if mountpoint -q "$3" || ! awk -v dir="$3" '$1 !~ /^#/ && $2 == dir { found = 1 } END { exit !found }' /etc/fstab; then return; fi
	mkdir -p "$3"
	mount $source "$3" || mountpoint -q "$3" || { failed "$2" "it could not be mounted on $3"; return; }
	if command -v restorecon >/dev/null; then restorecon "$3"; fi
}
`

// hook is the script that serves the seed's data disks.
func (s *Seed) hook() string {
	var b strings.Builder
	b.WriteString(mountDisks)
	for _, d := range s.Disks { // checked: none of the words needs more than these quotes
		fmt.Fprintf(&b, "data_disk '%s' '%s' '%s'\n", d.Serial, d.Label, d.Mount)
	}
	b.WriteString("exit $status\n")
	return b.String()
}

// withDisks makes vendor-data an archive of two parts, of which config is the one.
func (s *Seed) withDisks(config []byte) ([]byte, error) {
	parts := []map[string]string{
		{"type": "text/cloud-config", "content": string(config)},
		{"type": "text/cloud-boothook", "filename": "clade-data-disks", "content": s.hook()},
	}
	body, err := json.MarshalIndent(parts, "", "  ")
	return append(append([]byte("#cloud-config-archive\n"), body...), '\n'), err
}
