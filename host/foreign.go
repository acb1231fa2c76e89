package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/foreign"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
)

// ImportForeign makes a machine of another hypervisor's. What it was keeps its
// hardware and the order of its disks; who it was outside it does not. Nothing it
// says is trusted: disks are read in the format that is said and no other.
func (h *Host) ImportForeign(ctx context.Context, spec clade.ImportSpec, p clade.Progress) (*clade.Foreign, error) {
	source, err := foreign.Open(spec.From)
	if err != nil {
		return nil, fileError("import", spec.From, err)
	}
	defer source.Close()
	their := source.Machine
	name, err := theirName(spec, their)
	if err != nil {
		return nil, err
	}
	b := birth{name: name, options: spec.Options, hardware: their.Hardware, source: "machine " + their.Name + " in " + filepath.Base(spec.From)}
	if err := inRange(b); err != nil {
		return nil, err
	}
	if len(their.NICs) == 0 && b.options.Network == "" {
		b.options.Network = noNetwork
	}
	if spec.DryRun {
		return h.foreseen(ctx, b, source)
	}
	m, err := h.fromDisks(ctx, b, func(op *operation, dir string) ([]clade.Bytes, error) {
		sizes := make([]clade.Bytes, len(their.Disks))
		for slot, d := range their.Disks {
			var err error
			if sizes[slot], err = h.takeDisk(ctx, source, d, op, filepath.Join(dir, headName(slot, 0)), p); err != nil {
				return nil, fmt.Errorf("disk %d: %w", slot, err)
			}
		}
		return sizes, nil
	})
	if err != nil {
		return nil, retitle("import", err)
	}
	return &clade.Foreign{Machine: m, Notes: foreignNotes(their, m.Disks)}, nil
}

// foreseen says what would be made, as far as the description says it. Of its disks'
// files it only looks whether they are there, how long they are, and whether one that
// is read on its word may be.
func (h *Host) foreseen(ctx context.Context, b birth, source *foreign.Source) (*clade.Foreign, error) {
	if err := h.checkBirth(ctx, b); err != nil {
		return nil, retitle("import", err)
	}
	f := &clade.Foreign{Machine: &draft(b.name, b.options, b.hardware, b.user).Machine}
	f.Machine.ID, f.Machine.Source, f.Machine.State = "", b.source, clade.Stopped
	for slot, d := range source.Machine.Disks {
		n, err := source.Size(d)
		if format, bad := image.ParseFormat(d.Format); err == nil && d.File != "" {
			if err = bad; err == nil {
				err = onItsWord(d, format)
			}
		}
		if err != nil {
			return nil, fileError("import", fmt.Sprintf("disk %d of %s", slot, b.source), err)
		}
		f.Machine.Disks = append(f.Machine.Disks, clade.Disk{Slot: slot, Virtual: d.Virtual})
		f.From = append(f.From, clade.Origin{File: d.File, Format: d.Format, Bytes: n})
	}
	f.Notes = foreignNotes(source.Machine, f.Machine.Disks)
	return f, nil
}

// theirName is the wanted name, or the one it had if that can be one here.
func theirName(spec clade.ImportSpec, their *foreign.Machine) (clade.Name, error) {
	if spec.Name != "" {
		return spec.Name, nil
	}
	name, err := clade.ParseName(strings.ToLower(their.Name))
	if err != nil {
		return "", &clade.Error{Op: "import", On: spec.From, Kind: clade.Invalid, Err: fmt.Errorf("its name there, %q, cannot be one here", their.Name),
			Hint: "give it one: --name NAME"}
	}
	return name, nil
}

// inRange refuses hardware that machines here do not have.
func inRange(b birth) error {
	all := clade.Options{Hardware: hardware(b.options.Hardware, b.hardware)}
	if err := checkOptions(all, []clade.Name{b.name}); err != nil {
		e, _ := errors.AsType[*clade.Error](err)
		return &clade.Error{Op: "import", On: "machine " + string(b.name), Kind: e.Kind, Err: e.Err, Hint: "say what it shall have here: --cpus, --memory"}
	}
	return nil
}

// takeDisk makes head of one disk, and returns its size.
func (h *Host) takeDisk(ctx context.Context, source *foreign.Source, d foreign.Disk, op *operation, head string, p clade.Progress) (clade.Bytes, error) {
	if d.File == "" {
		return d.Virtual, qcow2.WriteOverlay(head, qcow2.Overlay{Virtual: d.Virtual})
	}
	format, err := image.ParseFormat(d.Format)
	if err != nil {
		return 0, err
	}
	if err := onItsWord(d, format); err != nil {
		return 0, err
	}
	file, err := source.Fetch(ctx, d, op.dir, p)
	if err != nil {
		return 0, err
	}
	virtual, err := image.Import(ctx, image.Source{File: file, Format: format}, head, p)
	if filepath.Dir(file) == op.dir { // fetched out of an archive: it takes as much again
		err = errors.Join(err, os.Remove(file))
	}
	return virtual, err
}

// onItsWord refuses a file that a description names by its path and that shows no
// sign of a disk: it may be any file of whoever reads the description.
func onItsWord(d foreign.Disk, format image.Format) error {
	if !filepath.IsAbs(d.File) || format != image.Raw {
		return nil // package image holds other formats to their marks
	}
	_, err := image.Detect(d.File)
	if errors.Is(err, clade.Invalid) && !beginsBlank(d.File) {
		return &clade.Error{Kind: clade.Invalid, Err: fmt.Errorf("%.200q holds no partition table and no file system, and is not read as a disk on the word of a description", d.File),
			Hint: "if it is one, make sure of it and import it by itself: clade import NAME FILE --format raw"}
	}
	return nil
}

// beginsBlank says whether a file begins as an unused disk does.
func beginsBlank(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	_, err = io.ReadFull(f, head)
	return err == nil && len(bytes.Trim(head, "\x00")) == 0
}

// foreignNotes say what was not taken, and what its guest may lack here.
func foreignNotes(their *foreign.Machine, disks []clade.Disk) []string {
	notes := append([]string(nil), their.Notes...)
	for i, d := range their.Disks {
		if d.Virtual != 0 && d.Virtual != disks[i].Virtual {
			notes = append(notes, fmt.Sprintf("disk %d has %v, not the %v that its description says", i, disks[i].Virtual, d.Virtual))
		}
	}
	for _, d := range their.Disks {
		if d.Bus != "" && d.Bus != "virtio" {
			notes = append(notes, fmt.Sprintf("its disks were on %s and are on virtio here: a guest without that driver will not find them", d.Bus))
			break
		}
	}
	if len(their.NICs) > 1 {
		notes = append(notes, fmt.Sprintf("it had %d network cards, and has one here", len(their.NICs)))
	}
	return append(notes, "inside it is who it was: if the other one goes on, give this one an identity of its own: clade mend")
}
