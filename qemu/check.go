package qemu

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/uuid"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

const (
	maxSocketPath = 107 // bytes: sockaddr_un
	maxSerial     = 20  // bytes: virtio-blk
)

var (
	serialForm  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,20}$`)
	machineForm = regexp.MustCompile(`^pc-q35-[0-9.]{1,10}$`)
	bridgeForm  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,15}$`)
)

// check refuses what would make a wrong or an ambiguous command line. Kind Invalid.
func check(p hypervisor.Place, s hypervisor.Spec) error {
	if _, err := clade.ParseName(string(s.Name)); err != nil {
		return err
	}
	paths := []string{p.Dir, p.Run}
	for _, optional := range []string{s.Seed, s.NVRAM} {
		if optional != "" {
			paths = append(paths, optional)
		}
	}
	if s.Memory != nil {
		for _, file := range []string{s.Memory.File, s.Memory.State} {
			if file != "" {
				paths = append(paths, file)
			}
		}
	}
	for i, d := range s.Disks {
		paths = append(paths, d.Path)
		if !serialForm.MatchString(d.Serial) {
			return invalid(fmt.Sprintf("disk %d", i), "serial %q is not 1 to %d letters, digits, dots or hyphens", d.Serial, maxSerial)
		}
	}
	if s.NIC != nil && s.NIC.Bridge == "" {
		paths = append(paths, s.NIC.Socket)
	}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			return invalid(fmt.Sprintf("path %q", path), "it is not absolute")
		}
	}
	if err := checkSockets(p, s); err != nil {
		return err
	}
	return checkValues(s)
}

func checkValues(s hypervisor.Spec) error {
	if _, err := uuid.Parse(s.UUID); err != nil || len(s.UUID) != 36 {
		return invalid(fmt.Sprintf("UUID %q", s.UUID), "it is none")
	}
	if s.NIC != nil {
		if mac, err := net.ParseMAC(s.NIC.MAC); err != nil || len(mac) != 6 {
			return invalid(fmt.Sprintf("MAC %q", s.NIC.MAC), "it is none")
		}
		if s.NIC.Bridge != "" && !bridgeForm.MatchString(s.NIC.Bridge) {
			return invalid(fmt.Sprintf("bridge %q", s.NIC.Bridge), "it is not a name of an interface")
		}
	}
	switch {
	case s.Accelerator != "kvm" && s.Accelerator != "tcg":
		return invalid(fmt.Sprintf("accelerator %q", s.Accelerator), "it is neither kvm nor tcg")
	case s.Hardware.CPUs < 1:
		return invalid("hardware", "%d CPUs", s.Hardware.CPUs)
	case s.Hardware.Memory < clade.MiB:
		return invalid("hardware", "memory of %v", s.Hardware.Memory)
	case s.Machine != "" && !machineForm.MatchString(s.Machine):
		return invalid(fmt.Sprintf("machine type %q", s.Machine), "it is none of ours")
	case len(s.Disks) > maxDisks:
		return invalid("hardware", "%d disks, more than %d", len(s.Disks), maxDisks)
	case s.Hardware.Firmware == clade.UEFI && s.NVRAM == "":
		return invalid("hardware", "UEFI without a file for its variables")
	}
	return nil
}

// checkSockets refuses paths that the operating system cannot listen on.
func checkSockets(p hypervisor.Place, s hypervisor.Spec) error {
	sockets := []string{filepath.Join(p.Run, statusSocket)} // the longest of ours
	if s.NIC != nil {
		sockets = append(sockets, s.NIC.Socket)
	}
	for _, path := range sockets {
		if len(path) > maxSocketPath {
			return &clade.Error{Op: "listen on", On: path, Kind: clade.Invalid,
				Err:  fmt.Errorf("%d bytes are too long for a socket's path, at most %d", len(path), maxSocketPath),
				Hint: "use a shorter run directory: set XDG_RUNTIME_DIR"}
		}
	}
	return nil
}

// checkFiles refuses a start that QEMU would refuse, in better words. Kinds:
// NotFound, Denied.
func checkFiles(s hypervisor.Spec) error {
	for i, d := range s.Disks {
		if err := canOpen(d.Path, os.O_RDWR); err != nil {
			return fileError("open", fmt.Sprintf("disk %d", i), err)
		}
	}
	if s.Memory != nil && s.Memory.State != "" {
		if err := checkMemory(s); err != nil {
			return fileError("open", "memory", err)
		}
	}
	if s.Seed == "" {
		return nil
	}
	if err := canOpen(s.Seed, os.O_RDONLY); err != nil {
		return fileError("open", "seed", err)
	}
	return nil
}

// checkMemory refuses what cannot be resumed. QEMU wants to be able to write to the
// memory that it maps privately.
func checkMemory(s hypervisor.Spec) error {
	if err := canOpen(s.Memory.State, os.O_RDONLY); err != nil || s.Memory.File == "" {
		return err
	}
	if err := canOpen(s.Memory.File, os.O_RDWR); err != nil {
		return err
	}
	st, err := os.Stat(s.Memory.File)
	if err == nil && clade.Bytes(st.Size()) != s.Hardware.Memory {
		err = &clade.Error{Kind: clade.Corrupt, Err: fmt.Errorf("it has %v, the machine has %v", clade.Bytes(st.Size()), s.Hardware.Memory)}
	}
	return err
}

func canOpen(path string, how int) error {
	f, err := os.OpenFile(path, how, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
