package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
)

// A Pushed is what a push came to.
type Pushed struct {
	Name   string      // REGISTRY/NAME:VERSION
	Digest string      // of the artifact: it names this content for ever
	Sent   clade.Bytes // of blobs that the registry did not have
	Had    clade.Bytes // of blobs that it had
}

// Push stores a template as REGISTRY/NAME:VERSION; without a version, under the
// template's own. open opens the file of a layer; Push closes it. Layers that the
// registry has are not sent, and those of other versions there not even packed.
// The tag is set last: what others can pull is whole. A version never changes: the
// same content again is no error, another one is refused with kind Exists.
//
// Kinds: Invalid (no such name can be; a machine), Exists, NotFound (the
// registry), Denied (log in, or no right), Busy, Corrupt (a file is not the layer
// that it says), NoSpace (for the packed layer), Timeout, and those of open. After
// a failure the registry may have blobs without a tag, which the next push uses.
func Push(ctx context.Context, name string, m *bundle.Manifest, open func(bundle.Layer) (*os.File, error), o Options, p clade.Progress) (*Pushed, error) {
	s := &sender{m: m, open: open, o: o, tell: p, known: make(map[string]ocispec.Descriptor)}
	err := s.push(ctx, name)
	if err != nil {
		return nil, about("push", name, fault(ctx, err))
	}
	return &s.pushed, nil
}

// A sender is a push under way.
type sender struct {
	m      *bundle.Manifest
	open   func(bundle.Layer) (*os.File, error)
	o      Options
	tell   clade.Progress
	repo   *remote.Repository
	known  map[string]ocispec.Descriptor // packed layers, by the layer's digest
	pushed Pushed
}

func (s *sender) push(ctx context.Context, name string) error {
	ref, err := parse(name)
	if err != nil {
		return err
	}
	if s.m.Kind != bundle.Template {
		return &clade.Error{Kind: clade.Invalid, Err: errors.New("a machine cannot be pushed"), Hint: "make a template of it, or export it to a file"}
	}
	if ref.Reference == "" {
		ref.Reference = s.m.Version
	}
	if ref.ValidateReferenceAsTag() != nil {
		return refusal(clade.Invalid, "what is pushed has a version, not a digest")
	}
	s.pushed.Name = ref.String()
	config, err := s.m.Marshal()
	if err != nil {
		return err
	}
	if s.repo, err = s.o.repository(ref); err != nil {
		return err
	}
	configBlob := ocispec.Descriptor{MediaType: ConfigType, Digest: digest.FromBytes(config), Size: int64(len(config))}
	if done, err := s.there(ctx, ref.Reference, configBlob); done || err != nil {
		return err
	}
	s.learn(ctx)
	layers := make([]ocispec.Descriptor, len(s.m.Layers))
	for i, l := range s.m.Layers {
		if layers[i], err = s.layer(ctx, l); err != nil {
			return about("", "layer "+l.ID, fault(ctx, err))
		}
	}
	if err := s.blob(ctx, configBlob, strings.NewReader(string(config)), "manifest"); err != nil {
		return err
	}
	return s.tag(ctx, ref.Reference, configBlob, layers)
}

// there says whether the tag is taken by the same content, and refuses where it is
// by another.
func (s *sender) there(ctx context.Context, tag string, config ocispec.Descriptor) (bool, error) {
	m, desc, err := artifact(ctx, s.repo, tag)
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return false, nil
	case err != nil && !errors.Is(err, clade.Unsupported):
		return false, err
	case err != nil || m.Config.Digest != config.Digest:
		return false, &clade.Error{Kind: clade.Exists, Err: errors.New("the registry has this version, with another content"),
			Hint: "versions never change: make the next one, or push it under another name"}
	}
	s.pushed.Digest = desc.Digest.String()
	for _, blob := range append(m.Layers, m.Config) {
		s.pushed.Had += clade.Bytes(blob.Size)
	}
	return true, nil
}

// The bounds of what is read to learn which layers a repository has.
const (
	maxTags     = 4096
	maxVersions = 16
)

// learn looks among the newest versions for layers that need not be packed. It is
// a shortcut: where it fails, they are packed, and their blobs found by digest.
func (s *sender) learn(ctx context.Context) {
	var tags []string
	enough := errors.New("enough")
	_ = s.repo.Tags(ctx, "", func(page []string) error {
		if tags = append(tags, page...); len(tags) > maxTags {
			return enough
		}
		return nil
	})
	slices.SortFunc(tags, newer)
	wanted := make(map[string]bool)
	for _, l := range s.m.Layers {
		wanted[l.Digest] = true
	}
	for _, tag := range tags[:min(len(tags), maxVersions)] {
		if len(wanted) == 0 {
			return
		}
		m, _, err := artifact(ctx, s.repo, tag)
		if err != nil {
			continue
		}
		for _, blob := range m.Layers {
			if d := blob.Annotations[layerDigest]; wanted[d] {
				s.known[d] = blob
				delete(wanted, d)
			}
		}
	}
}

