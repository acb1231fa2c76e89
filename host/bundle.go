package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// Export writes a template, or a stopped machine, with all it rests on to a file.
// A name that is both is taken for the template, as by Clone.
func (h *Host) Export(ctx context.Context, source, file string, p clade.Progress) (*clade.Carried, error) {
	b, err := h.source(ctx, clade.CloneSpec{Source: source, AcceptTwins: []string{clade.AllMarks}})
	if err != nil {
		return nil, retitle("export", err)
	}
	manifest, heads := &bundle.Manifest{}, []string(nil)
	if b.template != nil {
		manifest = bundle.OfTemplate(b.template)
	} else {
		m, release, err := h.holdStopped(ctx, b.machine.Name, "export")
		if err != nil {
			return nil, err
		}
		defer release()
		b.layers = layersOf(m.Disks)
		manifest, heads = bundle.OfMachine(&m.Machine), h.headPaths(m)
	}
	if err := h.describe(ctx, manifest, b.layers, heads); err != nil {
		return nil, fileError("export", b.source, err)
	}
	open := func(l bundle.Layer) (*os.File, error) {
		for _, d := range manifest.Disks {
			if l.Head && d.Layer == l.ID {
				return os.Open(heads[d.Slot])
			}
		}
		return os.Open(h.layerPath(l.ID))
	}
	n, err := writeNew(file, func(f *os.File) error { return bundle.Write(ctx, f, manifest, open, p) })
	if err != nil {
		return nil, fileError("export", b.source+" to "+file, err)
	}
	return carried(manifest, len(manifest.Layers), n), nil
}

func carried(m *bundle.Manifest, moved int, n clade.Bytes) *clade.Carried {
	c := &clade.Carried{Layers: len(m.Layers), Moved: moved, Bytes: n}
	if m.Kind == bundle.Template {
		c.Template = clade.Ref{Name: m.Name, Version: m.Version}
	} else {
		c.Machine = m.Name
	}
	return c
}

// describe adds the disks to a manifest: the chains below tops and, of a machine,
// its heads.
func (h *Host) describe(ctx context.Context, m *bundle.Manifest, tops, heads []string) error {
	tree, err := h.tree(ctx)
	if err != nil {
		return err
	}
	for slot, top := range tops {
		chain, err := tree.Chain(top)
		if err != nil {
			return err
		}
		if heads == nil {
			m.AddDisk(slot, chain, nil)
			continue
		}
		head, err := headLayer(ctx, heads[slot], m)
		if err != nil {
			return err
		}
		m.AddDisk(slot, chain, head)
	}
	return nil
}

// headLayer describes a head, which is held and does not change.
func headLayer(ctx context.Context, path string, m *bundle.Manifest) (*bundle.Layer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := qcow2.InspectFile(path)
	if err != nil {
		return nil, err
	}
	digest, size, err := bundle.Sum(ctx, f)
	return &bundle.Layer{Digest: digest, Size: size, Virtual: info.Virtual, Created: m.Created, Origin: "head of machine " + string(m.Name)}, err
}

// writeNew makes a file that is there whole or not at all: it has no name until
// fill is done and it is on the disk. It returns the length. Kind Exists.
func writeNew(path string, fill func(*os.File) error) (clade.Bytes, error) {
	if _, err := os.Lstat(path); err == nil {
		return 0, &clade.Error{Kind: clade.Exists, Err: errors.New("there is a file of this name"), Hint: "choose another name"}
	}
	f, err := os.OpenFile(filepath.Dir(path), os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return 0, err
	}
	fi, err := f.Stat()
	if err := errors.Join(err, f.Sync()); err != nil {
		return 0, err
	}
	name := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, name, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return 0, err
	}
	return clade.Bytes(fi.Size()), syncDir(filepath.Dir(path))
}

// ImportBundle adds what a bundle holds. It is there whole or not at all.
func (h *Host) ImportBundle(ctx context.Context, file string, as clade.Ref, p clade.Progress) (*clade.Carried, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fileError("import", "bundle "+file, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fileError("import", "bundle "+file, err)
	}
	r, err := bundle.Open(f)
	if err != nil {
		return nil, fileError("import", "bundle "+file, err)
	}
	moved, err := h.takeIn(ctx, r.Manifest, as, func(t bundle.Target) error { return r.Unpack(ctx, t, p) })
	if err != nil {
		return nil, fileError("import", "bundle "+file, err)
	}
	return carried(r.Manifest, moved, clade.Bytes(fi.Size())), nil
}

