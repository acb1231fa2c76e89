package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
)

// A leaving is what an export is made of. Release it.
type leaving struct {
	*base
	machine *store.Machine // held; nil for a template
	slots   []int          // of its disks
	tops    []string       // the image files at the top of its disks
	network string         // "" for none
}

// Export writes a template, or a stopped machine, to a file that is there whole or
// not at all. A name that is both is taken for the template, as by Clone.
func (h *Host) Export(ctx context.Context, spec clade.ExportSpec, p clade.Progress) (*clade.Carried, error) {
	format, err := exportFormat(spec)
	if err != nil {
		return nil, err
	}
	l, err := h.leaving(ctx, spec, format)
	if err != nil {
		return nil, err
	}
	defer l.release()
	fail := func(err error) (*clade.Carried, error) {
		return nil, fileError("export", l.source+" to "+spec.File, err)
	}
	if err := mustBeNew(spec.File); err != nil {
		return fail(err)
	}
	most, err := h.atMost(ctx, l, format, spec)
	if err != nil {
		return fail(err)
	}
	c := l.carried(most)
	if !spec.DryRun {
		switch format {
		case clade.FormatBundle:
			c, err = h.exportBundle(ctx, l, spec.File, p)
		case clade.FormatOVA:
			c.Bytes, err = h.exportOVA(ctx, l, spec.File, p)
		default:
			c.Bytes, err = h.exportDisk(ctx, l, image.Format(format), spec, p)
		}
		if err != nil {
			return fail(err)
		}
		h.did("export: named")
	}
	c.Notes, err = h.leavingNotes(ctx, l, format)
	return c, err
}

// exportFormat is what is wanted, or what the file's name says.
func exportFormat(spec clade.ExportSpec) (clade.ExportFormat, error) {
	format := spec.Format
	if format == "" {
		format = clade.FormatBundle
		switch ext := strings.ToLower(strings.TrimPrefix(filepath.Ext(spec.File), ".")); ext {
		case "ova", "qcow2", "raw", "vmdk":
			format = clade.ExportFormat(ext)
		case "img":
			format = clade.FormatRaw
		}
	}
	refuse := func(text, hint string) (clade.ExportFormat, error) {
		return "", &clade.Error{Op: "export", On: spec.Source, Kind: clade.Invalid, Err: errors.New(text), Hint: hint}
	}
	switch format {
	case clade.FormatBundle, clade.FormatOVA:
		if len(spec.Slots) > 0 {
			return refuse("all disks go into a "+string(format), "leave out --disk, or use --format qcow2, raw or vmdk")
		}
		return format, nil
	case clade.FormatQCOW2, clade.FormatRaw, clade.FormatVMDK:
		if len(spec.Slots) > 1 {
			return refuse("one file holds one disk", "export them one after another")
		}
		return format, nil
	}
	return refuse(fmt.Sprintf("format %.40q is not known", format), "use bundle, ova, qcow2, raw or vmdk")
}

// leaving finds the source, holds it, and refuses what must not leave.
func (h *Host) leaving(ctx context.Context, spec clade.ExportSpec, format clade.ExportFormat) (*leaving, error) {
	b, err := h.source(ctx, clade.CloneSpec{Source: spec.Source, AcceptTwins: []string{clade.AllMarks}})
	if err != nil {
		return nil, retitle("export", err)
	}
	if err := h.mayLeave(ctx, b, spec, format); err != nil {
		return nil, err
	}
	l := &leaving{base: b, network: defaultNetwork, tops: h.layerPaths(b.layers)}
	if b.template != nil {
		for _, d := range b.template.Disks {
			l.slots = append(l.slots, d.Slot)
		}
	} else if err := h.leavingMachine(ctx, l); err != nil {
		return nil, err
	}
	var below []string
	for _, layer := range l.layers {
		if layer != "" {
			below = append(below, layer)
		}
	}
	if err := h.chainIntact(ctx, below...); err != nil {
		l.release()
		return nil, retitle("export", err)
	}
	return l, nil
}

func (h *Host) leavingMachine(ctx context.Context, l *leaving) error {
	m, release, err := h.holdStopped(ctx, l.base.machine.Name, "export")
	if err != nil {
		return err
	}
	if err := awake(m, "export"); err != nil {
		release()
		return err
	}
	l.machine, l.release, l.network = m, release, m.Network
	l.of, l.layers, l.tops = m.Disks, layersOf(m.Disks), h.headPaths(m) // with its data: the file may be all that is kept
	l.virtual, l.slots = nil, nil
	for _, d := range m.Disks {
		l.virtual, l.slots = append(l.virtual, d.Virtual), append(l.slots, d.Slot)
	}
	return nil
}

// mayLeave is the gate of what leaves for other hypervisors, where nobody sees to
// it that twins are told apart: what is not proven to be without marks leaves only
// if that is said. A bundle goes to a home, whose own gates look after it.
func (h *Host) mayLeave(ctx context.Context, b *base, spec clade.ExportSpec, format clade.ExportFormat) error {
	for _, name := range spec.AcceptTwins {
		if _, ok := identity.Find(name); !ok && name != clade.AllMarks {
			return &clade.Error{Op: "export", On: b.source, Kind: clade.Invalid, Err: fmt.Errorf("%q is no mark", name),
				Hint: "clade generalize --list shows the marks; \"all\" stands for every one"}
		}
	}
	if format == clade.FormatBundle || slices.Contains(spec.AcceptTwins, clade.AllMarks) {
		return nil
	}
	missing, why, err := h.unproven(ctx, b)
	if err != nil || why == nil {
		return err
	}
	missing = slices.DeleteFunc(missing, func(mark string) bool { return slices.Contains(spec.AcceptTwins, mark) })
	if len(missing) == 0 {
		return nil
	}
	hint := "export a template of it, or clade generalize it first; if it moves and does not go on here as well: --accept-twins all"
	if b.template != nil {
		hint = "make a version of it that is generalized, or accept that what is made of the file is its twin: --accept-twins all"
	}
	return &clade.Error{Op: "export", On: b.source, Kind: clade.Unproven, Err: why, Hint: hint}
}

