package host

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// generalizeLayers makes, in op's directory, one layer for each given one that
// rests on it and holds no marks, proven and sealed but for the facts that
// change when it is placed. The layers below are not touched.
func (h *Host) generalizeLayers(ctx context.Context, op *operation, below []string, virtual []clade.Bytes, origin string, p clade.Progress) ([]*clade.Layer, json.RawMessage, error) {
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
	report, err := h.generalizeFiles(ctx, files, origin, p)
	if err != nil {
		return nil, nil, err
	}
	for i, l := range layers {
		l.Attestation = report
		if err := sealFile(files[i], l); err != nil {
			return nil, nil, fileError("seal", "layer "+l.ID, err)
		}
	}
	h.did("generalize: layers sealed")
	return layers, report, nil
}

// generalizeFiles erases the marks of one machine's disks in place, and returns
// the attestation. Kind Unproven when a mark is left.
func (h *Host) generalizeFiles(ctx context.Context, files []string, on string, p clade.Progress) (json.RawMessage, error) {
	report, err := h.Generalizer.Generalize(ctx, files, p)
	if err != nil {
		return nil, fileError("generalize", on, err)
	}
	if !report.Verified {
		return nil, &clade.Error{Op: "generalize", On: on, Kind: clade.Unproven,
			Err: fmt.Errorf("%d marks are left", len(report.Left)), Hint: "erase them in the machine itself, and try again"}
	}
	return json.Marshal(report)
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
