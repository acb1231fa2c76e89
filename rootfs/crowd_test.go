package rootfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"
	"time"

	"github.com/clade-vm/clade/rootfs"
)

// A crowd is a file system whose every directory has ten million entries, and
// every one of them is a directory. It counts those it hands out.
type crowd struct{ told int }

const crowded = 10_000_000

func (c *crowd) Open(name string) (fs.File, error) { return &crowdDir{crowd: c, name: name}, nil }

// Lstat is fs.ReadLinkFS's, as ReadLink.
func (c *crowd) Lstat(name string) (fs.FileInfo, error) { return member(name), nil }
func (c *crowd) ReadLink(string) (string, error)        { return "", fs.ErrInvalid }

type crowdDir struct {
	crowd *crowd
	name  string
	next  int
}

func (d *crowdDir) Stat() (fs.FileInfo, error) { return member(d.name), nil }
func (d *crowdDir) Read([]byte) (int, error)   { return 0, fs.ErrInvalid }
func (d *crowdDir) Close() error               { return nil }

func (d *crowdDir) ReadDir(n int) (entries []fs.DirEntry, err error) {
	if n <= 0 {
		panic("all of a directory is asked for at once")
	}
	for ; n > 0 && d.next < crowded; n-- {
		entries = append(entries, fs.FileInfoToDirEntry(member(fmt.Sprintf("n%07d", d.next))))
		d.next++
		d.crowd.told++
	}
	if entries == nil {
		err = io.EOF
	}
	return entries, err
}

// A member is a directory of the crowd, by its name.
type member string

func (m member) Name() string       { return string(m) }
func (m member) Size() int64        { return 0 }
func (m member) Mode() fs.FileMode  { return fs.ModeDir | 0o755 }
func (m member) ModTime() time.Time { return time.Time{} }
func (m member) IsDir() bool        { return true }
func (m member) Sys() any           { return nil }

// TestCrowd reads directories of ten million entries: how much is read is bounded
// by the limits and not by the guest.
func TestCrowd(t *testing.T) {
	for _, c := range []struct {
		name  string
		read  func(fs.FS) error
		limit int // entries
	}{
		{"ReadDir", func(f fs.FS) error { _, err := rootfs.ReadDir(f, "etc", 1000); return err }, 3000},
		{"Glob, all match", func(f fs.FS) error { _, err := rootfs.Glob(f, "etc/*", 1000); return err }, 3000},
		{"Glob, none match", func(f fs.FS) error { _, err := rootfs.Glob(f, "etc/*.key", 1000); return err }, 1 << 21},
		{"Glob over many directories", func(f fs.FS) error { _, err := rootfs.Glob(f, "*/*/*/*.key", 1000); return err }, 1 << 21},
		{"Walk", func(f fs.FS) error {
			return rootfs.Walk(f, "etc", 100_000, func(string, fs.DirEntry) error { return nil })
		}, 300_000},
	} {
		f := &crowd{}
		if err := c.read(f); !errors.Is(err, rootfs.ErrLimit) {
			t.Errorf("%s: %v, want the limit", c.name, err)
		}
		if f.told > c.limit {
			t.Errorf("%s read %d entries, want at most %d", c.name, f.told, c.limit)
		}
	}
}
