package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// helperLimit is how long the bridge helper may take.
const helperLimit = 10 * time.Second

// helperPaths lists where distributions keep qemu-bridge-helper: never in PATH.
var helperPaths = []string{
	"/usr/lib/qemu/qemu-bridge-helper", // Debian, Ubuntu, Arch
	"/usr/libexec/qemu-bridge-helper",  // Fedora, RHEL
	"/usr/lib/qemu-bridge-helper",      // openSUSE
	"/usr/local/libexec/qemu-bridge-helper",
}

// tap returns a new TAP device on a bridge of the host. QEMU's own helper makes
// it, with the privileges the administrator gave it; it is run here and not by
// QEMU, whose sandbox lets it start nothing. The caller closes the file.
// Kinds: Missing (no helper), Denied (its list does not allow it), NotFound.
func (d *Driver) tap(ctx context.Context, bridge string) (*os.File, error) {
	helper, err := d.bridgeHelper()
	if err != nil {
		return nil, err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	near, far := os.NewFile(uintptr(ends[0]), "tap"), os.NewFile(uintptr(ends[1]), "helper")
	defer near.Close()
	defer far.Close()
	ctx, cancel := context.WithTimeout(ctx, helperLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, helper, "--use-vnet", "--br="+bridge, fmt.Sprintf("--fd=%d", tapFD))
	cmd.ExtraFiles = []*os.File{far}
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return nil, bridgeFailure(bridge, complain(said.Bytes()), err)
	}
	fd, err := receive(near)
	if err != nil {
		return nil, bridgeFailure(bridge, complain(said.Bytes()), err)
	}
	return fd, nil
}

func (d *Driver) bridgeHelper() (string, error) {
	candidates := helperPaths
	if d.config.BridgeHelper != "" {
		candidates = []string{d.config.BridgeHelper}
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", &clade.Error{Op: "find", On: "qemu-bridge-helper", Kind: clade.Missing,
		Err: errors.New("no such program"), Hint: "sudo apt-get install qemu-system-common"}
}

// receive takes the one file that the helper, which has ended, sent.
func receive(from *os.File) (*os.File, error) {
	space := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(from.Fd()), make([]byte, 1), space, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(space[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("the helper sent no device")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("the helper sent no device")
	}
	return os.NewFile(uintptr(fds[0]), "tap"), nil
}

// bridgeFailure gives the helper's words their kind, and says what to do.
func bridgeFailure(bridge, said string, err error) error {
	e := &clade.Error{Op: "connect to", On: "bridge " + bridge, Kind: clade.Internal, Err: err}
	if said != "" {
		e.Err = errors.New(said)
	}
	switch {
	case strings.Contains(said, "acl file"), strings.Contains(said, "bridge.conf"):
		e.Kind = clade.Denied
		e.Hint = "allow it: echo 'allow " + bridge + "' | sudo tee -a /etc/qemu/bridge.conf"
	case strings.Contains(said, "Operation not permitted"), errors.Is(err, syscall.EACCES):
		e.Kind = clade.Denied
		e.Hint = "the helper needs its privileges: sudo chmod u+s /usr/lib/qemu/qemu-bridge-helper"
	case strings.Contains(said, "No such device"):
		e.Kind = clade.NotFound
		e.Hint = "see the bridges of this computer: ip link show type bridge"
	}
	return e
}
