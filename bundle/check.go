package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

var (
	idForm     = regexp.MustCompile(`^[a-z0-9]{4,40}$`)
	headForm   = regexp.MustCompile(`^head-[0-9]{1,2}$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	userForm   = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_.-]{0,31})?$`) // it becomes an argument of ssh
)

// Parse reads a manifest as JSON and checks it.
//
// Kinds: Invalid (no manifest), Unsupported (of another format), Corrupt (it
// contradicts itself, or goes beyond what there can be).
func Parse(data []byte) (*Manifest, error) {
	var version struct {
		Format int `json:"format"`
	}
	if len(data) > int(MaxManifest) {
		return nil, refusal(clade.Corrupt, "a manifest of %d bytes, more than %v", len(data), MaxManifest)
	}
	if err := json.Unmarshal(data, &version); err != nil || version.Format == 0 {
		return nil, refusal(clade.Invalid, "no manifest of a bundle")
	}
	if version.Format != Format {
		return nil, &clade.Error{Kind: clade.Unsupported, Err: fmt.Errorf("a bundle of format %d; this clade reads format %d", version.Format, Format),
			Hint: "use the version of clade that wrote it"}
	}
	m := new(Manifest)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, refusal(clade.Corrupt, "its manifest cannot be read: %s", quotable(err.Error()))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, refusal(clade.Corrupt, "its manifest has something after its end")
	}
	return m, m.Check()
}

// Marshal checks the manifest and returns it as JSON.
func (m *Manifest) Marshal() ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(m, "", " ")
	if err == nil && len(data) > int(MaxManifest) {
		err = refusal(clade.Invalid, "its manifest would have %v, more than %v", clade.Bytes(len(data)), MaxManifest)
	}
	return data, err
}

// Check proves that the manifest is sound: names and sizes that can be, layers
// with their parents before them, and none that no disk rests on. Its errors are
// of kind Corrupt.
func (m *Manifest) Check() error {
	if err := m.head(); err != nil {
		return err
	}
	if n := len(m.Layers); n > MaxLayers {
		return refusal(clade.Corrupt, "%d layers, more than %d", n, MaxLayers)
	}
	depth := make(map[string]int, len(m.Layers))
	used := make(map[string]bool, len(m.Layers)) // by a disk or a layer
	for _, l := range m.Layers {
		if err := l.check(m.Kind); err != nil {
			return about("", "layer "+quotable(l.ID), err)
		}
		below, there := depth[l.Parent]
		switch {
		case depth[l.ID] > 0:
			return refusal(clade.Corrupt, "layer %s: it is listed twice", l.ID)
		case l.Parent != "" && !there:
			return refusal(clade.Corrupt, "layer %s: its parent %s does not come before it", l.ID, quotable(l.Parent))
		case below >= MaxDepth:
			return refusal(clade.Corrupt, "layer %s: it rests on more than %d others", l.ID, MaxDepth-1)
		}
		depth[l.ID], used[l.Parent] = below+1, true
	}
	return m.disks(depth, used)
}

// head checks what is said of the template or machine as a whole.
func (m *Manifest) head() error {
	if _, err := clade.ParseName(string(m.Name)); err != nil {
		return refusal(clade.Corrupt, "%s is no name", quotable(string(m.Name)))
	}
	switch m.Kind {
	case Template:
		ref, err := clade.ParseRef(string(m.Name) + ":" + m.Version)
		if err != nil || ref.Version == "" {
			return refusal(clade.Corrupt, "%s is no version of a template", quotable(m.Version))
		}
	case Machine:
		if m.Version != "" || m.Generalized || len(m.Attestation) > 0 {
			return refusal(clade.Corrupt, "a machine has no version and no attestation")
		}
	default:
		return refusal(clade.Corrupt, "it holds a %s, not a template or a machine", quotable(string(m.Kind)))
	}
	h := m.Hardware
	switch {
	case !userForm.MatchString(m.User):
		return refusal(clade.Corrupt, "%s is no user's name", quotable(m.User))
	case h.CPUs < 0 || h.CPUs > 1024 || h.Memory < 0 || h.Memory > 64*clade.TiB:
		return refusal(clade.Corrupt, "a computer of %d processors and %d bytes of memory", h.CPUs, h.Memory)
	case h.Firmware != "" && h.Firmware != clade.BIOS && h.Firmware != clade.UEFI:
		return refusal(clade.Corrupt, "firmware %s is neither bios nor uefi", quotable(string(h.Firmware)))
	case !printable(m.Source):
		return refusal(clade.Corrupt, "its source is no line of text")
	}
	return attestation(m.Attestation)
}

