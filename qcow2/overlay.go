package qcow2

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// What an Overlay gets that asks for nothing else. On these a Debian guest's first
// boot leaves a quarter less than on QEMU's default of 64 KiB without subclusters.
const (
	DefaultClusterBits = 17
	leastClusterBits   = 14 // what QEMU wants for subclusters; one refcount block then always suffices
)

// An Overlay is what an empty image is to be: how large its disk is and what it
// rests on.
type Overlay struct {
	Virtual       clade.Bytes // the size of the disk: a multiple of 512, at most MaxVirtual
	Backing       string      // the file it rests on, best relative to the overlay's folder; "" for nothing
	BackingFormat string      // "qcow2" or "raw"; needed with Backing
	ClusterBits   int         // 14 to 21; 0 for DefaultClusterBits
	PlainL2       bool        // leave out the subclusters (extended_l2=off)
}

// A Template is an Overlay made ready: its bytes are rendered once and written
// as often as wanted. It is safe for concurrent use.
type Template struct {
	header []byte // at the start of the file
	table  []byte // the refcount table
	block  []byte // the refcount block; the file ends with it
	// The L1 table lies between header and table and is one hole.
	tableAt, blockAt int64
}

// WriteOverlay makes the file path, which must not exist, an empty image as o
// says. To write many alike, Render once and Write often; see Template.Write.
func WriteOverlay(path string, o Overlay) error {
	t, err := o.Render()
	if err != nil {
		return err
	}
	return t.Write(path)
}

// Render checks o and makes its bytes. Its errors are of kind Invalid.
func (o Overlay) Render() (*Template, error) {
	if o.ClusterBits == 0 {
		o.ClusterBits = DefaultClusterBits
	}
	if err := o.check(); err != nil {
		return nil, &clade.Error{Op: "write", On: "overlay", Kind: clade.Invalid, Err: err}
	}
	cluster := int64(1) << o.ClusterBits
	entries := l1Entries(o.Virtual, uint32(o.ClusterBits), !o.PlainL2)
	tables := (entries*entrySize + cluster - 1) / cluster
	t := &Template{tableAt: (1 + tables) * cluster, blockAt: (2 + tables) * cluster}
	t.header = o.header(entries, t.tableAt)
	t.table = binary.BigEndian.AppendUint64(nil, uint64(t.blockAt))
	for range 3 + tables { // header, L1, refcount table and block: used once each
		t.block = binary.BigEndian.AppendUint16(t.block, 1)
	}
	// A file of whole pages spares QEMU the unaligned end under O_DIRECT.
	const page = 4096
	t.block = append(t.block, make([]byte, (page-len(t.block)%page)%page)...)
	return t, nil
}

func (o Overlay) check() error {
	switch {
	case o.Virtual <= 0 || o.Virtual%512 != 0:
		return fmt.Errorf("a disk of %d bytes is not a positive multiple of 512", o.Virtual)
	case o.Virtual > MaxVirtual:
		return fmt.Errorf("a disk of %v is larger than %v", o.Virtual, MaxVirtual)
	case o.ClusterBits < leastClusterBits || o.ClusterBits > maxClusterBits:
		return fmt.Errorf("cluster bits %d are not within %d and %d", o.ClusterBits, leastClusterBits, maxClusterBits)
	case o.Backing == "" && o.BackingFormat != "":
		return fmt.Errorf("a backing format %q without a backing file", o.BackingFormat)
	case o.Backing == "":
		return nil
	case o.BackingFormat != "qcow2" && o.BackingFormat != "raw":
		return fmt.Errorf("backing format %q is neither qcow2 nor raw", o.BackingFormat)
	case len(o.Backing) > MaxName:
		return fmt.Errorf("the backing file's name has %d bytes, more than %d", len(o.Backing), MaxName)
	case strings.ContainsRune(o.Backing, 0):
		return fmt.Errorf("the backing file's name %q contains a zero byte", o.Backing)
	}
	// QEMU reads "nbd:..." and "json:..." as more than the name of a file.
	if scheme, _, found := strings.Cut(o.Backing, ":"); found && !strings.Contains(scheme, "/") {
		return fmt.Errorf("backing file %q would be read as a protocol: put ./ before it", o.Backing)
	}
	return nil
}

// header renders header, extensions and the backing file's name.
func (o Overlay) header(entries, tableAt int64) []byte {
	be := binary.BigEndian
	b := make([]byte, headerSize, headerSize+64+len(o.Backing))
	be.PutUint32(b[0:], magic)
	be.PutUint32(b[4:], version)
	be.PutUint32(b[20:], uint32(o.ClusterBits))
	be.PutUint64(b[24:], uint64(o.Virtual))
	be.PutUint32(b[36:], uint32(entries))
	be.PutUint64(b[40:], uint64(1)<<o.ClusterBits)
	be.PutUint64(b[48:], uint64(tableAt))
	be.PutUint32(b[56:], 1)
	if !o.PlainL2 {
		be.PutUint64(b[72:], incompatExtended)
	}
	be.PutUint32(b[96:], refcountOrder)
	be.PutUint32(b[100:], headerSize)
	if o.Backing != "" {
		b = be.AppendUint32(b, extBackingFormat)
		b = be.AppendUint32(b, uint32(len(o.BackingFormat)))
		b = append(b, o.BackingFormat...)
		b = append(b, make([]byte, (8-len(b)%8)%8)...)
	}
	b = be.AppendUint64(b, extEnd)
	if o.Backing != "" {
		be.PutUint64(b[8:], uint64(len(b)))
		be.PutUint32(b[16:], uint32(len(o.Backing)))
		b = append(b, o.Backing...)
	}
	return b
}

// Write makes the file path, with mode 0600, an empty image: five system calls
// and three blocks of the file system, the rest is holes. The bytes are not
// synced: a caller who needs that calls fsync or, after many, syncfs.
//
// Kinds: Exists, NotFound (no such folder), NoSpace, Denied. On an error no
// file remains, other than one that was there before.
func (t *Template) Write(path string) error {
	fail := func(err error) error {
		return &clade.Error{Op: "write", On: "overlay " + path, Kind: clade.KindOf(err), Err: err}
	}
	fd, err := create(path)
	if err != nil {
		return fail(err)
	}
	err = t.fill(fd)
	if e := unix.Close(fd); err == nil && e != unix.EINTR {
		err = e
	}
	if err != nil {
		if e := unix.Unlink(path); e != nil {
			err = fmt.Errorf("%w (and it could not be removed again: %w)", err, e)
		}
		return fail(err)
	}
	return nil
}

// create opens without package os, which would ask for the file's type each time.
func create(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

func (t *Template) fill(fd int) error {
	for _, piece := range []struct {
		bytes []byte
		at    int64
	}{{t.header, 0}, {t.table, t.tableAt}, {t.block, t.blockAt}} {
		for len(piece.bytes) > 0 {
			n, err := unix.Pwrite(fd, piece.bytes, piece.at)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return err
			}
			piece.bytes, piece.at = piece.bytes[n:], piece.at+int64(n)
		}
	}
	return nil
}
