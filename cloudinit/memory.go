package cloudinit

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/diskfs/go-diskfs/backend"
)

// A memory is a disk in memory for go-diskfs.
type memory struct {
	data []byte
	at   int64
}

var (
	_       backend.Storage = (*memory)(nil)
	errFull                 = errors.New("the volume is full")
)

func (m *memory) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(b, m.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > int64(len(m.data)) {
		return 0, errFull
	}
	return copy(m.data[off:], b), nil
}

func (m *memory) Read(b []byte) (int, error) {
	n, err := m.ReadAt(b, m.at)
	m.at += int64(n)
	return n, err
}

func (m *memory) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += m.at
	case io.SeekEnd:
		off += int64(len(m.data))
	}
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	m.at = off
	return off, nil
}

func (m *memory) Close() error                            { return nil }
func (m *memory) Path() string                            { return "" }
func (m *memory) Sys() (*os.File, error)                  { return nil, backend.ErrNotSuitable }
func (m *memory) Writable() (backend.WritableFile, error) { return m, nil }
func (m *memory) Stat() (fs.FileInfo, error)              { return nil, fs.ErrInvalid }
