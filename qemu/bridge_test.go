package qemu

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// TestMain lets the test program be the bridge helper, which the driver runs as
// it runs the real one.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && strings.HasPrefix(os.Args[2], "--br=") {
		os.Exit(helper(strings.TrimPrefix(os.Args[2], "--br="), os.Args[3]))
	}
	os.Exit(m.Run())
}

// helper behaves as qemu-bridge-helper 7.2: it sends the device over the socket,
// or says why not.
func helper(bridge, fd string) int {
	complaints := map[string]string{
		"noacl":  "failed to parse default acl file `/etc/qemu/bridge.conf'",
		"denied": "access denied by acl file",
		"none":   "failed to get mtu of bridge `none': No such device",
		"nosuid": "failed to create tun device: Operation not permitted",
	}
	if said, bad := complaints[bridge]; bad {
		fmt.Fprintln(os.Stderr, said)
		return 1
	}
	var to int
	fmt.Sscanf(fd, "--fd=%d", &to)
	if bridge == "silent" {
		return 0
	}
	f, err := os.Open(os.DevNull)
	if err == nil {
		err = unix.Sendmsg(to, []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestTap(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := New(Config{BridgeHelper: self})
	f, err := d.tap(t.Context(), "br0")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, _ := f.Stat()
	want, _ := os.Stat(os.DevNull)
	if !os.SameFile(got, want) {
		t.Errorf("the device is %v, want the one the helper sent", got)
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the device would be passed on to any program: flags %#x, %v", flags, err)
	}
	for bridge, want := range map[string]clade.Kind{"noacl": clade.Denied, "denied": clade.Denied, "none": clade.NotFound, "nosuid": clade.Denied} {
		_, err := d.tap(t.Context(), bridge)
		if !errors.Is(err, want) || clade.HintOf(err) == "" {
			t.Errorf("tap on %s = %v, hint %q, want %v and a hint", bridge, err, clade.HintOf(err), want)
		}
	}
	if _, err := d.tap(t.Context(), "silent"); err == nil {
		t.Error("tap went through without a device")
	}
	if _, err := New(Config{BridgeHelper: "/nonexistent"}).tap(t.Context(), "br0"); !errors.Is(err, clade.Missing) {
		t.Errorf("tap without a helper = %v, want %v", err, clade.Missing)
	}
}
