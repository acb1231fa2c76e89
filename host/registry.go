package host

import (
	"context"
	"os"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
	"github.com/clade-vm/clade/oci"
)

// Push stores a template in a registry; layers that it has are not sent.
func (h *Host) Push(ctx context.Context, ref clade.Ref, name string, o clade.RegistryOptions, p clade.Progress) (*clade.Carried, error) {
	t, err := h.Template(ctx, ref)
	if err != nil {
		return nil, retitle("push", err)
	}
	b := &base{}
	b.fromTemplate(t)
	manifest := bundle.OfTemplate(t)
	if err := h.describe(ctx, manifest, b.of, nil); err != nil {
		return nil, fileError("push", "template "+t.Ref().String(), err)
	}
	open := func(l bundle.Layer) (*os.File, error) { return os.Open(h.layerPath(l.ID)) }
	done, err := oci.Push(ctx, name, manifest, open, oci.Options{PlainHTTP: o.PlainHTTP, Temp: h.path(tmpDir)}, p)
	if err != nil {
		return nil, fileError("push", "template "+t.Ref().String(), err)
	}
	return carried(manifest, len(manifest.Layers), done.Sent), nil
}

// Pull takes a template in from a registry; layers that are here are not fetched.
// It is there whole or not at all.
func (h *Host) Pull(ctx context.Context, name string, w clade.Arrival, o clade.RegistryOptions, p clade.Progress) (*clade.Carried, error) {
	a, err := oci.Open(ctx, name, oci.Options{PlainHTTP: o.PlainHTTP})
	if err != nil {
		return nil, fileError("pull", name, err)
	}
	var fetched clade.Bytes
	came, err := h.takeIn(ctx, a.Manifest, "registry "+name, w, func(t bundle.Target) (err error) {
		fetched, err = a.Unpack(ctx, t, p)
		return err
	}, p)
	if e, ok := err.(*clade.Error); ok && e.Op == "pull" {
		return nil, err // it says all of it already
	}
	if err != nil {
		return nil, fileError("pull", name, err)
	}
	return came.carried(fetched), nil
}
