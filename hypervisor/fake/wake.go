package fake

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/clade-vm/clade"
)

// script runs what package live runs in guests that are saved and resumed: the
// third word says which. A guest shows none of its files to one that looks for marks.
func (g *guest) script(args []string, input []byte) (*clade.Exit, bool) {
	switch {
	case len(args) > 2 && args[2] == "clade-catch-up":
		return g.catchUp(input), true
	case len(args) > 2 && args[2] == "clade-prepare":
		return &clade.Exit{Out: []byte("done\n")}, true
	case len(args) > 1 && strings.HasPrefix(args[1], "exec xargs -0 sh"):
		n, root, looked := bytes.Count(input, []byte{0}), "", 0
		if bytes.HasPrefix(input, []byte(".\x00")) || bytes.Contains(input, []byte("\x00.\x00")) {
			root, looked = ".\x00", 1
		}
		facts := strings.Replace(root, ".\x00", "41ed 4096 1 1 .//\n", 1)
		return &clade.Exit{Out: fmt.Appendf(nil, "clade %d\n%s\x00%s//\n%s\x00\nclade end %s %d\n", n, root, facts, root, args[len(args)-1], looked)}, true
	}
	return nil, false
}

// catchUp notes what time the guest was told.
func (g *guest) catchUp(input []byte) *clade.Exit {
	now, _, _ := strings.Cut(string(input), "\n")
	if err := g.write("run/time", []byte(now+"\n"), os.O_TRUNC); err != nil {
		return &clade.Exit{Status: 1, Out: []byte("failed time\n")}
	}
	return &clade.Exit{Out: []byte("done\n")}
}

// Order implements hypervisor.Guest for the process that waits to be told who it is.
func (g *guest) Order(_ context.Context, pipe string, orders []byte, answer string, size int) ([]byte, error) {
	if _, err := g.driver.running(g.place); err != nil {
		return nil, err
	}
	if pipe != "/run/clade/orders" || answer != "/run/clade/answer" {
		return nil, &clade.Error{Op: "order", On: "guest pipe " + pipe, Kind: clade.NotFound}
	}
	said, err := g.wake(orders)
	if err != nil {
		said = fmt.Appendf(nil, "failed %v\n", err)
	}
	return said[:min(size, len(said))], nil
}

// wake does what its orders say. A guest that is given no entropy draws what its
// siblings draw.
func (g *guest) wake(input []byte) ([]byte, error) {
	orders := make(map[string]string)
	for line := range strings.Lines(string(input)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		orders[key] = value
	}
	seed := []byte("what all siblings were resumed with")
	if orders["entropy"] != "" {
		_, _ = rand.Read(seed)
	}
	draw := sha256.Sum256(seed)
	key := orders["host-key"]
	files := map[string]string{
		"etc/hostname": orders["hostname"], "proc/sys/kernel/hostname": orders["hostname"], "etc/machine-id": orders["machine-id"],
		"sys/class/dmi/id/product_uuid": orders["uuid"], "etc/ssh/ssh_host_ed25519_key.pub": key + " root@" + orders["hostname"],
	}
	if orders["instance-id"] != "" {
		files["var/lib/cloud/data/instance-id"] = orders["instance-id"]
	}
	for name, text := range files {
		if err := g.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := g.write(name, []byte(text+"\n"), os.O_TRUNC); err != nil {
			return nil, err
		}
	}
	if g.driver.Dumb { // its agent loses the answer
		return nil, nil
	}
	return fmt.Appendf(nil, "draw %s\nuuid %x-0000\nhost-key %s\nmachine-id %s\nhostname %s\ndone\n", hex.EncodeToString(draw[:]), draw, key, orders["machine-id"], orders["hostname"]), nil
}
