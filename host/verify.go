package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/lineage"
	"github.com/clade-vm/clade/store"
)

// Verify recomputes the digests of the layers under the named machines and
// templates, or of all. One that was interrupted goes on where it was. A layer
// whose content is right but whose times are not, as after a move of the home, is
// recorded anew. Kind Corrupt if one is damaged and stays so.
func (h *Host) Verify(ctx context.Context, spec clade.VerifySpec, p clade.Progress) ([]clade.Verdict, error) {
	l, err := h.Lineage(ctx)
	if err != nil {
		return nil, err
	}
	tree := lineage.New(l)
	layers, err := h.under(l, tree, spec.Names)
	if err != nil {
		return nil, err
	}
	v := &verification{h: h, verities: sync.OnceValue(func() bool { return image.Verities(h.path(tmpDir)) }), notes: h.verifyNotes(spec), event: clade.Event{Step: "verify layers", Unit: "B"}, progress: p}
	for _, layer := range layers {
		v.event.Total += int64(layer.Size)
	}
	var verdicts []clade.Verdict
	var damaged []*clade.Layer
	for _, layer := range layers {
		one, err := v.layer(ctx, layer)
		if err != nil {
			return verdicts, fileError("verify", "layer "+layer.ID, err)
		}
		if one.Needed = tree.Needs(layer.ID); !one.Intact {
			damaged = append(damaged, layer)
		}
		verdicts = append(verdicts, one)
	}
	v.event.End = true
	p.Tell(v.event)
	if err := errors.Join(v.notes.remove(), ctx.Err()); err != nil {
		return verdicts, fileError("verify", "home "+h.Dir, err)
	}
	if len(damaged) > 0 && spec.Repair != "" {
		if damaged, err = h.repair(ctx, damaged, spec, verdicts, p); err != nil {
			return verdicts, fileError("repair", "layers of home "+h.Dir, err)
		}
	}
	warm, err := h.verifyWarm(ctx, warmUnder(l, spec.Names), p)
	if err != nil {
		return verdicts, fileError("verify", "home "+h.Dir, err)
	}
	memory, err := h.verifyMemory(ctx, l, spec.Names, p)
	if err != nil {
		return verdicts, fileError("verify", "home "+h.Dir, err)
	}
	return slices.Concat(verdicts, warm, memory), errors.Join(h.damage(damaged), h.warmDamage(warm), h.memoryDamage(memory))
}

// damage is the error about layers that are not what was sealed, or nil.
func (h *Host) damage(layers []*clade.Layer) error {
	if len(layers) == 0 {
		return nil
	}
	names := make([]string, len(layers))
	for i, l := range layers {
		names[i] = l.ID
	}
	return &clade.Error{Op: "verify", On: "home " + h.Dir, Kind: clade.Corrupt, Err: fmt.Errorf("damaged: layer %s", strings.Join(names, ", ")),
		Hint: "what rests on it will not start; restore it from a bundle, a registry or a copy of its file: clade verify --repair FROM"}
}

// A verification is one run of Verify.
type verification struct {
	h        *Host
	notes    *verifyNotes
	event    clade.Event // of all layers
	progress clade.Progress
	verities func() bool // whether the kernel can check sealed files here
}

// layer says whether a layer is what was sealed. The error is of what kept it from
// finding out.
func (v *verification) layer(ctx context.Context, l *clade.Layer) (clade.Verdict, error) {
	verdict := clade.Verdict{Layer: l.ID}
	before := v.event.Done
	defer func() { v.event.Done = before + int64(l.Size) }()
	if v.notes.resumed && !l.Verified.Before(v.notes.Began) && v.h.intact(l) == nil {
		verdict.Intact, verdict.Verified = true, l.Verified
		return verdict, nil
	}
	v.event.Note = "layer " + l.ID
	sum, err := v.digest(ctx, l)
	if err != nil && ctx.Err() != nil {
		return verdict, err
	}
	if kind := clade.KindOf(err); kind == clade.Denied || kind == clade.Busy {
		return verdict, err // that says nothing of the layer
	}
	switch {
	case err != nil:
		verdict.Detail = err.Error()
	case sum != l.Digest:
		verdict.Detail = fmt.Sprintf("its content is %.19s…, sealed was %.19s…", sum, l.Digest)
	default:
		verdict.Intact, verdict.Verified = true, time.Now().UTC()
		return verdict, v.accept(ctx, l, verdict.Verified)
	}
	return verdict, nil
}

// accept records that a layer's content was right at that time, and the facts of
// its file where they are not those of the record, or where it can be sealed better.
func (v *verification) accept(ctx context.Context, l *clade.Layer, at time.Time) error {
	if v.h.intact(l) != nil || l.Verity == "" && v.verities() {
		return v.h.reseal(ctx, l)
	}
	return v.h.db.Write(ctx, func(tx *store.Tx) error { return tx.VerifyLayer(l.ID, at) })
}

// under returns the layers below the named machines and templates, each once.
func (h *Host) under(l *clade.Lineage, tree *lineage.Tree, named []string) ([]*clade.Layer, error) {
	if len(named) == 0 {
		return slices.DeleteFunc(slices.Clone(l.Layers), func(l *clade.Layer) bool { return !l.Sealed }), nil
	}
	var list []*clade.Layer
	for _, name := range named {
		tops, err := topsOf(l, name)
		if err != nil {
			return nil, err
		}
		for _, top := range tops {
			chain, err := tree.Chain(top)
			if err != nil {
				return nil, err
			}
			for _, layer := range chain {
				if !slices.Contains(list, layer) && layer.Sealed {
					list = append(list, layer)
				}
			}
		}
	}
	return list, nil
}

// topsOf returns the layers that the machine or template called name rests on; of a
// machine also those of its snapshots.
func topsOf(l *clade.Lineage, name string) (tops []string, err error) {
	for _, m := range l.Machines {
		if string(m.Name) == name {
			disks := slices.Clone(m.Disks)
			for _, s := range l.Snapshots {
				if s.Machine == m.Name {
					disks = append(disks, s.Disks...)
				}
			}
			return layersOf(disks), nil
		}
	}
	ref, err := clade.ParseRef(name)
	if err != nil {
		return nil, err
	}
	for i := len(l.Templates) - 1; i >= 0; i-- {
		if t := l.Templates[i]; t.Name == ref.Name && (ref.Version == "" || t.Version == ref.Version) {
			for _, d := range t.Disks {
				tops = append(tops, d.Layer)
			}
			for _, w := range l.Warm {
				for _, d := range w.Disks {
					if w.Template == t.Ref() {
						tops = append(tops, d.Layer)
					}
				}
			}
			return tops, nil
		}
	}
	return nil, &clade.Error{Op: "verify", On: name, Kind: clade.NotFound,
		Err: errors.New("no machine and no template has this name"), Hint: "clade tree shows what there is"}
}
