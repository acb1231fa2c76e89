package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/foreign"
	"github.com/clade-vm/clade/image"
)

// ideDisks is how many disks of an OVA are on IDE, which every guest knows; there
// is no place for more.
const ideDisks = 4

// exportOVA writes hardware and disks as an OVA. The disks are packed aside first:
// an archive says how long they are before it has them.
func (h *Host) exportOVA(ctx context.Context, l *leaving, file string, p clade.Progress) (clade.Bytes, error) {
	m := l.describe()
	op, err := h.begin(ctx, "export")
	if err != nil {
		return 0, err
	}
	defer op.end()
	for i, d := range m.Disks {
		if err := packDisk(ctx, l.tops[i], filepath.Join(op.dir, d.File), p); err != nil {
			return 0, err
		}
		h.did("export: disk packed")
	}
	open := func(d foreign.Disk) (*os.File, error) { return os.Open(filepath.Join(op.dir, d.File)) }
	return writeNew(file, func(f *os.File) error {
		defer h.did("export: written")
		return foreign.WriteOVA(ctx, f, m, open, p)
	})
}

// describe says what other hypervisors are told of what leaves: nothing that clade
// gave it to be itself.
func (l *leaving) describe() *foreign.Machine {
	name := clade.Name("")
	if l.template != nil {
		name = l.template.Name
	} else {
		name = l.machine.Name
	}
	m := &foreign.Machine{Name: string(name), Hardware: hardware(l.hardware, clade.Hardware{})}
	for i, virtual := range l.virtual {
		d := foreign.Disk{File: fmt.Sprintf("%s-disk%d.vmdk", name, i), Virtual: virtual}
		if i >= ideDisks {
			d.Bus = "sata"
		}
		m.Disks = append(m.Disks, d)
	}
	if l.network != "" {
		m.NICs = []foreign.NIC{{}}
	}
	return m
}

func packDisk(ctx context.Context, top, dst string, p clade.Progress) error {
	f, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return image.Export(ctx, top, image.VMDK, f, filepath.Base(dst), p)
}
