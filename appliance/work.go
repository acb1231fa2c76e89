package appliance

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance/guest"
	"github.com/clade-vm/clade/generalize"
)

// Generalize erases the marks of the guest on a machine's disks, given by slot,
// and proves on what is then in the files that they are gone. The files are
// written in place: give overlays. After an error they are to be thrown away.
//
// Kinds: Unproven (a mark is left), Corrupt (a damaged image or file system, with
// what to do), Unsupported (locked or of an unknown kind), NotFound (no operating
// system, or a disk is missing), Invalid (several: Options.System chooses), InUse.
func (a *Appliance) Generalize(ctx context.Context, disks []Disk, o Options, p clade.Progress) (*generalize.Report, error) {
	if _, err := generalize.Select(o.Enable, o.Disable); err != nil {
		return nil, err
	}
	p.Tell(clade.Event{Step: "generalize", Note: "boot the appliance"})
	var report generalize.Report
	err := a.run(ctx, disks, 1, p, func(t *session) error {
		reply, err := t.call(ctx, guest.Request{Verb: guest.Generalize, Disks: serials(0, len(disks)),
			System: o.System, Enable: o.Enable, Disable: o.Disable}, p)
		if err != nil {
			return err
		}
		for _, note := range reply.Notes {
			a.log().Warn("generalize", "note", note)
		}
		return decode(reply, &report)
	})
	if err != nil {
		return nil, err
	}
	if !report.Verified {
		return nil, &clade.Error{Op: "generalize", On: "the disks", Kind: clade.Unproven, Err: fmt.Errorf("the appliance proved nothing")}
	}
	p.Tell(clade.Event{Step: "generalize", End: true})
	return &report, nil
}

// serials names n disks of the VM from number first.
func serials(first, n int) []string {
	var names []string
	for i := range n {
		names = append(names, serial(first+i))
	}
	return names
}

func decode(reply *guest.Reply, to any) error {
	if err := json.Unmarshal(reply.Result, to); err != nil {
		return &clade.Error{Op: "read", On: "the appliance's answer", Kind: clade.Internal, Err: err}
	}
	return nil
}
