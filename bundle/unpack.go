package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

const (
	block    = 4 << 10  // what file systems allocate
	leastGap = 32 << 10 // so many zeros become a hole; fewer would only scatter the file
	portion  = 1 << 20  // what is unpacked, hashed and written at once
)

// A Budget is how many bytes may still be written. It bounds what a stranger's
// layers take of the disk, where holes take nothing.
type Budget struct{ Left clade.Bytes }

// Unpack makes path, which must not exist, the file of the layer that packed
// holds as a zstd stream. Runs of zeros become holes. The file is the layer: its
// length, digest and header are proven. read is told of each part of it. On any
// error, also when ctx ends, path does not remain.
//
// Kinds: Corrupt (cut off, damaged, another digest, another header), Unsupported
// (a qcow2 file that is not taken from strangers), Exists, NoSpace (also where
// the budget is spent), Denied, Timeout. Errors of packed keep their kind.
func Unpack(ctx context.Context, packed io.Reader, l Layer, path string, b *Budget, read func(int)) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fault(err)
	}
	if err = fill(ctx, f, packed, l, b, read); err == nil {
		err = l.sound(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		if e := os.Remove(path); e != nil {
			err = errors.Join(err, e)
		}
		return fault(err)
	}
	return nil
}

// fill writes the layer's bytes and proves that they are those.
func fill(ctx context.Context, f *os.File, packed io.Reader, l Layer, b *Budget, read func(int)) error {
	decoder, err := zstd.NewReader(packed, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return damaged(err)
	}
	defer decoder.Close()
	sum, buf := sha256.New(), make([]byte, portion)
	for at := int64(0); ; {
		n, err := io.ReadFull(decoder, buf)
		if int64(n) > int64(l.Size)-at {
			return refusal(clade.Corrupt, "it holds more than the %d bytes it should have", l.Size)
		}
		sum.Write(buf[:n])
		if err := b.write(f, buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
		read(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF && at == int64(l.Size):
			return complete(f, l, at, digestOf(sum))
		case err != nil:
			return damaged(err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// complete gives the file its length, with the hole it may end in.
func complete(f *os.File, l Layer, size int64, digest string) error {
	if size != int64(l.Size) {
		return refusal(clade.Corrupt, "it is cut off: it has %d bytes of %d", size, l.Size)
	}
	if digest != l.Digest {
		return refusal(clade.Corrupt, "its digest is %.19s…, not %.19s…", digest, l.Digest)
	}
	return f.Truncate(size)
}

// damaged gives an error of the decoder its kind. One of what it reads from, which
// has a kind, keeps that.
func damaged(err error) error {
	if kind := clade.KindOf(err); kind != clade.Internal {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return refusal(clade.Corrupt, "it is cut off")
	}
	return refusal(clade.Corrupt, "it cannot be unpacked: %w", err)
}

// write writes data at a place, but for the runs of zeros in it.
func (b *Budget) write(f *os.File, data []byte, at int64) error {
	for len(data) > 0 {
		length, gap := run(data)
		if b != nil {
			if b.Left -= clade.Bytes(length); b.Left < 0 {
				return &clade.Error{Kind: clade.NoSpace, Err: syscall.ENOSPC, Hint: "free some space, or import into a home on a larger disk"}
			}
		}
		if _, err := f.WriteAt(data[:length], at); err != nil {
			return err
		}
		data, at = data[length+gap:], at+int64(length+gap)
	}
	return nil
}

var zeros [block]byte

// run returns how much of data there is up to the next gap, and how long that is.
// A gap at the end of data counts whatever its length: the next portion may go on.
func run(data []byte) (length, gap int) {
	for at := 0; at < len(data); {
		piece := data[at:min(at+block, len(data))]
		at += len(piece)
		if bytes.Equal(piece, zeros[:len(piece)]) {
			gap += len(piece)
			continue
		}
		if gap >= leastGap {
			return length, gap
		}
		length, gap = at, 0
	}
	return length, gap
}
