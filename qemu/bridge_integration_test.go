//go:build integration

package qemu_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qemu"
	"golang.org/x/sys/unix"
)

const inNamespaces = "CLADE_TEST_IN_NAMESPACES"

// TestBridge puts a machine on a bridge of the host. The host is one of the
// test's own making: user, mount and network namespaces in which an ordinary
// user may make a bridge and say who may use it.
func TestBridge(t *testing.T) {
	if os.Getenv(inNamespaces) != "" {
		onBridges(t)
		return
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("this user may make no TAP device, which on Debian all may: %v", err)
	}
	tun.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestBridge$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespaces+"=1", "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func onBridges(t *testing.T) {
	allow(t, "br0")
	for _, name := range []string{"br0", "br1"} {
		addBridge(t, name)
	}
	d, p, s := qemu.New(qemu.Config{}), place(t), spec(t, t.TempDir())
	s.NIC = &hypervisor.NIC{MAC: "52:54:00:12:34:56", Bridge: "br0"}
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	if ports := ports(t, "br0"); len(ports) != 1 {
		t.Errorf("bridge br0 has ports %q, want the machine's", ports)
	}
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for range 500 { // the kernel takes the device away when QEMU is gone
		if len(ports(t, "br0")) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if ports := ports(t, "br0"); len(ports) != 0 {
		t.Errorf("bridge br0 has ports %q of a machine that is gone", ports)
	}
	for bridge, kind := range map[string]clade.Kind{"br1": clade.Denied, "none": clade.NotFound} {
		s.NIC.Bridge = bridge
		if bridge == "none" {
			allow(t, "none")
		}
		if err := d.Start(t.Context(), p, s); !errors.Is(err, kind) || !strings.Contains(err.Error(), bridge) {
			t.Errorf("start on bridge %s: %v, want kind %q", bridge, err, kind)
		}
	}
}

// allow makes /etc/qemu/bridge.conf say, in this mount namespace only, which
// bridge may be used.
func allow(t *testing.T, bridge string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"upper/qemu", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "upper/qemu/bridge.conf"), []byte("allow "+bridge+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	options := "lowerdir=/etc,upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	if err := unix.Mount("overlay", "/etc", "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount("/etc", unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// addBridge makes a bridge in this network namespace (netdevice(7), SIOCBRADDBR).
func addBridge(t *testing.T, name string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	text, err := unix.BytePtrFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCBRADDBR, uintptr(unsafe.Pointer(text))); errno != 0 {
		t.Fatalf("make bridge %s: %v", name, errno)
	}
}

// ports lists the devices on a bridge, as this network namespace's own sysfs has
// them.
func ports(t *testing.T, bridge string) (names []string) {
	t.Helper()
	sys := t.TempDir()
	if err := unix.Mount("sysfs", sys, "sysfs", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(sys, unix.MNT_DETACH)
	entries, err := os.ReadDir(filepath.Join(sys, "class/net", bridge, "brif"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
