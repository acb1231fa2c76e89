package host

import (
	"context"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
	"github.com/clade-vm/clade/qcow2"
)

// exportBundle writes what leaves, with all it rests on, to a bundle.
func (h *Host) exportBundle(ctx context.Context, l *leaving, file string, p clade.Progress) (*clade.Carried, error) {
	manifest, err := l.manifest(ctx, h)
	if err != nil {
		return nil, err
	}
	open := func(b bundle.Layer) (*os.File, error) {
		for i, d := range manifest.Disks {
			if b.Head && d.Layer == b.ID {
				return os.Open(l.tops[i])
			}
		}
		return os.Open(h.layerPath(b.ID))
	}
	n, err := writeNew(file, func(f *os.File) error {
		defer h.did("export: written")
		return bundle.Write(ctx, f, manifest, open, p)
	})
	if err != nil {
		return nil, err
	}
	return carried(manifest, len(manifest.Layers), n), nil
}

// manifest says what a bundle of what leaves holds.
func (l *leaving) manifest(ctx context.Context, h *Host) (*bundle.Manifest, error) {
	if l.template != nil {
		m := bundle.OfTemplate(l.template)
		return m, h.describe(ctx, m, l.of, nil)
	}
	m := bundle.OfMachine(&l.machine.Machine)
	return m, h.describe(ctx, m, l.of, l.tops)
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

// describe adds disks to a manifest: their chains and, of a machine, its heads.
func (h *Host) describe(ctx context.Context, m *bundle.Manifest, disks []clade.Disk, heads []string) error {
	tree, err := h.tree(ctx)
	if err != nil {
		return err
	}
	for i, d := range disks {
		chain, err := tree.Chain(d.Layer)
		if err != nil {
			return err
		}
		var head *bundle.Layer
		if heads != nil {
			if head, err = headLayer(ctx, heads[i], m); err != nil {
				return err
			}
		}
		m.AddDisk(d.Slot, chain, head)
		m.SetData(d.Label, d.Mount)
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

// ImportBundle adds what a bundle holds. It is there whole or not at all.
func (h *Host) ImportBundle(ctx context.Context, file string, w clade.Arrival, p clade.Progress) (*clade.Carried, error) {
	fail := func(err error) (*clade.Carried, error) { return nil, fileError("import", "bundle "+file, err) }
	f, err := os.Open(file)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	r, err := bundle.Open(f)
	if err != nil {
		return fail(err)
	}
	a, err := h.takeIn(ctx, r.Manifest, "bundle "+filepath.Base(file), w, func(t bundle.Target) error { return r.Unpack(ctx, t, p) }, p)
	if err != nil {
		return fail(err)
	}
	return a.carried(clade.Bytes(fi.Size())), nil
}

func (a *arrival) carried(n clade.Bytes) *clade.Carried {
	c := carried(a.m, len(a.layers), n)
	c.Resumed = a.resumed
	return c
}
