package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/clade-vm/clade"
)

// A Target is where layers arrive.
type Target struct {
	// Have says whether the layer is there already and sound (see Layer.Is). A home
	// that cannot take it says so here, with an error. It is not asked for heads.
	Have func(Layer) (bool, error)
	// Path says where the file of a layer or head is to be made. It must not exist.
	Path func(Layer) (string, error)
	// Arrived is told of each layer that is whole and proven. It is not synced.
	// What is kept from here on is what an interrupted import need not read again.
	Arrived func(Layer) error
	// NoHeads passes over the heads of a machine's bundle.
	NoHeads bool
	// Free bounds what is written in all; 0 leaves it to the file system.
	Free clade.Bytes
}

// budget is what may be written, nil for no bound.
func (t Target) budget() *Budget {
	if t.Free <= 0 {
		return nil
	}
	return &Budget{t.Free}
}

// A Supply gives the compressed bytes of a layer, one zstd stream, to unpack or,
// where want is nil, passes over them.
type Supply func(l Layer, want func(io.Reader) error) error

// Receive has the layers of m that are not there arrive in t, parents first. It
// is what Reader.Unpack and package oci share.
func Receive(ctx context.Context, m *Manifest, t Target, supply Supply, p clade.Progress) error {
	event := clade.Event{Step: "import", Total: int64(m.Size()), Unit: "B"}
	budget := t.budget()
	for _, l := range m.Layers {
		event.Note = "layer " + l.ID
		before := event.Done
		err := receive(ctx, l, t, supply, budget, func(n int) {
			event.Done += int64(n)
			p.Tell(event)
		})
		if err != nil {
			return about("", event.Note, err)
		}
		event.Done = before + int64(l.Size)
	}
	event.End = true
	p.Tell(event)
	return nil
}

func receive(ctx context.Context, l Layer, t Target, supply Supply, b *Budget, read func(int)) error {
	if l.Head && t.NoHeads {
		return supply(l, nil)
	}
	if !l.Head {
		there, err := t.Have(l)
		if err != nil {
			return err
		}
		if there {
			return supply(l, nil)
		}
	}
	path, err := t.Path(l)
	if err != nil {
		return err
	}
	if err := supply(l, func(packed io.Reader) error { return Unpack(ctx, packed, l, path, b, read) }); err != nil {
		return err
	}
	return t.Arrived(l)
}

// A Reader is a bundle whose manifest was read and is sound.
type Reader struct {
	Manifest *Manifest
	archive  *tar.Reader
}

// Open reads the manifest of a bundle. Where r is also an io.Seeker, what is not
// needed is not read. r is read to the end by Unpack; the caller closes it.
//
// Kinds: Invalid (no bundle), Unsupported (of another format), Corrupt.
func Open(r io.Reader) (*Reader, error) {
	b := &Reader{archive: tar.NewReader(r)}
	if err := b.open(); err != nil {
		return nil, about("read", "bundle", err)
	}
	return b, nil
}

func (b *Reader) open() error {
	h, err := b.archive.Next()
	if err != nil || h.Name != manifestName {
		if e, ok := errors.AsType[*clade.Error](fault(err)); ok && e.Kind != clade.Internal {
			return err // the file system's, not the format's
		}
		return &clade.Error{Kind: clade.Invalid, Err: errors.New("not a bundle of clade"),
			Hint: "a bundle is what clade export writes; disk images go by clade import NAME FILE"}
	}
	data, err := b.member(h, int64(MaxManifest))
	if err == nil {
		b.Manifest, err = Parse(data)
	}
	return err
}

// member reads a member that may have so many bytes at most.
func (b *Reader) member(h *tar.Header, most int64) ([]byte, error) {
	if err := plain(h, most); err != nil {
		return nil, err
	}
	data := make([]byte, h.Size)
	if _, err := io.ReadFull(b.archive, data); err != nil {
		return nil, cutOff(err)
	}
	return data, nil
}

// plain proves that a member is a file of a size that can be.
func plain(h *tar.Header, most int64) error {
	switch {
	case h.Typeflag != tar.TypeReg || len(h.PAXRecords) > 0:
		return refusal(clade.Corrupt, "the member %s is no plain file", quotable(h.Name))
	case h.Size < 0 || h.Size > most:
		return refusal(clade.Corrupt, "the member %s has %d bytes, more than %d", quotable(h.Name), h.Size, most)
	}
	return nil
}

// Unpack has the layers arrive in t that are not there. It can be called once. On
// an error the layers that Arrived was told of are whole, and nothing else remains.
//
// Kinds: Corrupt (cut off, damaged, members that do not belong there, a layer that
// is not what the manifest says), Unsupported (a layer that is not taken from
// strangers), NoSpace, Timeout, and those of t.
func (b *Reader) Unpack(ctx context.Context, t Target, p clade.Progress) error {
	err := Receive(ctx, b.Manifest, t, b.supply, p)
	if err == nil {
		if h, e := b.archive.Next(); e == nil {
			err = refusal(clade.Corrupt, "the member %s does not belong there: the last layer came before it", quotable(h.Name))
		} else if e != io.EOF {
			err = cutOff(e)
		}
	}
	return about("import", fmt.Sprintf("bundle of %s %s", b.Manifest.Kind, b.Manifest.title()), err)
}

// supply gives the pieces of the layer that comes next.
func (b *Reader) supply(l Layer, want func(io.Reader) error) error {
	s := &stream{b: b, layer: l}
	if want != nil {
		return want(s)
	}
	for s.next < l.pieces() {
		if err := s.advance(); err != nil {
			return err
		}
	}
	return nil
}

// A stream is the pieces of one layer, joined.
type stream struct {
	b     *Reader
	layer Layer
	next  int64 // the piece that comes next
}

func (s *stream) Read(buf []byte) (int, error) {
	for {
		if s.next > 0 {
			n, err := s.b.archive.Read(buf)
			if n > 0 || err == nil {
				return n, nil
			}
			if err != io.EOF {
				return 0, cutOff(err)
			}
		}
		if s.next == s.layer.pieces() {
			return 0, io.EOF
		}
		if err := s.advance(); err != nil {
			return 0, err
		}
	}
}

// advance goes to the next piece. There is one name that the next member can
// have: whatever else a stranger put there is refused, by its name.
func (s *stream) advance() error {
	want := pieceName(s.layer, s.next)
	h, err := s.b.archive.Next()
	if err != nil {
		return cutOff(err)
	}
	if h.Name != want {
		return refusal(clade.Corrupt, "the member %s does not belong there: %s should come next", quotable(h.Name), want)
	}
	s.next++
	return plain(h, maxPacked)
}

// cutOff gives an error of reading the archive its kind.
func cutOff(err error) error {
	switch {
	case clade.KindOf(err) != clade.Internal:
		return err
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return &clade.Error{Kind: clade.Corrupt, Err: errors.New("the file is cut off: it ends before its last layer"), Hint: "fetch or copy it again"}
	}
	return refusal(clade.Corrupt, "its archive is damaged: %w", err)
}
