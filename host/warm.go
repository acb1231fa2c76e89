package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
	"github.com/google/uuid"
)

// warmLimit bounds the boot of a machine that is to be kept warm.
const warmLimit = 20 * time.Minute

// A saver is a driver that can do all that instant clones take.
type saver interface {
	hypervisor.Saver
	hypervisor.Plugger
	hypervisor.Guester
}

// saver returns the driver's ability. Kind Unsupported where it lacks something.
func (h *Host) saver(op, on string) (saver, error) {
	s, ok := h.Driver.(saver)
	if !ok {
		return nil, &clade.Error{Op: op, On: on, Kind: clade.Unsupported, Err: errors.New("this driver makes no instant clones")}
	}
	return s, nil
}

// A warming is a machine of a template that is on its way to be kept: built aside,
// booted without a network, ended when its memory is saved.
type warming struct {
	h     *Host
	op    *operation
	saver saver
	t     *clade.Template
	m     *store.Machine // it has no record
	w     *clade.Warm
	place hypervisor.Place
}

// WarmTemplate boots a machine of a template without a network, brings it to a
// point and keeps its memory, devices and disks as they are then. Nothing remains
// on failure, but a machine that could not be ended, which the next command ends; an
// earlier warming is in force until this one is complete.
func (h *Host) WarmTemplate(ctx context.Context, spec clade.WarmSpec, p clade.Progress) (*clade.Warm, error) {
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	b, err := h.source(ctx, clade.CloneSpec{Source: spec.Template.String()})
	if err == nil && b.template == nil {
		err = &clade.Error{Kind: clade.Unsupported, On: b.source, Err: errors.New("it is no template"),
			Hint: "make one of it: clade template create NAME --from " + spec.Template.String()}
	}
	if err != nil {
		return nil, retitle("warm", err)
	}
	on := b.source
	if err := checkOptions(clade.Options{Hardware: spec.Hardware}, []clade.Name{"warm"}); err != nil {
		return nil, retitle("warm", err)
	}
	if err := h.chainIntact(ctx, b.layers...); err != nil {
		return nil, fileError("warm", on, err)
	}
	w := &warming{h: h, t: b.template}
	if w.saver, err = h.saver("warm", on); err != nil {
		return nil, err
	}
	if w.op, err = h.begin(ctx, "warm"); err != nil {
		return nil, err
	}
	defer w.op.end()
	if err := w.build(ctx, spec, p); err != nil {
		return nil, fileError("warm", on, err)
	}
	if err := w.run(ctx, p); err != nil {
		return nil, fileError("warm", on, err)
	}
	layers, err := w.seal(ctx, p)
	if err != nil {
		return nil, fileError("warm", on, err)
	}
	if err := w.put(ctx, layers); err != nil {
		return nil, fileError("warm", on, err)
	}
	h.dropWarm(ctx, &clade.Removal{}) // what an earlier warming kept and nobody needs
	return w.w, nil
}

