//go:build integration

package qemu_test

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade/hypervisor"
)

// microguest is a boot sector that is all of an operating system the tests need:
// it echoes what is typed on the serial console; at a "w" it writes itself to the
// second sector of both disks and says "W", or "E" for an error; and it powers off
// when the power button is pressed. In AT&T syntax:
//
//	        xorw %ax, %ax; movw %ax, %ds; movw %ax, %es; movw %ax, %ss
//	        movw $0x7c00, %sp
//	        movw $0x602, %dx; movw $0x100, %ax; outw %ax, %dx    # enable the power button
//	loop:   movw $0x3fd, %dx; inb %dx, %al; testb $1, %al; jz power
//	        movw $0x3f8, %dx; inb %dx, %al; cmpb $'w', %al; je write
//	        outb %al, %dx
//	power:  movw $0x600, %dx; inw %dx, %ax; testb $1, %ah; jz loop
//	        movw $0x604, %dx; movw $0x2000, %ax; outw %ax, %dx; jmp loop
//	write:  movb $0x80, %dl
//	next:   movw $0x0301, %ax; movw $2, %cx; xorb %dh, %dh; movw $0x7c00, %bx
//	        push %dx; int $0x13; pop %dx; jc bad
//	        incb %dl; cmpb $0x82, %dl; jne next
//	        movb $'W', %al; jmp out
//	bad:    movb $'E', %al
//	out:    movw $0x3f8, %dx; outb %al, %dx; jmp loop
const microguest = "31c08ed88ec08ed0bc007cba0206b80001efbafd03eca8017409" +
	"baf803ec3c777413eeba0006edf6c40174e6ba0406b80020efebddb280b8" +
	"0103b9020030f6bb007c52cd135a720bfec280fa8275e8b057eb02b045ba" +
	"f803eeebb7"

// tool fails the test where a program is not there.
func tool(t *testing.T, name, install string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v\ninstall it: sudo apt-get install --no-install-recommends %s", err, install)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// spec is a machine of two disks that runs the microguest.
func spec(t *testing.T, dir string) hypervisor.Spec { return specOf(t, dir, microguest) }

// specOf is a machine of two disks that runs this code.
func specOf(t *testing.T, dir, code string) hypervisor.Spec {
	t.Helper()
	tool(t, "qemu-system-x86_64", "qemu-system-x86")
	tool(t, "qemu-img", "qemu-utils")
	sector, err := hex.DecodeString(code)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 1<<20)
	copy(raw, sector)
	raw[510], raw[511] = 0x55, 0xaa
	boot := filepath.Join(dir, "boot.raw")
	if err := os.WriteFile(boot, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s := machine()
	for i, name := range []string{"disk, 0.qcow2", "disk1.qcow2"} { // a comma and a space on purpose
		s.Disks[i].Path = filepath.Join(dir, name)
	}
	s.Seed = boot
	s.NIC.Socket = filepath.Join(runDir(t), "nic")
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", boot, s.Disks[0].Path)
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", s.Disks[1].Path, "1M")
	return s
}

// runDir is a directory with a short name, for sockets.
func runDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "q")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func overlay(t *testing.T, path, backing string) {
	t.Helper()
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing, path)
}