// check proves what can be said of one layer by itself.
func (l Layer) check(kind Kind) error {
	switch {
	case l.Head && kind != Machine:
		return refusal(clade.Corrupt, "a %s has no heads", kind)
	case !l.Head && !idForm.MatchString(l.ID) || l.Head && !headForm.MatchString(l.ID):
		return refusal(clade.Corrupt, "this is no id")
	case l.Parent != "" && !idForm.MatchString(l.Parent):
		return refusal(clade.Corrupt, "%s is no id of a parent", quotable(l.Parent))
	case !digestForm.MatchString(l.Digest):
		return refusal(clade.Corrupt, "%s is no digest", quotable(l.Digest))
	case l.Virtual <= 0 || l.Virtual > qcow2.MaxVirtual || l.Virtual%512 != 0:
		return refusal(clade.Corrupt, "its disk would have %d bytes", l.Virtual)
	case l.Size <= 0 || l.Size > 2*l.Virtual+clade.GiB:
		return refusal(clade.Corrupt, "its file would have %d bytes for a disk of %v", l.Size, l.Virtual)
	case !printable(l.Origin):
		return refusal(clade.Corrupt, "its origin is no line of text")
	}
	return attestation(l.Attestation)
}

// disks checks the disks against the layers, whose depths are known.
func (m *Manifest) disks(depth map[string]int, used map[string]bool) error {
	if n := len(m.Disks); n == 0 || n > MaxDisks {
		return refusal(clade.Corrupt, "%d disks; there can be 1 to %d", n, MaxDisks)
	}
	for i, d := range m.Disks {
		top := m.layer(d.Layer)
		switch {
		case d.Slot < 0 || d.Slot >= MaxDisks || i > 0 && d.Slot <= m.Disks[i-1].Slot:
			return refusal(clade.Corrupt, "disk %d: the slots do not ascend from 0", d.Slot)
		case top == nil:
			return refusal(clade.Corrupt, "disk %d: there is no layer %s", d.Slot, quotable(d.Layer))
		case d.Virtual != top.Virtual:
			return refusal(clade.Corrupt, "disk %d: its size is not that of its layer", d.Slot)
		case m.Kind == Machine && top.ID != headID(d.Slot):
			return refusal(clade.Corrupt, "disk %d: what it writes to is no head of its own", d.Slot)
		}
		used[top.ID] = true
	}
	if err := m.dataDisks(); err != nil {
		return err
	}
	for id := range depth {
		if !used[id] {
			return refusal(clade.Corrupt, "layer %s: no disk rests on it", id)
		}
	}
	return nil
}

// dataDisks checks that data disks are what this clade would make itself, after the
// others: their labels and directories go into the guest's files.
func (m *Manifest) dataDisks() error {
	var before []clade.Disk
	for _, d := range m.Disks {
		disk := clade.Disk{Slot: d.Slot, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount}
		last := len(before) > 0 && before[len(before)-1].Data()
		switch {
		case !disk.Data() && (d.Mount != "" || last):
			return refusal(clade.Corrupt, "disk %d: a data disk without a label, or before the system's disks", d.Slot)
		case disk.Data():
			if err := disk.CheckData(before); err != nil {
				return refusal(clade.Corrupt, "disk %d: %w", d.Slot, err)
			}
		}
		before = append(before, disk)
	}
	return nil
}

func attestation(a json.RawMessage) error {
	if len(a) > maxAttestation {
		return refusal(clade.Corrupt, "an attestation of %d bytes", len(a))
	}
	return nil
}

// printable says whether a stranger's text is one line that may be shown.
func printable(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// quotable returns a stranger's text so that it can be shown.
func quotable(s string) string { return fmt.Sprintf("%.80q", s) }

// sound proves that r is the qcow2 file that the manifest says: it rests on its
// parent and on nothing else, and is one that can be taken from a stranger.
func (l Layer) sound(r io.ReaderAt) error {
	i, err := qcow2.Inspect(r, int64(l.Size))
	if err != nil {
		return err
	}
	format := ""
	if l.Parent != "" {
		format = "qcow2"
	}
	if i.Backing != Backing(l.Parent) || i.BackingFormat != format {
		return refusal(clade.Corrupt, "it rests on %s (%s), not on its parent", quotable(i.Backing), quotable(i.BackingFormat))
	}
	if i.Virtual != l.Virtual {
		return refusal(clade.Corrupt, "its disk has %d bytes, not %d", i.Virtual, l.Virtual)
	}
	alone := *i
	alone.Backing, alone.BackingFormat = "", ""
	return alone.Safe()
}

// Prove proves that the file path is the layer: its length, digest and header. Kinds:
// Corrupt, Unsupported, NotFound, Timeout.
func (l Layer) Prove(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fault(err)
	}
	defer f.Close()
	digest, size, err := Sum(ctx, f)
	switch {
	case err != nil:
		return err
	case size != l.Size || digest != l.Digest:
		return refusal(clade.Corrupt, "its digest is %.19s…, not %.19s…", digest, l.Digest)
	}
	return l.sound(f)
}