// newer orders versions so that the newest comes first: by length, then by letter,
// which is right for numbers and dates.
func newer(a, b string) int {
	if len(a) != len(b) {
		return len(b) - len(a)
	}
	return strings.Compare(b, a)
}

// layer sees to it that the registry has a layer, and returns what its blob is.
func (s *sender) layer(ctx context.Context, l bundle.Layer) (ocispec.Descriptor, error) {
	if blob, ok := s.known[l.Digest]; ok && sound(blob, l) == nil {
		there, err := s.repo.Blobs().Exists(ctx, blob)
		if err != nil {
			return blob, err
		}
		if there {
			s.pushed.Had += clade.Bytes(blob.Size)
			s.tell.Tell(clade.Event{Step: "push", Note: "layer " + l.ID + ": the registry has it", Done: blob.Size, Total: blob.Size, Unit: "B", End: true})
			return described(blob, l), nil
		}
	}
	f, blob, err := s.pack(ctx, l)
	if err != nil {
		return blob, err
	}
	defer f.Close()
	s.known[l.Digest] = blob
	return blob, s.blob(ctx, blob, f, "layer "+l.ID)
}

// described returns a blob with what people and later pushes want to know of it.
func described(blob ocispec.Descriptor, l bundle.Layer) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: LayerType, Digest: blob.Digest, Size: blob.Size,
		Annotations: map[string]string{layerDigest: l.Digest, ocispec.AnnotationTitle: l.ID}}
}

// pack packs a layer into a file without a name: its digest and length come before
// its bytes in the protocol.
func (s *sender) pack(ctx context.Context, l bundle.Layer) (packed *os.File, blob ocispec.Descriptor, err error) {
	f, err := s.open(l)
	if err != nil {
		return nil, blob, err
	}
	defer f.Close()
	if packed, err = os.CreateTemp(s.o.Temp, "push-"); err != nil {
		return nil, blob, err
	}
	sum, event := sha256.New(), clade.Event{Step: "pack", Note: "layer " + l.ID, Total: int64(l.Size), Unit: "B"}
	if err = os.Remove(packed.Name()); err == nil {
		err = bundle.Pack(ctx, f, l, func(piece []byte, read int) error {
			sum.Write(piece)
			blob.Size += int64(len(piece))
			event.Done += int64(read)
			event.End = event.Done == event.Total
			s.tell.Tell(event)
			_, err := packed.Write(piece)
			return err
		})
	}
	if err == nil {
		_, err = packed.Seek(0, io.SeekStart)
	}
	if err != nil {
		packed.Close()
		return nil, blob, err
	}
	blob.Digest = digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(sum.Sum(nil)))
	return packed, described(blob, l), nil
}

// blob sends a blob that the registry does not have.
func (s *sender) blob(ctx context.Context, blob ocispec.Descriptor, body io.Reader, note string) error {
	there, err := s.repo.Blobs().Exists(ctx, blob)
	if err != nil || there {
		if there {
			s.pushed.Had += clade.Bytes(blob.Size)
		}
		return err
	}
	event := clade.Event{Step: "push", Note: note, Total: blob.Size, Unit: "B"}
	ctx, watch := watched(ctx, s.o.stall)
	defer watch.end()
	watch.Reader = body
	watch.told = func(n int64) {
		event.Done = n
		s.tell.Tell(event)
	}
	if err := s.repo.Blobs().Push(ctx, blob, watch); err != nil {
		return fault(ctx, err)
	}
	s.pushed.Sent += clade.Bytes(blob.Size)
	event.Done, event.End = blob.Size, true
	s.tell.Tell(event)
	return nil
}

// tag stores the OCI manifest under its tag.
func (s *sender) tag(ctx context.Context, tag string, config ocispec.Descriptor, layers []ocispec.Descriptor) error {
	data, err := json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType,
		Config:       config,
		Layers:       layers,
		Annotations: map[string]string{
			ocispec.AnnotationTitle:   fmt.Sprintf("%s:%s", s.m.Name, s.m.Version),
			ocispec.AnnotationCreated: s.m.Created.UTC().Format(time.RFC3339),
		},
	})
	if err != nil {
		return err
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(data), Size: int64(len(data))}
	s.pushed.Digest = desc.Digest.String()
	return s.repo.PushReference(ctx, desc, strings.NewReader(string(data)), tag)
}
