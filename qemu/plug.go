package qemu

import (
	"context"
	"errors"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qmp"
)

// nicPort is the root port that a NIC is plugged into while the machine runs: the
// bus that the NIC has at boot takes no device then.
const nicPort = "port0"

// Plug implements hypervisor.Plugger, for NICs of user networks: a bridge's needs a
// file that QEMU must be started with. Kind Unsupported for those.
func (d *Driver) Plug(ctx context.Context, p hypervisor.Place, n hypervisor.NIC) error {
	if err := running(p); err != nil {
		return err
	}
	if n.Bridge != "" {
		return &clade.Error{Op: "plug", On: "NIC", Kind: clade.Unsupported, Err: errors.New("a bridge cannot be plugged into a running machine"),
			Hint: "use a user network"}
	}
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return talkError(p, "ask", "QEMU", err)
	}
	defer c.Close()
	return talkError(p, "plug", "NIC", plug(ctx, c, n))
}

func plug(ctx context.Context, c *qmp.Client, n hypervisor.NIC) error {
	err := c.Execute(ctx, "netdev_add", object{"type": "stream", "id": "net0", "server": true,
		"addr": object{"type": "unix", "path": n.Socket}}, nil)
	if err == nil {
		// It listens a moment later, and until then QEMU 7.2 takes it for connected: it would
		// crash (object_get_class of nothing) at what the guest sends.
		err = c.Execute(ctx, "set_link", object{"name": "net0", "up": false}, nil)
	}
	if err != nil && !isThere(err) {
		return err
	}
	err = c.Execute(ctx, "device_add", object{"driver": "virtio-net-pci", "id": "nic0", "bus": nicPort,
		"netdev": "net0", "mac": n.MAC, "romfile": ""}, nil)
	if err != nil && !isThere(err) {
		return err
	}
	return nil
}

// isThere reports whether QEMU refuses what it has already.
func isThere(err error) bool {
	said, is := errors.AsType[*qmp.Error](err)
	return is && strings.Contains(strings.ToLower(said.Desc), "duplicate")
}
