package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"

	"github.com/clade-vm/clade"
)

// headBytes bounds what Inspect reads of a file. QEMU's own headers, all
// extensions included, have less than 2 KiB.
const headBytes = 64 << 10

// An Info is what the header of a qcow2 image says of it. Nothing in it is to be
// trusted, and no file it names is to be opened, before Safe has returned nil.
type Info struct {
	Version       int
	Virtual       clade.Bytes // what the guest sees as the size of its disk
	ClusterBits   int
	ExtendedL2    bool
	Backing       string // the file it rests on; "" for none
	BackingFormat string // as recorded; "" where QEMU would have to guess
	External      bool   // the guest's data lies in another file
	DataFile      string // that file's name, where the header has one
	Encrypted     bool
	Snapshots     int    // internal ones
	Dirty         bool   // reference counts may be too high: it was not closed
	Corrupt       bool   // QEMU found it damaged and marked it so
	Unknown       uint64 // incompatible feature bits that nobody has defined yet
}

// Inspect reads the header of a qcow2 image of size bytes. It reads at most the
// first 64 KiB and allocates no more than that, whatever the header says.
//
// Kinds: Invalid where it is no qcow2 image, Unsupported for another version of
// the format, Corrupt where the header contradicts itself or the file's size.
func Inspect(r io.ReaderAt, size int64) (*Info, error) {
	head := make([]byte, min(max(size, 0), headBytes))
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fault(clade.KindOf(err), err)
	}
	head = head[:n]
	be := binary.BigEndian
	if len(head) < 8 || be.Uint32(head) != magic {
		return nil, fault(clade.Invalid, errors.New("not a qcow2 image"))
	}
	v := be.Uint32(head[4:])
	if v != 2 && v != 3 {
		return nil, fault(clade.Unsupported, fmt.Errorf("version %d of the qcow format", v))
	}
	length := uint32(header2Size)
	if v == 3 && len(head) >= header3Size {
		length = be.Uint32(head[100:])
		if length < header3Size || length%8 != 0 {
			return nil, fault(clade.Corrupt, fmt.Errorf("a header of %d bytes", length))
		}
	}
	if len(head) < header2Size || v == 3 && len(head) < header3Size || int64(length) > int64(len(head)) {
		return nil, fault(clade.Corrupt, fmt.Errorf("the file ends within its header, after %d bytes", len(head)))
	}
	i, err := fields(head, v)
	if err == nil {
		err = i.tables(head, size)
	}
	if err == nil {
		err = i.names(head, int(length))
	}
	if err != nil {
		return nil, fault(clade.Corrupt, err)
	}
	return i, nil
}