// takeIn adds what m says, under the name as, once unpack has had the layers
// arrive that are missing. It returns how many these were.
func (h *Host) takeIn(ctx context.Context, m *bundle.Manifest, as clade.Ref, unpack func(bundle.Target) error) (int, error) {
	if err := h.restore(ctx); err != nil {
		return 0, err
	}
	if as.Name != "" {
		m.Name = as.Name
	}
	if as.Version != "" && m.Kind == bundle.Template {
		m.Version = as.Version
	}
	op, err := h.begin(ctx, "import")
	if err != nil {
		return 0, err
	}
	defer op.end()
	a, err := h.arrival(ctx, op, m)
	if err != nil {
		return 0, err
	}
	if err := unpack(a.target()); err != nil {
		return 0, err
	}
	return len(a.layers), a.place(ctx)
}

// An arrival is a bundle on its way into the home.
type arrival struct {
	h       *Host
	op      *operation
	m       *bundle.Manifest
	there   map[string]*clade.Layer // the home's layers by id
	layers  []*clade.Layer          // that arrived
	machine *store.Machine          // nil for a template
	free    clade.Bytes
}

// arrival refuses what cannot be taken in before anything is unpacked.
func (h *Host) arrival(ctx context.Context, op *operation, m *bundle.Manifest) (*arrival, error) {
	a := &arrival{h: h, op: op, m: m, there: map[string]*clade.Layer{}}
	err := h.db.Read(ctx, func(tx *store.Tx) error {
		layers, err := tx.Layers()
		for _, l := range layers {
			a.there[l.ID] = l
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(op.dir, layersDir), 0o700); err != nil {
		return nil, err
	}
	if a.free, err = image.Space(h.Dir); err != nil {
		return nil, err
	}
	if m.Kind == bundle.Template {
		_, err := h.newVersion(ctx, clade.Ref{Name: m.Name, Version: m.Version})
		return a, err
	}
	if err := h.checkNames(ctx, []clade.Name{m.Name}); err != nil {
		return nil, err
	}
	a.machine = draft(m.Name, clade.Options{}, m.Hardware, m.User)
	a.machine.Source = "bundle of machine " + string(m.Name)
	return a, os.Mkdir(filepath.Join(op.dir, a.machine.ID), 0o700)
}

func (a *arrival) target() bundle.Target {
	return bundle.Target{
		Have: func(l bundle.Layer) (bool, error) { return l.Is(a.there[l.ID]) },
		Path: a.path,
		Arrived: func(l bundle.Layer) error {
			path, err := a.path(l)
			if err != nil || l.Head {
				return err
			}
			a.layers = append(a.layers, l.Record())
			return os.Chmod(path, 0o444)
		},
		Free: a.free,
	}
}

// path is where a layer or head is made, below the operation's directory.
func (a *arrival) path(l bundle.Layer) (string, error) {
	if !l.Head {
		dir := filepath.Join(a.op.dir, layersDir, l.ID)
		return filepath.Join(dir, layerFile), os.MkdirAll(dir, 0o700)
	}
	for _, d := range a.m.Disks {
		if d.Layer == l.ID && a.machine != nil {
			return filepath.Join(a.op.dir, a.machine.ID, headName(d.Slot, 0)), nil
		}
	}
	return "", &clade.Error{Kind: clade.Corrupt, Err: fmt.Errorf("head %s is no disk's", l.ID)}
}

// place records what has arrived.
func (a *arrival) place(ctx context.Context) error {
	if a.machine == nil {
		t := a.m.Record()
		return a.h.placeMachines(ctx, a.op, a.layers, nil, func(tx *store.Tx) error { return tx.AddTemplate(t) })
	}
	for _, d := range a.m.Disks {
		disk := clade.Disk{Slot: d.Slot, Virtual: d.Virtual}
		if chain := a.m.Chain(d.Layer); len(chain) > 1 {
			disk.Layer, disk.Base = chain[1].ID, chain[1].ID // below the head
			a.machine.Clone = clade.Linked
		}
		a.machine.Disks, a.machine.Heads = append(a.machine.Disks, disk), append(a.machine.Heads, headName(d.Slot, 0))
	}
	return a.h.placeMachines(ctx, a.op, a.layers, []*store.Machine{a.machine}, nil)
}
