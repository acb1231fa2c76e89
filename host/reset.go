package host

import (
	"context"
	"errors"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
)

// Reset makes a stopped linked clone what it was when it was made: new heads on
// the layers it was made on. It keeps its identity and its snapshots; its guest
// boots for the first time again, and an instant clone's wakes again. On an error
// it is as it was.
func (h *Host) Reset(ctx context.Context, name clade.Name, p clade.Progress) (*clade.Removal, error) {
	m, release, err := h.holdStopped(ctx, name, "reset")
	if err != nil {
		return nil, err
	}
	defer release()
	disks, err := basesOf(m, "reset")
	if err != nil {
		return nil, err
	}
	if err := h.chainIntact(ctx, layersOf(disks)...); err != nil {
		return nil, fileError("reset", "machine "+string(name), err)
	}
	r, err := h.replaceHeads(ctx, m, change{disks: disks, asleep: m.Clone == clade.Instant, record: func(tx *store.Tx) error { return tx.SetMachineID(m.ID, "") }})
	return r, fileError("reset", "machine "+string(name), err)
}

// basesOf returns m's system disks as they were when it was made. Kind Unsupported for a
// machine that rests on nothing.
func basesOf(m *store.Machine, op string) ([]clade.Disk, error) {
	disks := systemDisks(m.Disks)
	for i, d := range disks {
		if d.Base == "" {
			return nil, &clade.Error{Op: op, On: "machine " + string(m.Name), Kind: clade.Unsupported,
				Err: errors.New("it is no linked clone: it was made on nothing"), Hint: "keep moments of it: clade snapshot create " + string(m.Name) + " NAME"}
		}
		disks[i].Layer = d.Base
	}
	return disks, nil
}

func layersOf(disks []clade.Disk) []string {
	layers := make([]string, len(disks))
	for i, d := range disks {
		layers[i] = d.Layer
	}
	return layers
}
