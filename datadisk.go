package clade

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A DataDisk asks for a new, empty disk of a machine that holds what outlives the
// system: no reset, rebase or restore touches it.
type DataDisk struct {
	Size  Bytes  `json:"size"`
	Label string `json:"label,omitempty"` // of its file system; empty: data, data2, ...
	Mount string `json:"mount,omitempty"` // where the guest mounts it; empty: /data, or /data/LABEL for another label
}

// The limits of data disks. A label is what ext4 has room for.
const (
	MaxDataDisks = 8
	leastData    = 16 * MiB
	mostData     = 64 * TiB
)

var (
	labelForm = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$`)
	mountForm = regexp.MustCompile(`^(/[A-Za-z0-9_][A-Za-z0-9._-]*){1,16}$`)
)

// ParseDataDisk reads SIZE, LABEL=SIZE, SIZE:MOUNT or LABEL=SIZE:MOUNT, such as
// 20G or home=20G:/home. Its error is of kind Invalid.
func ParseDataDisk(s string) (DataDisk, error) {
	var d DataDisk
	label, rest, labelled := strings.Cut(s, "=")
	if !labelled {
		rest = s
	} else if d.Label = label; !labelForm.MatchString(label) {
		return DataDisk{}, badDataDisk("a label has 1 to 16 lower-case letters, digits and hyphens and begins with a letter", "%.80q is no label", label)
	}
	size, mount, mounted := strings.Cut(rest, ":")
	if d.Mount = mount; mounted && mount == "" {
		return DataDisk{}, badDataDisk("write it like home=20G:/home", "%.80q names no directory", s)
	}
	var err error
	d.Size, err = ParseBytes(size)
	return d, err
}

func badDataDisk(hint, format string, args ...any) error {
	return &Error{Op: "make", On: "data disk", Kind: Invalid, Err: fmt.Errorf(format, args...), Hint: hint}
}

// AddDataDisks returns the disks that a machine with have gets for want: labelled,
// with their mounts, in the slots after have's. Its error is of kind Invalid.
func AddDataDisks(have []Disk, want []DataDisk) ([]Disk, error) {
	all := slices.Clone(have)
	taken := func(label string) bool {
		return slices.ContainsFunc(all, func(d Disk) bool { return d.Label == label }) ||
			slices.ContainsFunc(want, func(d DataDisk) bool { return d.Label == label })
	}
	for _, w := range want {
		d := Disk{Slot: len(all), Virtual: (w.Size + MiB - 1) / MiB * MiB, Label: w.Label, Mount: w.Mount}
		for n := 1; d.Label == ""; n++ {
			if name := strings.TrimSuffix(fmt.Sprintf("data%d", n), "1"); !taken(name) {
				d.Label = name
			}
		}
		if d.Mount == "" {
			if d.Mount = "/data"; d.Label != "data" {
				d.Mount += "/" + d.Label
			}
		}
		if err := d.CheckData(all); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	added := all[len(have):]
	if len(added) > MaxDataDisks {
		return nil, badDataDisk("", "%d of them, more than %d", len(added), MaxDataDisks)
	}
	return added, nil
}

// CheckData refuses a data disk that could not be told apart from the machine's other
// ones, or would hide what the guest boots from. Kind Invalid.
func (d Disk) CheckData(others []Disk) error {
	switch top, _, _ := strings.Cut(strings.TrimPrefix(d.Mount, "/"), "/"); {
	case !labelForm.MatchString(d.Label):
		return badDataDisk("", "%.80q is no label", d.Label)
	case d.Virtual < leastData || d.Virtual > mostData:
		return badDataDisk("give "+leastData.String()+" to "+mostData.String(), "%s would have %v", d.Label, d.Virtual)
	case !mountForm.MatchString(d.Mount) || len(d.Mount) > 200 || path.Clean(d.Mount) != d.Mount:
		return badDataDisk("write a plain path, such as /srv/data", "%.80q is no directory to mount %s on", d.Mount, d.Label)
	case slices.Contains([]string{"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr"}, top),
		slices.Contains([]string{"/var", "/var/lib", "/var/lib/cloud"}, d.Mount):
		return badDataDisk("choose a directory of its own, such as /srv/"+d.Label, "mounted on %s, %s would hide what the guest boots from", d.Mount, d.Label)
	}
	for _, other := range others {
		if other.Label == d.Label {
			return badDataDisk("give it another label: --data-disk LABEL=SIZE", "there is one with the label %s already", d.Label)
		}
		if other.Mount == d.Mount {
			return badDataDisk("give it another directory: --data-disk LABEL=SIZE:DIRECTORY", "%s is mounted on %s already", other.Label, d.Mount)
		}
	}
	return nil
}
