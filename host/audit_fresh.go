package host

import (
	"context"
	"fmt"
	"strings"

	"github.com/clade-vm/clade/appliance"
)

// once returns the disks that must be read to know those of all that are waiting,
// and for each of these which of them it is. Clones to whose heads nothing was
// written hold what their layers hold, byte for byte: one is read for all.
func (a *auditing) once(ctx context.Context) (disks [][]appliance.Disk, of []int) {
	first := map[string]int{}
	for _, w := range a.waiting {
		content := a.content(ctx, w)
		n, known := first[content]
		if !known {
			n = len(disks)
			disks = append(disks, w.disks)
		}
		if content != "" {
			first[content] = n
		}
		of = append(of, n)
	}
	return disks, of
}

// content names what is on the disks of a machine whose heads are as they were
// made. It is "" for what may hold anything, and is read for itself.
func (a *auditing) content(ctx context.Context, w waiting) string {
	if w.machine == nil {
		return ""
	}
	if fresh, err := a.h.fresh(ctx, w.machine, w.machine.Disks); err != nil || !fresh {
		return "" // what is wrong is said by who reads it
	}
	var name strings.Builder
	for _, d := range w.machine.Disks {
		fmt.Fprintf(&name, "%d %s %d\n", d.Slot, d.Layer, d.Virtual)
	}
	return name.String()
}
