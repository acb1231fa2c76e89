package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qmp"
)

const (
	freezeLimit = 5 * time.Second  // for the guest to freeze its file systems
	thawLimit   = 30 * time.Second // for it to thaw them, whatever the caller's context says
	undoLimit   = 5 * time.Second
)

// Heads implements hypervisor.Snapshotter.
func (d *Driver) Heads(ctx context.Context, p hypervisor.Place) ([]string, error) {
	if err := running(p); err != nil {
		return nil, err
	}
	c, err := dial(ctx, p, statusSocket)
	if err != nil {
		return nil, talkError(p, "ask", "QEMU", err)
	}
	defer c.Close()
	heads, err := headsOf(ctx, c)
	if err != nil {
		return nil, talkError(p, "read", "the heads", err)
	}
	var paths []string
	for _, h := range heads {
		paths = append(paths, h.path)
	}
	return paths, nil
}

// head is where one disk writes to now.
type head struct {
	node string
	path string
}

// headsOf returns the heads by slot. A qcow2 node's own file name is of no use,
// since QEMU writes it as JSON once what it rests on was moved; that of the node
// below it is plain.
func headsOf(ctx context.Context, c *qmp.Client) ([]head, error) {
	var devices []struct {
		QDev     string `json:"qdev"`
		Inserted struct {
			Node string `json:"node-name"`
		} `json:"inserted"`
	}
	if err := c.Execute(ctx, "query-block", nil, &devices); err != nil {
		return nil, err
	}
	var nodes []struct {
		Node string `json:"node-name"`
		File string `json:"file"`
	}
	if err := c.Execute(ctx, "query-named-block-nodes", object{"flat": true}, &nodes); err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for _, n := range nodes {
		files[n.Node] = n.File
	}
	bySlot := make(map[int]head)
	for _, d := range devices {
		if m := diskDevice.FindStringSubmatch(d.QDev); m != nil {
			slot, _ := strconv.Atoi(m[1])
			bySlot[slot] = head{node: d.Inserted.Node, path: files[fileNode(d.Inserted.Node)]}
		}
	}
	heads := make([]head, len(bySlot))
	for slot := range heads {
		h, ok := bySlot[slot]
		if !ok || h.path == "" {
			return nil, fmt.Errorf("disk %d has no file that is known", slot)
		}
		heads[slot] = h
	}
	return heads, nil
}

// diskDevice is the place of a disk among QEMU's devices.
var diskDevice = regexp.MustCompile(`^/machine/peripheral/disk(\d{1,2})(/|$)`)

// Switch implements hypervisor.Snapshotter. The new heads must be qcow2 files of
// at least the size of the disks; which backing file they name is not looked at:
// they rest on what the machine has open.
func (d *Driver) Switch(ctx context.Context, p hypervisor.Place, heads []string) (hypervisor.Pause, error) {
	if err := running(p); err != nil {
		return hypervisor.Pause{}, err
	}
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return hypervisor.Pause{}, talkError(p, "ask", "QEMU", err)
	}
	defer c.Close()
	moves, err := plan(ctx, c, heads)
	if err != nil {
		return hypervisor.Pause{}, talkError(p, "switch", "heads", err)
	}
	if len(moves) == 0 {
		return hypervisor.Pause{}, nil
	}
	if err := open(ctx, c, moves); err != nil {
		return hypervisor.Pause{}, talkError(p, "switch", "heads", err)
	}
	pause, err := d.move(ctx, p, c, moves)
	if err != nil {
		forget(ctx, c, moves)
		return hypervisor.Pause{}, talkError(p, "switch", "heads", err)
	}
	return pause, nil
}

// move is the way of one disk to its new head.
type move struct {
	from, to string // block nodes
	path     string // the file of the new one
}

// plan pairs the new heads with the disks, but for those that have theirs already.
func plan(ctx context.Context, c *qmp.Client, heads []string) ([]move, error) {
	now, err := headsOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(heads) != len(now) {
		return nil, invalid("new heads", "%d of them for %d disks", len(heads), len(now))
	}
	var moves []move
	for slot, path := range heads {
		if !filepath.IsAbs(path) {
			return nil, invalid(fmt.Sprintf("path %q", path), "it is not absolute")
		}
		if sameFile(path, now[slot].path) {
			continue
		}
		moves = append(moves, move{from: now[slot].node, to: nextNode(slot, now[slot].node), path: path})
	}
	return moves, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return a == b || err == nil && err2 == nil && os.SameFile(x, y)
}

// nextNode returns the name of the node that comes after: disk0, disk0.1, disk0.2.
func nextNode(slot int, node string) string {
	generation := 0
	_, _ = fmt.Sscanf(node, diskName(slot)+".%d", &generation)
	return fmt.Sprintf("%s.%d", diskName(slot), generation+1)
}

// open makes QEMU open the new heads, all or none, while the guest runs on.
func open(ctx context.Context, c *qmp.Client, moves []move) error {
	for i, m := range moves {
		node := qcow2Node(m.to, m.path)
		node["backing"] = nil
		if err := c.Execute(ctx, "blockdev-add", node, nil); err != nil {
			forget(ctx, c, moves[:i+1])
			if refusal, is := errors.AsType[*qmp.Error](err); is {
				return openFailure(m.path, refusal)
			}
			return err
		}
	}
	return nil
}

// openFailure gives QEMU's refusal to open a head its kind.
func openFailure(path string, refusal *qmp.Error) error {
	e := &clade.Error{Op: "open", On: path, Kind: clade.Corrupt, Err: refusal}
	for _, f := range failures {
		if strings.Contains(strings.ToLower(refusal.Desc), f.words) {
			e.Kind, e.Hint = f.kind, f.hint
			break
		}
	}
	return e
}

// forget closes new heads that are not in use; QEMU refuses for those that are.
func forget(ctx context.Context, c *qmp.Client, moves []move) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	for _, m := range moves {
		_ = c.Execute(ctx, "blockdev-del", object{"node-name": m.to}, nil)
	}
}

// switches are the moves as actions of one transaction.
func switches(moves []move) (actions []object) {
	for _, m := range moves {
		actions = append(actions, object{"type": "blockdev-snapshot", "data": object{"node": m.from, "overlay": m.to}})
	}
	return actions
}

// move puts all disks on their new heads in one transaction, with the guest's
// file systems frozen where its agent can.
func (d *Driver) move(ctx context.Context, p hypervisor.Place, c *qmp.Client, moves []move) (hypervisor.Pause, error) {
	ice, err := d.freeze(ctx, p)
	if err != nil {
		d.log.Info("file systems are not frozen", "place", p.Dir, "error", err)
	}
	began := ice.began
	if began.IsZero() {
		began = time.Now()
	}
	err = c.Execute(ctx, "transaction", object{"actions": switches(moves)}, nil)
	frozen := d.thaw(ctx, p, ice)
	return hypervisor.Pause{Length: time.Since(began), Frozen: frozen && err == nil}, err
}
