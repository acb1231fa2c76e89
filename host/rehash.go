package host

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"golang.org/x/sys/unix"
)

const (
	portion   = 4 << 20         // what is read and hashed at once
	noteEvery = 2 * time.Second // how often it is noted how far a hash is
	idleFrom  = 64 << 20        // layers from this size are read at idle priority
)

// digest reads a layer whole, or on from where a verification was interrupted.
// Large ones are read by a thread that has the processor and the disk only where
// nobody else wants them.
func (v *verification) digest(ctx context.Context, l *clade.Layer) (sum string, err error) {
	if l.Size < idleFrom {
		return v.rehash(ctx, l)
	}
	image.Idly(func() { sum, err = v.rehash(ctx, l) })
	return sum, err
}

func (v *verification) rehash(ctx context.Context, l *clade.Layer) (string, error) {
	f, err := openUncached(v.h.layerPath(l.ID))
	if err != nil {
		return "", err
	}
	defer f.Close()
	now := clade.Layer{ID: l.ID}
	if err := facts(v.h.layerPath(l.ID), &now); err != nil {
		return "", err
	}
	buf, err := unix.Mmap(-1, 0, portion, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned, for O_DIRECT
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Munmap(buf) }()
	sum, at := sha256.New(), int64(0)
	if n := v.notes; n.resumed && n.Layer == l.ID && n.Facts == factsOf(&now) && restoreHash(sum, n.Hash) {
		at = n.Offset
	}
	before, noted := v.event.Done, time.Now()
	for {
		n, err := f.read(buf, at)
		sum.Write(buf[:n])
		at += int64(n)
		v.event.Done = before + at
		v.progress.Tell(v.event)
		if err == nil && n > 0 && (ctx.Err() != nil || time.Since(noted) > noteEvery) && at%portion == 0 {
			if state, failed := sum.(encoding.BinaryMarshaler).MarshalBinary(); failed == nil {
				v.notes.in(&now, at, state)
			}
			noted = time.Now()
		}
		if err == io.EOF {
			return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return "", err
		}
	}
}

func restoreHash(h hash.Hash, state []byte) bool {
	return h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state) == nil
}

// An uncached file is read from the disk and not from memory, which may still have
// what the disk has lost; and it leaves in memory what running machines have there.
type uncached struct {
	*os.File
	direct bool
}

func openUncached(path string) (*uncached, error) {
	const how = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := unix.Open(path, how|unix.O_DIRECT, 0)
	verity, _ := image.Verity(path)
	if err == nil && verity != "" { // read through memory all the same, without a word
		err = errors.Join(syscall.EINVAL, unix.Close(fd))
	}
	if errors.Is(err, syscall.EINVAL) { // the file system has no such reading
		fd, err = unix.Open(path, how, 0)
		if err == nil {
			_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
			return &uncached{os.NewFile(uintptr(fd), path), false}, nil
		}
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &uncached{os.NewFile(uintptr(fd), path), true}, nil
}

// read fills buf from a place in the file, both multiples of what file systems
// want for direct reading. At the end of the file it returns io.EOF with what there is.
func (f *uncached) read(buf []byte, at int64) (got int, err error) {
	const block = 4 << 10
	for got < len(buf) && got%block == 0 {
		n, err := unix.Pread(int(f.Fd()), buf[got:], at+int64(got))
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if f.direct && errors.Is(err, syscall.EINVAL) {
			f.direct = false
			if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, 0); err != nil {
				return got, err
			}
			continue
		}
		if err != nil {
			return got, &os.PathError{Op: "read", Path: f.Name(), Err: err}
		}
		if n == 0 {
			break
		}
		got += n
	}
	if !f.direct {
		_ = unix.Fadvise(int(f.Fd()), at, int64(got), unix.FADV_DONTNEED)
	}
	if got < len(buf) {
		return got, io.EOF
	}
	return got, nil
}
