package bundle

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/clade-vm/clade"
)

const manifestName = "manifest.json"

// pieceName is the name of the n-th piece of a layer.
func pieceName(l Layer, n int64) string { return fmt.Sprintf("layers/%s/%08d.zst", l.ID, n) }

// pieces is how many pieces a layer has.
func (l Layer) pieces() int64 { return (int64(l.Size) + pieceSize - 1) / pieceSize }

// Write writes a bundle to w. open opens the file of a layer or head; Write closes
// it. The files must not change meanwhile: the layers are sealed, and a machine
// whose heads are written is held by the caller. Each is proven while it is read,
// and the same bundle is the same bytes. On an error what w got is no bundle.
//
// Kinds: Corrupt (the manifest is not sound, a file is not the layer that it
// says), Timeout (ctx ended), those of open and of writing to w.
func Write(ctx context.Context, w io.Writer, m *Manifest, open func(Layer) (*os.File, error), p clade.Progress) error {
	archive := tar.NewWriter(w)
	err := write(ctx, archive, m, open, p)
	if err == nil {
		err = archive.Close()
	}
	return about("export", fmt.Sprintf("%s %s", m.Kind, m.title()), err)
}

// title is what people call what the bundle holds.
func (m *Manifest) title() string {
	if m.Version != "" {
		return string(m.Name) + ":" + m.Version
	}
	return string(m.Name)
}

func write(ctx context.Context, archive *tar.Writer, m *Manifest, open func(Layer) (*os.File, error), p clade.Progress) error {
	data, err := m.Marshal()
	if err != nil {
		return err
	}
	if err := member(archive, manifestName, data); err != nil {
		return err
	}
	event := clade.Event{Step: "export", Total: int64(m.Size()), Unit: "B"}
	for _, l := range m.Layers {
		event.Note = "layer " + l.ID
		if err := writeLayer(ctx, archive, l, open, func(n int) {
			event.Done += int64(n)
			p.Tell(event)
		}); err != nil {
			return about("", event.Note, err)
		}
	}
	event.End = true
	p.Tell(event)
	return nil
}

func writeLayer(ctx context.Context, archive *tar.Writer, l Layer, open func(Layer) (*os.File, error), read func(int)) error {
	f, err := open(l)
	if err != nil {
		return err
	}
	defer f.Close()
	n := int64(0)
	return Pack(ctx, f, l, func(packed []byte, length int) error {
		name := pieceName(l, n)
		n++
		read(length)
		return member(archive, name, packed)
	})
}

// member adds a file that tells nothing of where and when it was written.
func member(archive *tar.Writer, name string, data []byte) error {
	err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644,
		ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
	if err != nil {
		return err
	}
	_, err = archive.Write(data)
	return err
}