// build makes the machine: heads on the template's layers, in a directory as deep
// as machines' are.
func (w *warming) build(ctx context.Context, spec clade.WarmSpec, p clade.Progress) error {
	accelerator, err := w.h.Accelerator(ctx, p)
	if err != nil {
		return err
	}
	bound, err := w.saver.Bind(ctx, accelerator, clade.Bound{})
	if err != nil {
		return err
	}
	id := newID()
	w.m = draft(clade.Name("warm-"+id), clade.Options{Hardware: spec.Hardware, Network: noNetwork}, w.t.Hardware, w.t.User)
	w.m.ID, w.m.Identity.UUID, w.m.Identity.InstanceID = id, uuid.NewString(), newInstanceID()
	w.w = &clade.Warm{ID: id, Template: w.t.Ref(), After: first(spec.After, clade.AfterCloudInit), Hardware: w.m.Hardware, Bound: bound, Created: time.Now().UTC()}
	w.place = hypervisor.Place{Dir: filepath.Join(w.op.dir, guestsDir, id), Run: filepath.Join(w.h.Run, id)}
	for _, dir := range []string{w.place.Dir, filepath.Join(w.op.dir, warmDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.Symlink(w.h.path(layersDir), filepath.Join(w.op.dir, layersDir)); err != nil {
		return err
	}
	for _, d := range w.t.Disks {
		name := headName(d.Slot, 0)
		if err := writeHead(filepath.Join(w.place.Dir, name), d.Layer, d.Virtual); err != nil {
			return err
		}
		w.m.Heads = append(w.m.Heads, name)
		w.m.Disks = append(w.m.Disks, clade.Disk{Slot: d.Slot, Serial: fmt.Sprintf("%s-%d", id, d.Slot), Layer: d.Layer, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount})
	}
	w.h.did("warm: machine built")
	return w.writeSeed()
}

// file is the path of one of the files that are kept.
func (w *warming) file(name string) string { return filepath.Join(w.op.dir, warmDir, name) }

// run boots the machine, brings it to its point and saves what it is. It does not
// run any more when run returns.
func (w *warming) run(ctx context.Context, p clade.Progress) (err error) {
	step := "warm template " + w.t.Ref().String()
	p.Tell(clade.Event{Step: step})
	ctx, cancel := context.WithTimeout(ctx, warmLimit)
	defer cancel()
	w.op.keep = true // a machine that cannot be ended is found by the operation's directory
	defer func() {
		ended := w.h.Driver.Kill(context.WithoutCancel(ctx), w.place)
		if ended == nil {
			w.op.keep, ended = false, os.RemoveAll(w.place.Run)
		}
		err = errors.Join(err, ended)
	}()
	if err := w.h.Driver.Start(ctx, w.place, w.spec()); err != nil {
		return err
	}
	w.h.did("warm: machine started")
	if err := w.reach(ctx, p); err != nil {
		return err
	}
	if err := w.saver.Save(ctx, w.place, w.file(stateFile)); err != nil {
		return err
	}
	w.h.did("warm: state saved")
	p.Tell(clade.Event{Step: step, End: true})
	return nil
}

func (w *warming) spec() hypervisor.Spec {
	s := hypervisor.Spec{ID: w.m.ID, Name: w.m.Name, UUID: w.m.Identity.UUID, Hardware: w.m.Hardware, Accelerator: w.w.Bound.Accelerator,
		Machine: w.w.Bound.Machine, Memory: &hypervisor.Memory{File: w.file(ramFile)}, Seed: filepath.Join(w.place.Dir, seedFile)}
	if w.m.Hardware.Firmware == clade.UEFI {
		s.NVRAM = filepath.Join(w.place.Dir, nvramFile)
	}
	for i, head := range paths(w.place.Dir, w.m.Heads) {
		s.Disks = append(s.Disks, hypervisor.Disk{Path: head, Serial: w.m.Disks[i].Serial})
	}
	return s
}

// seal makes layers of the machine's heads, and immutable files of all that is kept.
func (w *warming) seal(ctx context.Context, p clade.Progress) ([]*clade.Layer, error) {
	step := "seal what template " + w.t.Ref().String() + " keeps"
	p.Tell(clade.Event{Step: step})
	if err := image.Squeeze(w.file(ramFile)); err != nil {
		return nil, err
	}
	for _, name := range []string{ramFile, stateFile} {
		f, err := sealWarm(ctx, w.file(name), name)
		if err != nil {
			return nil, err
		}
		w.w.Files = append(w.w.Files, f)
	}
	if err := os.Remove(filepath.Join(w.op.dir, layersDir)); err != nil { // the link
		return nil, err
	}
	layers := make([]*clade.Layer, len(w.m.Disks))
	for i, d := range w.m.Disks {
		layers[i] = &clade.Layer{ID: newID(), Parent: d.Layer, Origin: "warm template " + w.t.Ref().String(), Virtual: d.Virtual, Sealed: true, Created: time.Now().UTC()}
		file := filepath.Join(w.op.dir, layersDir, layers[i].ID, layerFile)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		if err := os.Rename(filepath.Join(w.place.Dir, w.m.Heads[i]), file); err != nil {
			return nil, err
		}
		if err := sealFile(file, layers[i]); err != nil {
			return nil, err
		}
		w.w.Disks = append(w.w.Disks, clade.TemplateDisk{Slot: d.Slot, Layer: layers[i].ID, Virtual: d.Virtual, Label: d.Label, Mount: d.Mount})
	}
	w.h.did("warm: sealed")
	p.Tell(clade.Event{Step: step, End: true})
	return layers, nil
}

// put moves all that is kept into place and commits its record.
func (w *warming) put(ctx context.Context, layers []*clade.Layer) error {
	dir := w.h.warmPath(w.w.ID)
	return w.h.placing(ctx, func() error {
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return err
		}
		if err := syncDir(w.file("")); err != nil {
			return err
		}
		if err := os.Rename(w.file(""), dir); err != nil {
			return err
		}
		w.h.did("warm: memory in place")
		err := syncDir(filepath.Dir(dir))
		if err == nil {
			err = w.h.placeMachines(ctx, w.op, layers, nil, func(tx *store.Tx) error {
				if err := tx.AddWarm(w.w); err != nil {
					return err
				}
				_, err := removeUnused(tx)
				return err
			})
		}
		if err != nil && !errors.Is(err, store.ErrDoubtful) { // where it is doubtful, the sweep sees what came of it
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return err
	})
}

// RemoveWarm takes a template's warm template away. It stays for the instant
// clones that can go back to it, and goes with the last of them. Kind NotFound.
func (h *Host) RemoveWarm(ctx context.Context, ref clade.Ref) (*clade.Removal, error) {
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	t, err := h.Template(ctx, ref)
	if err != nil {
		return nil, retitle("cool", err)
	}
	if t.Warm == nil {
		return nil, notWarm("cool", t)
	}
	r := &clade.Removal{Removed: "warm template " + t.Ref().String()}
	var gone []*clade.Layer
	err = h.db.Write(ctx, func(tx *store.Tx) error {
		if err := tx.DetachWarm(t.Ref()); err != nil {
			return err
		}
		gone, err = removeUnused(tx)
		return err
	})
	if err != nil {
		return nil, fileError("cool", "template "+ref.String(), err)
	}
	h.did("warm template's name removed")
	return r, h.dropLayers(ctx, r, gone, t.Warm.Disks)
}

func notWarm(op string, t *clade.Template) error {
	return &clade.Error{Op: op, On: "template " + t.Ref().String(), Kind: clade.Unsupported, Err: errors.New("it is not warm"),
		Hint: "warm it: clade template warm " + t.Ref().String()}
}

// warm finds a warm template by its id. Kind NotFound.
func (h *Host) warm(ctx context.Context, id string) (found *clade.Warm, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Warm()
		for _, w := range list {
			if w.ID == id {
				found = w
			}
		}
		return err
	})
	if err == nil && found == nil {
		err = &clade.Error{Op: "find", On: "warm template " + id, Kind: clade.NotFound}
	}
	return found, err
}

// boundHere refuses a warm template whose memory cannot be resumed here, and says
// what has changed.
func (h *Host) boundHere(ctx context.Context, s saver, w *clade.Warm, accelerator string) error {
	now, err := s.Bind(ctx, accelerator, w.Bound)
	if err != nil {
		return err
	}
	if changed := w.Bound.Differs(now); len(changed) > 0 {
		e := &clade.Error{Op: "resume", On: "warm template " + w.ID, Kind: clade.Unsupported,
			Err: fmt.Errorf("its memory was saved under something else: %s", strings.Join(changed, "; "))}
		if w.Template.Name != "" {
			e.Hint = "warm the template again: clade template warm " + w.Template.String()
		}
		return e
	}
	return nil
}
