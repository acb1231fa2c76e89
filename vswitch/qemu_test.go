//go:build integration

package vswitch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/clade-vm/clade"
)

// bootQEMU runs a QEMU that boots from the network: its own ROM asks for a lease,
// so that a real DHCP client is had without any operating system. It returns the
// port, and the file with what the ROM says on the serial console.
func bootQEMU(t *testing.T, dir string, n int) (Port, string) {
	t.Helper()
	p := Port{Machine: clade.Name(fmt.Sprintf("q%d", n)), MAC: fmt.Sprintf("52:54:00:aa:00:%02x", n),
		IP: netip.AddrFrom4([4]byte{10, 80, 2, byte(n)}), Socket: filepath.Join(dir, fmt.Sprintf("q%d.sock", n))}
	console := filepath.Join(dir, fmt.Sprintf("q%d.log", n))
	cmd := exec.Command("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-m", "64",
		"-netdev", "stream,id=n0,server=on,addr.type=unix,addr.path="+p.Socket,
		"-device", "virtio-net-pci,netdev=n0,bootindex=1,mac="+p.MAC,
		"-machine", "pc,graphics=off", "-boot", "n", // without graphics the console is the serial port
		"-device", "isa-serial,chardev=c0", "-chardev", "file,id=c0,path="+console)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install QEMU: apt-get install qemu-system-x86 ipxe-qemu", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "QEMU listens", func() bool { _, err := os.Stat(p.Socket); return err == nil })
	return p, console
}

// Two real machines get the leases that are theirs, one from a switch that ran
// before it and one from a switch that was run after the first was killed.
func TestQEMUGetsItsLease(t *testing.T) {
	dir := newDir(t)
	control := filepath.Join(dir, "net.sock")
	first, console1 := bootQEMU(t, dir, 1)
	killed := spawnSwitch(t, control, &guest{Port: first})
	leased(t, console1, first)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed.Wait()
	second, console2 := bootQEMU(t, dir, 2)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, testPlan, func(context.Context) ([]Port, error) { return []Port{first, second}, nil },
			control, slog.New(slog.DiscardHandler))
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	if err := Ensure(ctx, control, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	leased(t, console2, second)
	s, err := Stat(ctx, control)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Ports {
		if !p.Connected {
			t.Errorf("machine %s is not connected", p.Machine)
		}
	}
}

// leased waits until the ROM shows the address of the port.
func leased(t *testing.T, console string, p Port) {
	t.Helper()
	want := fmt.Sprintf("net0: %s/255.255.0.0 gw 10.80.0.1", p.IP)
	for limit := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		said, err := os.ReadFile(console)
		if err == nil && bytes.Contains(said, []byte(want)) {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("no %q on the console (%v):\n%s", want, err, said)
		}
	}
}
