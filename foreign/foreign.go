// Package foreign reads and writes the descriptions that other hypervisors have of
// their machines: libvirt's domain XML, and OVF with OVA, its archive, of
// VirtualBox, VMware and others.
//
// Open takes a file of any of these. What it returns has the hardware (processors,
// memory, firmware, kinds of network cards) and the disks in the order in which
// the guest meets them, the one it boots from first. Identity is not taken: no
// UUID, MAC address, serial number or vTPM; a machine gets those from its home. What
// else is there and not taken stands in Notes. Source.Fetch gives the file of a
// disk, its checksum proven where there is one, for package image to import.
//
// WriteOVA makes an OVA of a machine, for VirtualBox, VMware and what reads their
// archives.
//
// All of it is hostile input. A description is at most 4 MiB, its numbers are
// bounded, its texts fit to be shown, and the disks of an OVF are plain names
// beside it: no folder, no link, no address. A libvirt description does name files by
// their paths, that is its purpose: it is as good as who wrote it.
//
// The descriptions are read by structs of our own, with encoding/xml, which knows no
// entities of strangers: of schemas of many hundred elements we need some thirty. The
// package starts no process and opens no network.
package foreign

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// A Machine is what is kept of a machine elsewhere.
type Machine struct {
	Name     string // as it is called there, fit to be shown; not a clade.Name
	Hardware clade.Hardware
	Disks    []Disk
	NICs     []NIC
	Notes    []string // what is not taken, for people
}

// A Disk is one disk of a machine elsewhere.
type Disk struct {
	// File is where its content is: libvirt's path, the name of a file beside an
	// OVF or in an OVA. Empty for a blank disk, which has Virtual.
	File    string
	Format  string      // as package image names it: "qcow2", "raw", "vmdk"; empty to detect it
	Virtual clade.Bytes // 0 where it is not said
	Bus     string      // "virtio", "scsi", "sata", "ide", "nvme" or empty
}

// A NIC is one network card of a machine elsewhere.
type NIC struct {
	Model string // "virtio", "e1000", "vmxnet3", ... or empty
}

// The limits of what is read.
const (
	MaxDescription = 4 * clade.MiB
	maxDisks       = 64
	maxNICs        = 64
	maxNotes       = 64
	maxText        = 200
	maxVirtual     = qcow2.MaxVirtual
)

// note adds a line for people.
func (m *Machine) note(format string, args ...any) {
	if len(m.Notes) < maxNotes {
		m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
	}
}

// check proves that what was read can be a machine.
func (m *Machine) check() error {
	h := &m.Hardware
	switch {
	case h.CPUs < 0 || h.CPUs > 1024:
		return refusal(clade.Corrupt, "a machine of %d processors", h.CPUs)
	case h.Memory < 0 || h.Memory > maxVirtual:
		return refusal(clade.Corrupt, "a machine with %d bytes of memory", h.Memory)
	case len(m.Disks) > maxDisks:
		return refusal(clade.Unsupported, "%d disks, more than %d", len(m.Disks), maxDisks)
	case len(m.NICs) > maxNICs:
		return refusal(clade.Unsupported, "%d network cards, more than %d", len(m.NICs), maxNICs)
	case len(m.Disks) == 0:
		return refusal(clade.Unsupported, "it has no disk")
	}
	for i, d := range m.Disks {
		if d.Virtual < 0 || d.Virtual > maxVirtual || d.File == "" && d.Virtual == 0 {
			return refusal(clade.Corrupt, "disk %d of %d bytes", i, d.Virtual)
		}
	}
	return nil
}

// text makes a stranger's text one short line that may be shown.
func text(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.Join(strings.Fields(s), " ")
	for n := range s {
		if n > maxText {
			return s[:n]
		}
	}
	return s
}

// word makes a stranger's text one of a few words in lower case, or nothing.
func word(s string, known ...string) string {
	for _, w := range known {
		if strings.EqualFold(s, w) {
			return w
		}
	}
	return ""
}

// refusal is an error about what a description says.
func refusal(kind clade.Kind, format string, args ...any) error {
	return &clade.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// hinted is a refusal that says what can be done.
func hinted(kind clade.Kind, hint, format string, args ...any) error {
	return &clade.Error{Kind: kind, Err: fmt.Errorf(format, args...), Hint: hint}
}

// fault gives an error of the operating system its kind. An error that has one
// keeps it.
func fault(err error) error {
	if _, ok := errors.AsType[*clade.Error](err); ok || err == nil {
		return err
	}
	kind := clade.KindOf(err)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return &clade.Error{Kind: kind, Err: err}
}

// about says what was done to what when err happened.
func about(op, on string, err error) error {
	if err == nil {
		return nil
	}
	err = fault(err)
	return &clade.Error{Op: op, On: on, Kind: clade.KindOf(err), Err: err}
}
