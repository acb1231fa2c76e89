package image

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pageSize is in what pieces zeroes are looked for.
const pageSize = 4096

// Squeeze gives back the room that pages of zeroes take in a file, whose content
// and length stay what they are. Kind Unsupported where the file system has no holes.
func Squeeze(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	for at := int64(0); at < st.Size(); {
		start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // nothing but a hole follows
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := squeeze(f, start, end); err != nil {
			return err
		}
		at = end
	}
	return f.Sync()
}

// squeeze punches holes into one extent of data.
func squeeze(f *os.File, start, end int64) error {
	buf, zeroes := make([]byte, 1<<20), make([]byte, pageSize)
	hole := int64(-1) // where the zeroes that were seen last begin
	punch := func(to int64) error {
		from := hole
		if hole = -1; from < 0 {
			return nil
		}
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	}
	for at := start; at < end; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if err != nil && err != io.EOF {
			return err
		}
		if n == 0 {
			break
		}
		for page := 0; page < n; page += pageSize {
			piece := buf[page:min(page+pageSize, n)]
			if bytes.Equal(piece, zeroes[:len(piece)]) {
				if hole < 0 {
					hole = at + int64(page)
				}
			} else if err := punch(at + int64(page)); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	return punch(end)
}
