package qemu_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qemu"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// machine is a small machine of two disks.
func machine() hypervisor.Spec {
	return hypervisor.Spec{
		ID: "abcde23456", Name: "web-1", UUID: "0b0e9a4c-8f0e-4a53-a5a4-2f6c1c1f4a11", Accelerator: "tcg",
		Hardware: clade.Hardware{CPUs: 1, Memory: 64 * clade.MiB, Firmware: clade.BIOS},
		Disks: []hypervisor.Disk{
			{Path: "/home/u/machines/abcde23456/disk0-0.qcow2", Serial: "abcde23456-0"},
			{Path: "/home/u/a,b/disk1-0.qcow2", Serial: "abcde23456-1"},
		},
		NIC:  &hypervisor.NIC{MAC: "52:54:00:11:22:33", Socket: "/run/user/1000/clade/abcde23456/nic"},
		Seed: "/home/u/machines/abcde23456/seed.img",
	}
}

func TestArgs(t *testing.T) {
	place := hypervisor.Place{Dir: "/home/u/a,b", Run: "/run/user/1000/clade/abcde23456"}
	bios := machine()
	uefi := machine()
	uefi.Accelerator, uefi.Hardware = "kvm", clade.Hardware{CPUs: 4, Memory: 2 * clade.GiB, Firmware: clade.UEFI}
	uefi.NVRAM = "/home/u/machines/abcde23456/nvram.fd"
	uefi.NIC = &hypervisor.NIC{MAC: "52:54:00:11:22:33", Bridge: "br0"}
	bare := machine()
	bare.Disks, bare.NIC, bare.Seed = bare.Disks[:1], nil, ""
	warm := bare
	warm.Machine, warm.Memory = "pc-q35-7.2", &hypervisor.Memory{File: "/home/u/a,b/ram"}
	instant := warm
	instant.Memory = &hypervisor.Memory{File: "/home/u/a,b/ram", State: "/home/u/a,b/state"}
	kept := bare
	kept.Machine, kept.Memory = "pc-q35-7.2", &hypervisor.Memory{State: "/home/u/a,b/memory-a"}
	for _, test := range []struct {
		name string
		spec hypervisor.Spec
		code string
	}{
		{"kept", kept, ""},
		{"warm", warm, ""},
		{"instant", instant, ""},
		{"bios-socket-tcg", bios, ""},
		{"uefi-bridge-kvm", uefi, "/usr/share/OVMF/OVMF_CODE_4M.fd"},
		{"bare", bare, ""},
	} {
		got := strings.ReplaceAll(strings.Join(qemu.Args(place, test.spec, test.code), "\n"), "\n-", "\n\n-") + "\n"
		path := filepath.Join("testdata", test.name+".args")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: the command line is\n%s\nwant\n%s", test.name, got, want)
		}
	}
}

// What would make a wrong command line, or more than one option of a value, is
// refused before anything happens.
func TestStartRefuses(t *testing.T) {
	place := hypervisor.Place{Dir: t.TempDir(), Run: "/nonexistent"}
	long := "/run/" + strings.Repeat("x", 100)
	for what, spoil := range map[string]func(p *hypervisor.Place, s *hypervisor.Spec){
		"no name":            func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Name = "" },
		"option in name":     func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Name = "a,debug-threads=on" },
		"option in serial":   func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Disks[0].Serial = "a,readonly=on" },
		"long serial":        func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Disks[0].Serial = strings.Repeat("a", 21) },
		"relative disk":      func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Disks[1].Path = "disk1" },
		"option in machine":  func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Machine = "pc-q35-7.2,dumpdtb=x" },
		"relative memory":    func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Memory = &hypervisor.Memory{File: "ram"} },
		"relative seed":      func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Seed = "seed" },
		"relative dir":       func(p *hypervisor.Place, _ *hypervisor.Spec) { p.Dir = "machines/x" },
		"long run dir":       func(p *hypervisor.Place, _ *hypervisor.Spec) { p.Run = long },
		"long NIC socket":    func(_ *hypervisor.Place, s *hypervisor.Spec) { s.NIC.Socket = long + "/nic" },
		"no UUID":            func(_ *hypervisor.Place, s *hypervisor.Spec) { s.UUID = "" },
		"UUID in braces":     func(_ *hypervisor.Place, s *hypervisor.Spec) { s.UUID = "{" + s.UUID + "}" },
		"no MAC":             func(_ *hypervisor.Place, s *hypervisor.Spec) { s.NIC.MAC = "52:54" },
		"option in bridge":   func(_ *hypervisor.Place, s *hypervisor.Spec) { s.NIC.Bridge = "br0 --fd=9" },
		"accelerator":        func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Accelerator = "xen" },
		"no CPU":             func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Hardware.CPUs = 0 },
		"no memory":          func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Hardware.Memory = 0 },
		"too many disks":     func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Disks = make([]hypervisor.Disk, 21) },
		"UEFI without NVRAM": func(_ *hypervisor.Place, s *hypervisor.Spec) { s.Hardware.Firmware = clade.UEFI },
	} {
		p, s := place, machine()
		spoil(&p, &s)
		if what == "too many disks" {
			for i := range s.Disks {
				s.Disks[i] = hypervisor.Disk{Path: fmt.Sprintf("/d%d", i), Serial: "x"}
			}
		}
		err := qemu.New(qemu.Config{Binary: "/nonexistent"}).Start(t.Context(), p, s)
		if !errors.Is(err, clade.Invalid) {
			t.Errorf("%s: Start = %v, want %v", what, err, clade.Invalid)
		}
	}
	entries, err := os.ReadDir(place.Dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("a start that was refused left %v, %v", entries, err)
	}
}

func TestNoQEMU(t *testing.T) {
	d := qemu.New(qemu.Config{Binary: "/nonexistent"})
	err := d.Start(t.Context(), hypervisor.Place{Dir: t.TempDir(), Run: t.TempDir()}, machine())
	if !errors.Is(err, clade.Missing) || !strings.Contains(clade.HintOf(err), "apt-get install") {
		t.Errorf("Start = %v, hint %q, want %v and how to install it", err, clade.HintOf(err), clade.Missing)
	}
	if _, err := d.Version(t.Context()); !errors.Is(err, clade.Missing) {
		t.Errorf("Version = %v, want %v", err, clade.Missing)
	}
}
