package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
)

// Promote makes a linked clone full: a stopped one gets flat copies of its heads, a
// running one copies what it lacks while it runs on. It is full when all is copied;
// until then, and after an error, it rests on what it did. A running one goes on
// where a promote that was killed had come to.
func (h *Host) Promote(ctx context.Context, name clade.Name, p clade.Progress) (*clade.Removal, error) {
	on := "machine " + string(name)
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	m, release, err := h.hold(ctx, name, "promote")
	if err != nil {
		return nil, err
	}
	defer release()
	if err := errors.Join(awake(m, "promote"), h.settle(ctx, m), h.ready(ctx, m)); err != nil {
		return nil, fileError("promote", on, err)
	}
	if err := h.roomToPromote(ctx, m); err != nil {
		return nil, err
	}
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return nil, fileError("promote", on, err)
	}
	var r *clade.Removal
	if status.State == clade.Stopped {
		r, err = h.promoteStopped(ctx, m, p)
	} else {
		r, err = h.promoteRunning(ctx, m, p)
	}
	return r, fileError("promote", on, err)
}

// roomToPromote refuses what there is no room for, and what is full already.
func (h *Host) roomToPromote(ctx context.Context, m *store.Machine) error {
	b := &base{machine: m, of: m.Disks, layers: layersOf(m.Disks)}
	on := "machine " + string(m.Name)
	if len(onNothing(m)) == 0 {
		return &clade.Error{Op: "promote", On: on, Kind: clade.Unsupported, Err: errors.New("it rests on nothing: it is full already")}
	}
	need, err := h.cost(ctx, b, clade.Full)
	if err != nil {
		return err
	}
	free, err := image.Space(h.Dir)
	if err != nil || need <= free || image.Reflinks(h.path(tmpDir)) {
		return err
	}
	return &clade.Error{Op: "promote", On: on, Kind: clade.NoSpace, Err: fmt.Errorf("%v needed in %s, %v free", need, h.Dir, free),
		Hint: "free some space: clade du shows who takes it"}
}

// onNothing is how the record calls a promoted machine's disks: those that rest on
// something now.
func onNothing(m *store.Machine) []clade.Disk {
	disks := slices.DeleteFunc(slices.Clone(m.Disks), func(d clade.Disk) bool { return d.Layer == "" })
	for i := range disks {
		disks[i].Layer, disks[i].Base = "", ""
	}
	return disks
}

func (h *Host) promoteStopped(ctx context.Context, m *store.Machine, p clade.Progress) (*clade.Removal, error) {
	heads := h.headsOf(m, onNothing(m))
	flatten := func(files []string) error {
		for i, file := range files {
			if _, err := image.Flatten(ctx, heads[i], file, p); err != nil {
				return err
			}
		}
		return nil
	}
	return h.replaceHeads(ctx, m, change{disks: onNothing(m), prepare: flatten,
		record: func(tx *store.Tx) error {
			err := tx.LeaveWarm(m.ID)
			if m.Clone != "" { // a machine that is no clone does not become one
				err = errors.Join(err, tx.SetSource(m.ID, clade.Full, m.Source))
			}
			return err
		}})
}

func (h *Host) promoteRunning(ctx context.Context, m *store.Machine, p clade.Progress) (*clade.Removal, error) {
	if err := h.copyable(ctx, m, p); err != nil {
		return nil, err
	}
	r, err := h.streamOnto(ctx, m, make([]hypervisor.Rest, len(m.Disks)), 0, "promote machine "+string(m.Name), p)
	if err == nil && len(onNothing(m)) > 0 {
		err = errors.New("it still rests on something")
	}
	return r, err
}
