package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
)

// streamOnto has a running machine's heads rest on less, and records what they rest
// on then: what the files themselves say. m is as the record is when it returns.
func (h *Host) streamOnto(ctx context.Context, m *store.Machine, onto []hypervisor.Rest, pace clade.Bytes, step string, p clade.Progress) (*clade.Removal, error) {
	s, ok := h.Driver.(hypervisor.Streamer)
	if !ok {
		return nil, &clade.Error{Kind: clade.Unsupported, Err: errors.New("this driver cannot do it while the machine runs"), Hint: "stop it first"}
	}
	op, err := h.begin(ctx, "stream") // names the machine to who comes after a kill
	if err != nil {
		return nil, err
	}
	defer op.end()
	if err := os.WriteFile(filepath.Join(op.dir, frozenFile), []byte(m.Name), 0o600); err != nil {
		return nil, err
	}
	err = s.Stream(ctx, h.place(m.ID), onto, pace, func(done, total int64) {
		p.Tell(clade.Event{Step: step, Done: done, Total: total, Unit: "B"})
	})
	op.keep = err != nil // some of it may be done: the sweep looks
	if err != nil {
		return nil, err
	}
	h.did("stream: done")
	r := &clade.Removal{Removed: "what machine " + string(m.Name) + " rested on"}
	err = h.agree(ctx, m, r)
	op.keep = err != nil
	p.Tell(clade.Event{Step: step, End: true})
	return r, err
}

// copyable gives a running machine heads that can be copied into while it runs:
// without subclusters, of which a QEMU before 8.1 dies. What the machine wrote so far
// is one more layer, until nothing rests on that. m is as the record is then.
func (h *Host) copyable(ctx context.Context, m *store.Machine, p clade.Progress) error {
	if _, ok := h.Driver.(hypervisor.Streamer); !ok {
		return nil // streamOnto says so
	}
	var disks []clade.Disk
	for i, d := range m.Disks {
		if d.Layer == "" {
			continue // it lacks nothing
		}
		info, err := qcow2.InspectFile(h.headPaths(m)[i])
		if err != nil {
			return err
		}
		if info.ExtendedL2 {
			disks = append(disks, d)
		}
	}
	if len(disks) == 0 {
		return nil
	}
	plain := func(layer string, virtual clade.Bytes) qcow2.Overlay {
		o := head(layer, virtual)
		o.PlainL2 = true
		return o
	}
	frozen, err := h.freezeOnto(ctx, m, disks, freezing{plain, h.moveToHeads}, p)
	if err == nil {
		*m = *frozen
	}
	return err
}

// agree makes the record of m say what its heads themselves say they rest on: a
// stream ends in the hypervisor, also when the command that began it is gone. Layers
// that nothing rests on any more are removed, as r says. m is as the record is then.
func (h *Host) agree(ctx context.Context, m *store.Machine, r *clade.Removal) error {
	disks, changed, err := h.restedOn(ctx, m)
	if err != nil || !changed {
		return err
	}
	for _, head := range h.headPaths(m) { // what was copied is on the disk before it goes where it was copied from
		if err := syncDir(head); err != nil { // a file is synced like a directory
			return err
		}
	}
	rests := false
	for _, d := range disks {
		rests = rests || d.Layer != ""
	}
	var gone []*clade.Layer
	err = h.db.Write(ctx, func(tx *store.Tx) (err error) {
		for i, d := range disks {
			if err := tx.SetDisk(m.ID, d, m.Heads[i]); err != nil {
				return err
			}
		}
		if !rests && m.Clone != "" { // a machine that is no clone does not become one
			if err := errors.Join(tx.SetSource(m.ID, clade.Full, m.Source), tx.LeaveWarm(m.ID)); err != nil {
				return err
			}
		}
		gone, err = removeUnused(tx)
		return err
	})
	if err != nil {
		return err
	}
	h.did("stream: recorded")
	m.Disks = disks
	return h.dropLayers(ctx, r, gone, nil)
}

// restedOn returns m's disks with the layers that the heads name, and whether these
// are others than the record has. Kind Corrupt where they do not lie below those.
func (h *Host) restedOn(ctx context.Context, m *store.Machine) (disks []clade.Disk, changed bool, err error) {
	disks = clone(m).Disks
	for i, head := range h.headPaths(m) {
		name, _, err := qcow2.Backing(head)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, clade.NotFound) {
			continue // ready says so
		}
		if err != nil {
			return nil, false, err
		}
		was := disks[i].Layer
		if name == backing(was) {
			continue
		}
		tree, err := h.tree(ctx)
		if err != nil {
			return nil, false, err
		}
		chain, err := tree.Chain(was)
		if err != nil {
			return nil, false, err
		}
		is, base := "", false
		for _, l := range chain {
			if name == backing(l.ID) {
				is = l.ID
			}
			base = base || is != "" && l.ID == disks[i].Base
		}
		if is == "" && name != "" {
			return nil, false, &clade.Error{Op: "check", On: "machine " + string(m.Name), Kind: clade.Corrupt,
				Err: fmt.Errorf("disk %d rests on %.120q, which is not below it", disks[i].Slot, name)}
		}
		if disks[i].Layer = is; !base {
			disks[i].Base = ""
		}
		changed = true
	}
	return disks, changed, nil
}