// InspectFile inspects the file path, which must be a regular one. It may be
// one that a machine uses. Its kinds are those of Inspect and of opening a file.
func InspectFile(path string) (*Info, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe must not hold us up
	if err != nil {
		return nil, fault(clade.KindOf(err), err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fault(clade.KindOf(err), err)
	}
	if !st.Mode().IsRegular() {
		return nil, fault(clade.Invalid, fmt.Errorf("%s is not a regular file", path))
	}
	i, err := Inspect(f, st.Size())
	if e, ok := errors.AsType[*clade.Error](err); ok {
		e.On = path
	}
	return i, err
}

// Backing returns the file that the image path rests on and its format, as its
// header has them; both are empty for an image that rests on nothing.
func Backing(path string) (name, format string, err error) {
	i, err := InspectFile(path)
	if err != nil {
		return "", "", err
	}
	return i.Backing, i.BackingFormat, nil
}

func fault(kind clade.Kind, err error) error {
	return &clade.Error{Op: "inspect", On: "qcow2 image", Kind: kind, Err: err}
}

// fields reads the fixed part of a header that is there as a whole.
func fields(head []byte, v uint32) (*Info, error) {
	be := binary.BigEndian
	i := &Info{Version: int(v), ClusterBits: int(be.Uint32(head[20:]) & 0xff)}
	if bits := be.Uint32(head[20:]); bits < minClusterBits || bits > maxClusterBits {
		return nil, fmt.Errorf("%d cluster bits", bits)
	}
	virtual := be.Uint64(head[24:])
	if virtual > math.MaxInt64 {
		return nil, fmt.Errorf("a disk of %d bytes", virtual)
	}
	i.Virtual = clade.Bytes(virtual)
	i.Encrypted = be.Uint32(head[32:]) != 0
	i.Snapshots = int(be.Uint32(head[60:]))
	if v == 3 {
		features := be.Uint64(head[72:])
		i.Dirty = features&incompatDirty != 0
		i.Corrupt = features&incompatCorrupt != 0
		i.External = features&incompatDataFile != 0
		i.ExtendedL2 = features&incompatExtended != 0
		i.Unknown = features &^ incompatKnown
		if order := be.Uint32(head[96:]); order > 6 {
			return nil, fmt.Errorf("a refcount order of %d", order)
		}
	}
	if i.ExtendedL2 && i.ClusterBits < leastClusterBits {
		return nil, fmt.Errorf("subclusters with %d cluster bits", i.ClusterBits)
	}
	return i, nil
}

// tables compares where the tables are said to lie with the size of the file.
func (i *Info) tables(head []byte, size int64) error {
	be := binary.BigEndian
	cluster := uint64(1) << i.ClusterBits
	end := (uint64(size) + cluster - 1) &^ (cluster - 1) // QEMU may leave the last cluster short
	within := func(at, length uint64) bool {
		return at%cluster == 0 && at < end && length <= end-at
	}
	entries := uint64(be.Uint32(head[36:]))
	if entries > maxL1Entries || entries < uint64(l1Entries(min(i.Virtual, MaxVirtual), uint32(i.ClusterBits), i.ExtendedL2)) {
		return fmt.Errorf("an L1 table of %d entries for a disk of %d bytes", entries, i.Virtual)
	}
	if at := be.Uint64(head[40:]); entries > 0 && !within(at, entries*entrySize) {
		return fmt.Errorf("an L1 table at byte %d of a file of %d: the file may be cut short", at, size)
	}
	at, clusters := be.Uint64(head[48:]), uint64(be.Uint32(head[56:]))
	if at == 0 || !within(at, clusters*cluster) {
		return fmt.Errorf("a refcount table at byte %d of a file of %d: the file may be cut short", at, size)
	}
	return nil
}

// names reads the header extensions, which follow length bytes of header, and
// the name of the backing file. All must lie in the first cluster.
func (i *Info) names(head []byte, length int) error {
	head = head[:min(len(head), 1<<i.ClusterBits)]
	be := binary.BigEndian
	end := len(head)
	if at := be.Uint64(head[8:]); at != 0 {
		size := be.Uint32(head[16:])
		if size > MaxName || at < uint64(length) || at > uint64(len(head)) || uint64(size) > uint64(len(head))-at {
			return fmt.Errorf("a backing file's name of %d bytes at byte %d", size, at)
		}
		end = int(at)
		i.Backing = string(head[at : at+uint64(size)])
		if bytes.IndexByte(head[at:at+uint64(size)], 0) >= 0 {
			return fmt.Errorf("a zero byte in the backing file's name %q", i.Backing)
		}
	}
	for at := length; at+8 <= end; {
		kind, size := be.Uint32(head[at:]), be.Uint32(head[at+4:])
		at += 8
		if kind == extEnd {
			return nil
		}
		if uint64(size) > uint64(end-at) {
			return fmt.Errorf("a header extension of %d bytes at byte %d", size, at-8)
		}
		text := string(head[at : at+int(size)])
		switch {
		case kind != extBackingFormat && kind != extDataFile:
		case size > MaxName:
			return fmt.Errorf("a name of %d bytes in a header extension", size)
		case kind == extBackingFormat:
			i.BackingFormat = text
		case kind == extDataFile:
			i.DataFile = text
		}
		at += (int(size) + 7) &^ 7
	}
	return nil
}
