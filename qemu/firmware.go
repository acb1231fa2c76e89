package qemu

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// ovmf lists where distributions keep the UEFI firmware for q35 without Secure
// Boot, and the variables it starts with.
var ovmf = []struct{ code, vars string }{
	{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},                                           // Debian, Ubuntu
	{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},                                       // Fedora, RHEL
	{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},                                   // Arch
	{"/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"},                           // openSUSE
	{"/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"},                                     // QEMU's own
	{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},                                                 // older Debian, Ubuntu
	{"/run/current-system/sw/share/qemu/edk2-x86_64-code.fd", "/run/current-system/sw/share/qemu/edk2-i386-vars.fd"}, // NixOS
}

// firmware returns the path of the UEFI firmware a machine needs, "" for BIOS,
// and makes the file of its variables where there is none. Kind Missing.
func firmware(s hypervisor.Spec) (code string, err error) {
	if s.Hardware.Firmware != clade.UEFI {
		return "", nil
	}
	for _, f := range ovmf {
		if canOpen(f.code, os.O_RDONLY) != nil || canOpen(f.vars, os.O_RDONLY) != nil {
			continue
		}
		if err := copyOnce(s.NVRAM, f.vars); err != nil {
			return "", fileError("make", "UEFI variables", err)
		}
		return f.code, nil
	}
	return "", &clade.Error{Op: "find", On: "UEFI firmware", Kind: clade.Missing,
		Err: errors.New("no OVMF on this computer"), Hint: "sudo apt-get install ovmf"}
}

// copyOnce makes the file to, as a whole, unless it is there.
func copyOnce(to, from string) error {
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	aside, err := os.CreateTemp(filepath.Dir(to), "nvram") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(aside.Name())
	if _, err := aside.Write(data); err != nil {
		aside.Close()
		return err
	}
	if err := aside.Close(); err != nil {
		return err
	}
	return os.Rename(aside.Name(), to)
}
