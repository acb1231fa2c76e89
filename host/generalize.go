package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
	"github.com/google/uuid"
)

// Generalize erases the marks of a stopped machine, of a copy of an image file, or
// of an overlay of a layer, and proves it. With DryRun it only reads.
func (h *Host) Generalize(ctx context.Context, spec clade.GeneralizeSpec, p clade.Progress) (*clade.Generalization, error) {
	if _, err := generalize.Select(spec.Enable, spec.Disable); err != nil {
		return nil, err
	}
	switch {
	case spec.Machine != "" && spec.Image == "" && spec.Layer == "":
		return h.generalizeMachine(ctx, spec, p)
	case spec.Image != "" && spec.Machine == "" && spec.Layer == "":
		return h.generalizeImage(ctx, spec, p)
	case spec.Layer != "" && spec.Machine == "" && spec.Image == "":
		return h.generalizeLayer(ctx, spec, p)
	}
	return nil, &clade.Error{Op: "generalize", Kind: clade.Invalid, Err: errors.New("it takes one of a machine, an image and a layer")}
}

// generalizeMachine gives a stopped machine new heads without marks. What it was
// stays below them, for this machine only.
func (h *Host) generalizeMachine(ctx context.Context, spec clade.GeneralizeSpec, p clade.Progress) (*clade.Generalization, error) {
	on := "machine " + string(spec.Machine)
	m, release, err := h.holdStopped(ctx, spec.Machine, "generalize")
	if err != nil {
		return nil, err
	}
	defer release()
	if spec.DryRun {
		return h.planned(ctx, on, backed(h.headsOf(m, systemDisks(m.Disks))), spec.Marks, p)
	}
	report, err := h.rework(ctx, m, spec.Marks, p)
	if err != nil {
		return nil, err
	}
	return generalization(on, on, report)
}

// mustBeStopped refuses a machine that runs, and says the way out.
func (h *Host) mustBeStopped(ctx context.Context, m *store.Machine, op string) error {
	status, err := h.Driver.Status(ctx, h.place(m.ID))
	if err != nil {
		return fileError(op, "machine "+string(m.Name), err)
	}
	if status.State == clade.Stopped {
		return nil
	}
	return &clade.Error{Op: op, On: "machine " + string(m.Name), Kind: clade.InUse, Err: errors.New("it is running"),
		Hint: fmt.Sprintf("stop it first: clade stop %s; or leave it as it is and make a template of it: clade template create NAME --from %s", m.Name, m.Name)}
}

// rework erases marks of a stopped machine's system disks: in an overlay of its frozen heads,
// which, when all is proven, becomes its heads. The guest will take itself for a
// new one. The caller holds m.
func (h *Host) rework(ctx context.Context, m *store.Machine, marks clade.Marks, p clade.Progress) (*generalize.Report, error) {
	on := "machine " + string(m.Name)
	frozen, err := h.freeze(ctx, m, p)
	if err != nil {
		return nil, err
	}
	var report *generalize.Report
	erase := func(files []string) (err error) {
		report, err = h.generalizeFiles(ctx, files, marks, on, p)
		return err
	}
	_, err = h.replaceHeads(ctx, frozen, change{disks: systemDisks(frozen.Disks), prepare: erase, record: func(tx *store.Tx) error { return tx.Renew(m.ID, newInstanceID()) }})
	return report, fileError("generalize", on, err)
}

func newInstanceID() string { return "i-" + uuid.NewString() }

// generalizeLayer makes a template of an overlay of a layer without marks.
func (h *Host) generalizeLayer(ctx context.Context, spec clade.GeneralizeSpec, p clade.Progress) (*clade.Generalization, error) {
	on := "layer " + spec.Layer
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	layer, err := h.layer(ctx, spec.Layer)
	if err != nil {
		return nil, retitle("generalize", err)
	}
	if spec.DryRun {
		return h.planned(ctx, on, backed([]string{h.layerPath(layer.ID)}), spec.Marks, p)
	}
	ref, err := h.newVersion(ctx, spec.As)
	if err != nil {
		return nil, err
	}
	op, err := h.begin(ctx, "template")
	if err != nil {
		return nil, err
	}
	defer op.end()
	t := &clade.Template{Name: ref.Name, Version: ref.Version, Source: on, Hardware: hardware(clade.Hardware{}, clade.Hardware{}), Generalized: true, Created: time.Now().UTC()}
	layers, report, err := h.generalizeLayers(ctx, op, []string{layer.ID}, []clade.Bytes{layer.Virtual}, spec.Marks, "template "+ref.String(), p)
	if err != nil {
		return nil, err
	}
	t.Attestation = layers[0].Attestation
	t.Disks = []clade.TemplateDisk{{Layer: layers[0].ID, Virtual: layer.Virtual}}
	if err := h.placeMachines(ctx, op, layers, nil, func(tx *store.Tx) error { return addNewest(tx, t) }); err != nil {
		return nil, fileError("create", "template "+ref.String(), err)
	}
	return generalization(on, "template "+ref.String(), report)
}

