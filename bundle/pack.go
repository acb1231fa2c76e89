package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/clade-vm/clade"
)

// maxWorkers bounds how many pieces are packed at once, and so the memory.
const maxWorkers = 3

// Sum returns the digest and the length of what r holds, as a Layer records
// them. It ends with ctx.
func Sum(ctx context.Context, r io.Reader) (digest string, size clade.Bytes, err error) {
	sum, buf := sha256.New(), make([]byte, 1<<20)
	for {
		n, err := r.Read(buf)
		sum.Write(buf[:n])
		size += clade.Bytes(n)
		if err == io.EOF {
			return digestOf(sum), size, nil
		}
		if err = errors.Join(err, context.Cause(ctx)); err != nil {
			return "", 0, fault(err)
		}
	}
}

func digestOf(sum hash.Hash) string { return "sha256:" + hex.EncodeToString(sum.Sum(nil)) }

// Pack reads the file of a layer and gives emit its pieces, each one zstd frame,
// in order; together they are one zstd stream. emit must not keep a piece; read
// is told how many bytes of the layer it stands for. The same file gives the same
// bytes as long as the zstd library does.
//
// The header is checked before, length and digest after the last piece: an error
// of kind Corrupt says that the file is not the layer. ctx ends it with kind
// Timeout. An error of emit comes back as it is.
func Pack(ctx context.Context, f io.ReaderAt, l Layer, emit func(piece []byte, read int) error) error {
	if err := l.sound(f); err != nil {
		return fault(err)
	}
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(workers), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(pieceSize), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return err
	}
	defer encoder.Close()
	c := newCutter(encoder, workers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(c.queue)
		return c.cut(ctx, f, l)
	})
	group.Go(func() error {
		for p := range c.queue {
			if err := emit(<-p.packed, len(p.raw)); err != nil {
				return err
			}
			c.spare <- p
		}
		return nil
	})
	return fault(group.Wait())
}

// A cutter reads a layer, has its pieces packed and queues them in order.
type cutter struct {
	encoder *zstd.Encoder
	queue   chan *piece
	spare   chan *piece // those that are not in use: there are no others, which bounds the memory
}

// A piece is a stretch of a layer that is being packed.
type piece struct {
	raw, buffer []byte
	packed      chan []byte
}

// newCutter makes one more piece than there are workers: one is read or written
// while the others are packed.
func newCutter(encoder *zstd.Encoder, workers int) *cutter {
	c := &cutter{encoder: encoder, queue: make(chan *piece, workers+1), spare: make(chan *piece, workers+1)}
	for range workers + 1 {
		c.spare <- &piece{packed: make(chan []byte, 1)}
	}
	return c
}

// piece waits for one that is not in use, with length bytes of raw.
func (c *cutter) piece(ctx context.Context, length int) (*piece, error) {
	select {
	case p := <-c.spare:
		if p.raw == nil {
			p.raw, p.buffer = make([]byte, pieceSize), make([]byte, 0, maxPacked)
		}
		p.raw = p.raw[:length]
		return p, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// cut queues the pieces of the layer. It waits for what it started.
func (c *cutter) cut(ctx context.Context, f io.ReaderAt, l Layer) error {
	var packing errgroup.Group
	defer packing.Wait()
	sum := sha256.New()
	for at := clade.Bytes(0); at < l.Size; at += pieceSize {
		p, err := c.piece(ctx, int(min(pieceSize, l.Size-at)))
		if err != nil {
			return err
		}
		if n, err := f.ReadAt(p.raw, int64(at)); n < len(p.raw) {
			if errors.Is(err, io.EOF) {
				return refusal(clade.Corrupt, "its file has %d bytes, not %d", at+clade.Bytes(n), l.Size)
			}
			return err
		}
		sum.Write(p.raw) // before it is queued: then it is the emitter's
		c.queue <- p     // has room for all there are
		packing.Go(func() error {
			p.buffer = c.encoder.EncodeAll(p.raw, p.buffer[:0])
			p.packed <- p.buffer
			return nil
		})
	}
	if n, _ := f.ReadAt(make([]byte, 1), int64(l.Size)); n > 0 {
		return refusal(clade.Corrupt, "its file has more than %d bytes", l.Size)
	}
	if got := digestOf(sum); got != l.Digest {
		return &clade.Error{Kind: clade.Corrupt, Err: refusal(clade.Corrupt, "its digest is %.19s…, not %.19s…", got, l.Digest),
			Hint: "clade verify --all tells which layers are damaged"}
	}
	return nil
}
