package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
)

// An Artifact is one version of a template in a registry, whose manifest was
// fetched and is sound.
type Artifact struct {
	Manifest *bundle.Manifest
	Digest   string // of the artifact: it names this content for ever

	name  string
	repo  *remote.Repository
	blobs map[string]ocispec.Descriptor // by the layer's id
	stall time.Duration
}

// Open fetches what REGISTRY/NAME:VERSION says of itself, or NAME@sha256:...
//
// Kinds: Invalid (no such name can be), NotFound (the registry or the artifact),
// Denied (log in, or no right), Busy, Unsupported (not a template of clade, or of
// a newer one), Corrupt (the registry lies or contradicts itself), Timeout.
func Open(ctx context.Context, name string, o Options) (*Artifact, error) {
	a := &Artifact{name: name, stall: o.stall}
	ref, err := parse(name)
	if err == nil && ref.Reference == "" {
		err = &clade.Error{Kind: clade.Invalid, Err: fmt.Errorf("which version is not said"), Hint: "add it: " + name + ":VERSION"}
	}
	if err == nil {
		a.repo, err = o.repository(ref)
	}
	if err == nil {
		err = fault(ctx, a.open(ctx, ref.Reference))
	}
	return a, about("pull", name, err)
}

func about(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &clade.Error{Op: op, On: fmt.Sprintf("%.200s", name), Kind: clade.KindOf(err), Err: err}
}

func (a *Artifact) open(ctx context.Context, version string) error {
	m, desc, err := artifact(ctx, a.repo, version)
	if err != nil {
		return err
	}
	a.Digest = desc.Digest.String()
	config, err := fetchAll(ctx, a.repo.Blobs(), m.Config, int64(bundle.MaxManifest))
	if err != nil {
		return err
	}
	if a.Manifest, err = bundle.Parse(config); err != nil {
		return err
	}
	if a.Manifest.Kind != bundle.Template || len(m.Layers) != len(a.Manifest.Layers) {
		return refusal(clade.Corrupt, "its blobs are not the layers of its manifest")
	}
	a.blobs = make(map[string]ocispec.Descriptor)
	for i, l := range a.Manifest.Layers {
		blob := m.Layers[i]
		if err := sound(blob, l); err != nil {
			return about("", "layer "+l.ID, err)
		}
		a.blobs[l.ID] = blob
	}
	return nil
}

// artifact fetches the OCI manifest that has a tag or digest.
func artifact(ctx context.Context, repo *remote.Repository, version string) (m ocispec.Manifest, desc ocispec.Descriptor, err error) {
	desc, body, err := repo.FetchReference(ctx, version)
	if err != nil {
		return m, desc, err
	}
	defer body.Close()
	data, err := readAll(body, desc, maxMetadata)
	if err != nil {
		return m, desc, err
	}
	if desc.MediaType != ocispec.MediaTypeImageManifest || json.Unmarshal(data, &m) != nil || m.ArtifactType != ArtifactType || m.Config.MediaType != ConfigType {
		return m, desc, refusal(clade.Unsupported, "it is not a template of clade: its type is %.80q", kindOf(m, desc))
	}
	return m, desc, nil
}

// kindOf is what an artifact calls itself.
func kindOf(m ocispec.Manifest, desc ocispec.Descriptor) string {
	switch {
	case m.ArtifactType != "":
		return m.ArtifactType
	case m.Config.MediaType != "":
		return m.Config.MediaType
	}
	return desc.MediaType
}

// sound proves that a blob can be the packed layer.
func sound(blob ocispec.Descriptor, l bundle.Layer) error {
	if err := blob.Digest.Validate(); err != nil {
		return refusal(clade.Corrupt, "%.80q is no digest", string(blob.Digest))
	}
	if blob.MediaType != LayerType {
		return refusal(clade.Unsupported, "its blob is of the type %.80q", blob.MediaType)
	}
	if most := int64(l.Size) + int64(l.Size)/16 + 1<<20; blob.Size <= 0 || blob.Size > most {
		return refusal(clade.Corrupt, "its blob has %d bytes for a file of %d", blob.Size, l.Size)
	}
	return nil
}

// fetcher is where blobs come from.
type fetcher interface {
	Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error)
}

func fetchAll(ctx context.Context, from fetcher, desc ocispec.Descriptor, most int64) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, refusal(clade.Corrupt, "%.80q is no digest", string(desc.Digest))
	}
	if err := small(desc, most); err != nil {
		return nil, err
	}
	body, err := from.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readAll(body, desc, most)
}

// readAll reads what desc describes, if it is small enough, and proves it.
func readAll(r io.Reader, desc ocispec.Descriptor, most int64) ([]byte, error) {
	if err := small(desc, most); err != nil {
		return nil, err
	}
	return content.ReadAll(r, desc)
}

func small(desc ocispec.Descriptor, most int64) error {
	if desc.Size < 0 || desc.Size > most {
		return refusal(clade.Corrupt, "a manifest of %d bytes", desc.Size)
	}
	return nil
}

// Packed is how many bytes are fetched for a layer that is not there.
func (a *Artifact) Packed(l bundle.Layer) clade.Bytes { return clade.Bytes(a.blobs[l.ID].Size) }

// Unpack has the layers arrive in t that are not there, and returns how many
// bytes were fetched for them. On an error the layers that t.Arrived was told of
// are whole, and nothing else remains.
//
// Kinds: those of Open and of bundle.Reader.Unpack.
func (a *Artifact) Unpack(ctx context.Context, t bundle.Target, p clade.Progress) (fetched clade.Bytes, err error) {
	supply := func(l bundle.Layer, want func(io.Reader) error) error {
		if want == nil {
			return nil
		}
		n, err := a.fetch(ctx, a.blobs[l.ID], want)
		fetched += n
		return err
	}
	return fetched, about("pull", a.name, bundle.Receive(ctx, a.Manifest, t, supply, p))
}

// fetch has want read a blob, and proves that it was that.
func (a *Artifact) fetch(ctx context.Context, blob ocispec.Descriptor, want func(io.Reader) error) (clade.Bytes, error) {
	ctx, watch := watched(ctx, a.stall)
	defer watch.end()
	body, err := a.repo.Blobs().Fetch(ctx, blob)
	if err != nil {
		return 0, fault(ctx, err)
	}
	defer body.Close()
	watch.Reader = &steady{ReadCloser: body}
	proven := content.NewVerifyReader(watch, blob)
	err = want(readerFunc(func(b []byte) (int, error) {
		n, err := proven.Read(b)
		if err == io.EOF {
			if e := proven.Verify(); e != nil {
				return n, fault(ctx, e)
			}
			return n, io.EOF
		}
		return n, fault(ctx, err)
	}))
	return clade.Bytes(watch.moved), err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