// carried is what a dry run says of what leaves.
func (l *leaving) carried(n clade.Bytes) *clade.Carried {
	c := &clade.Carried{Bytes: n}
	if l.template != nil {
		c.Template = l.template.Ref()
	} else {
		c.Machine = l.machine.Name
	}
	return c
}

// leavingNotes say what leaves with the file and what does not.
func (h *Host) leavingNotes(ctx context.Context, l *leaving, format clade.ExportFormat) (notes []string, err error) {
	missing, why, err := h.unproven(ctx, l.base)
	if err != nil {
		return nil, err
	}
	if why != nil {
		notes = append(notes, "it is not generalized, and takes along who it is inside: of these marks nobody proved that they are gone: "+few(missing))
	}
	if m := l.machine; m != nil {
		notes = append(notes, fmt.Sprintf("its UUID, MAC, address and instance-id stay here: those are for machine %s", m.Name))
		if len(m.UserData) > 0 {
			notes = append(notes, "its user data is not in the file")
		}
	}
	if l.hasData() {
		notes = append(notes, "its data disks go along as they are")
	}
	if l.hardware.Firmware == clade.UEFI {
		notes = append(notes, "the variables of its UEFI are not in the file: it boots by the default path")
	}
	if format == clade.FormatOVA && len(l.tops) > ideDisks {
		notes = append(notes, fmt.Sprintf("disks from the %dth on are on SATA, for which its guest needs a driver", ideDisks+1))
	}
	return notes, nil
}

// hasData says whether a data disk leaves.
func (l *leaving) hasData() bool {
	disks := l.of
	if l.machine != nil {
		disks = l.machine.Disks
	}
	return len(systemDisks(disks)) < len(disks)
}

// exportDisk writes one disk as a plain image.
func (h *Host) exportDisk(ctx context.Context, l *leaving, format image.Format, spec clade.ExportSpec, p clade.Progress) (clade.Bytes, error) {
	top, err := l.disk(spec.Slots)
	if err != nil {
		return 0, err
	}
	return writeNew(spec.File, func(f *os.File) error {
		defer h.did("export: written")
		return image.Export(ctx, l.tops[top], format, f, filepath.Base(spec.File), p)
	})
}

// disk is the place of the one disk that is meant.
func (l *leaving) disk(slots []int) (int, error) {
	refuse := func(text string) (int, error) {
		return 0, &clade.Error{Kind: clade.Invalid, Err: errors.New(text),
			Hint: fmt.Sprintf("say which: --disk N, of %s; or take all: --format ova or bundle", strings.Trim(fmt.Sprint(l.slots), "[]"))}
	}
	if len(slots) == 0 {
		if len(l.slots) != 1 {
			return refuse(fmt.Sprintf("it has %d disks, and one file holds one", len(l.slots)))
		}
		return 0, nil
	}
	if at := slices.Index(l.slots, slots[0]); at >= 0 {
		return at, nil
	}
	return refuse(fmt.Sprintf("it has no disk %d", slots[0]))
}

// atMost is what the file can take at most, and refuses what has no room. What is
// packed becomes smaller, by how much is not known before: that is refused by the
// file system, and nothing remains.
func (h *Host) atMost(ctx context.Context, l *leaving, format clade.ExportFormat, spec clade.ExportSpec) (clade.Bytes, error) {
	tops := l.tops
	packed := format == clade.FormatBundle || format == clade.FormatOVA || format == clade.FormatVMDK
	if format != clade.FormatBundle && format != clade.FormatOVA {
		at, err := l.disk(spec.Slots)
		if err != nil {
			return 0, err
		}
		tops = tops[at : at+1]
	}
	var sum clade.Bytes
	for _, top := range tops {
		var n clade.Bytes
		var err error
		if format == clade.FormatBundle {
			n, err = chainAllocated(ctx, h, l, top)
		} else {
			n, err = image.Measure(ctx, top)
		}
		if err != nil {
			return 0, err
		}
		sum += n
	}
	free, err := image.Space(filepath.Dir(spec.File))
	if err != nil {
		return 0, err
	}
	if !packed && sum > free {
		return 0, &clade.Error{Kind: clade.NoSpace, Err: fmt.Errorf("it takes %v and %v are free", sum, free),
			Hint: "choose a larger disk for the file, or --format vmdk or bundle, which are packed"}
	}
	return sum, nil
}

// chainAllocated is what a disk's files take, with all it rests on.
func chainAllocated(ctx context.Context, h *Host, l *leaving, top string) (sum clade.Bytes, err error) {
	files := []string{top}
	if layer := l.layers[slices.Index(l.tops, top)]; layer != "" {
		chains, err := h.chains(ctx, []string{layer})
		if err != nil {
			return 0, err
		}
		files = append(files, chains[0]...)
	}
	slices.Sort(files)
	for _, file := range slices.Compact(files) {
		n, err := image.Allocated(file)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