// layer finds a sealed layer by its id. Kind NotFound.
func (h *Host) layer(ctx context.Context, id string) (found *clade.Layer, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		layers, err := tx.Layers()
		for _, l := range layers {
			if l.ID == id && l.Sealed {
				found = l
			}
		}
		return err
	})
	if err == nil && found == nil {
		err = &clade.Error{Op: "find", On: "layer " + id, Kind: clade.NotFound, Hint: "clade tree shows the layers there are"}
	}
	return found, err
}

// planned says what generalizing would do, and writes nothing.
func (h *Host) planned(ctx context.Context, on string, disks []appliance.Disk, marks clade.Marks, p clade.Progress) (*clade.Generalization, error) {
	selected, err := generalize.Select(marks.Enable, marks.Disable)
	if err != nil {
		return nil, err
	}
	results, err := h.Appliance.Read(ctx, [][]appliance.Disk{disks}, identity.Whole, p)
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return nil, fileError("read", on, err)
	}
	return generalization(on, "", generalize.Planned(selected, results[0].Findings))
}

func generalization(target, result string, report *generalize.Report) (*clade.Generalization, error) {
	data, err := json.Marshal(report)
	return &clade.Generalization{Target: target, Result: result, Report: data}, err
}

// generalizeLayers makes, in op's directory, one layer for each given one that
// rests on it and holds no marks, proven and sealed but for the facts that
// change when it is placed. Each has the report as its attestation. The layers
// below are not touched.
func (h *Host) generalizeLayers(ctx context.Context, op *operation, below []string, virtual []clade.Bytes, marks clade.Marks, origin string, p clade.Progress) ([]*clade.Layer, *generalize.Report, error) {
	if err := h.chainIntact(ctx, below...); err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(op.dir, layersDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, nil, fileError("generalize", origin, err)
	}
	layers, files := make([]*clade.Layer, len(below)), make([]string, len(below))
	for i, parent := range below {
		if err := h.borrow(ctx, dir, parent); err != nil {
			return nil, nil, fileError("generalize", origin, err)
		}
		layers[i] = &clade.Layer{ID: newID(), Parent: parent, Origin: origin, Virtual: virtual[i], Sealed: true, Created: time.Now().UTC()}
		files[i] = filepath.Join(dir, layers[i].ID, layerFile)
		if err := os.Mkdir(filepath.Dir(files[i]), 0o700); err != nil {
			return nil, nil, fileError("generalize", origin, err)
		}
		if err := qcow2.WriteOverlay(files[i], head(parent, virtual[i])); err != nil {
			return nil, nil, fileError("generalize", origin, err)
		}
	}
	h.did("generalize: overlays written")
	report, err := h.generalizeFiles(ctx, files, marks, origin, p)
	if err != nil {
		return nil, nil, err
	}
	if err := attest(report, layers, files); err != nil {
		return nil, nil, fileError("seal", origin, err)
	}
	h.did("generalize: layers sealed")
	return layers, report, nil
}

// attest seals the layers in files and gives each the report, which names them.
func attest(report *generalize.Report, layers []*clade.Layer, files []string) error {
	for i, l := range layers {
		if err := sealFile(files[i], l); err != nil {
			return err
		}
		report.Layers = append(report.Layers, l.Digest)
	}
	data, err := json.Marshal(report)
	for _, l := range layers {
		l.Attestation = data
	}
	return err
}

// generalizeFiles erases the marks of one machine's disks in place, and returns
// the proof. Kind Unproven when a mark is left.
func (h *Host) generalizeFiles(ctx context.Context, files []string, marks clade.Marks, on string, p clade.Progress) (*generalize.Report, error) {
	report, err := h.Appliance.Generalize(ctx, backed(files), appliance.Options(marks), p)
	if err != nil {
		return nil, fileError("generalize", on, err)
	}
	if !report.Verified {
		return nil, &clade.Error{Op: "generalize", On: on, Kind: clade.Unproven,
			Err: fmt.Errorf("%d marks are left", len(report.Left)), Hint: "erase them in the machine itself, and try again"}
	}
	return report, nil
}

// backed are disks of clade's own making, which may rest on layers.
func backed(files []string) []appliance.Disk {
	disks := make([]appliance.Disk, len(files))
	for i, path := range files {
		disks[i] = appliance.Disk{Path: path, Format: appliance.Qcow2, Backed: true}
	}
	return disks
}

// borrow puts links to the chain of a layer into dir, so that an overlay that is
// built there finds what it rests on under the names it will have in place.
func (h *Host) borrow(ctx context.Context, dir, layer string) error {
	chains, err := h.chains(ctx, []string{layer})
	if err != nil {
		return err
	}
	for _, file := range chains[0] {
		from := filepath.Dir(file)
		if err := os.Symlink(from, filepath.Join(dir, filepath.Base(from))); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}
