package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
)

// image returns the bytes of an overlay that o describes, changed by edit.
func image(t testing.TB, o Overlay, edit func(b []byte)) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := WriteOverlay(path, o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(b)
	}
	return b
}

// put returns an edit that writes v at the given offset of a header.
func put[T uint32 | uint64](at int, v T) func([]byte) {
	return func(b []byte) {
		if w, ok := any(v).(uint64); ok {
			binary.BigEndian.PutUint64(b[at:], w)
		} else {
			binary.BigEndian.PutUint32(b[at:], uint32(v))
		}
	}
}

func TestInspectRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func([]byte)
		kind clade.Kind
	}{
		{"other magic", put(0, uint32(0x4b444d56)), clade.Invalid},
		{"version 1", put(4, uint32(1)), clade.Unsupported},
		{"version 4", put(4, uint32(4)), clade.Unsupported},
		{"8 cluster bits", put(20, uint32(8)), clade.Corrupt},
		{"22 cluster bits", put(20, uint32(22)), clade.Corrupt},
		{"subclusters in small clusters", put(20, uint32(13)), clade.Corrupt},
		{"2^63 bytes", put(24, uint64(1)<<63), clade.Corrupt},
		{"more disk than L1 entries", put(24, uint64(2)<<40), clade.Corrupt},
		{"huge L1 table", put(36, uint32(1<<31)), clade.Corrupt},
		{"L1 past the end", put(40, uint64(1)<<40), clade.Corrupt},
		{"L1 wraps around", put(40, ^uint64(1<<17-1)), clade.Corrupt},
		{"L1 not aligned", put(40, uint64(512)), clade.Corrupt},
		{"no refcount table", put(48, uint64(0)), clade.Corrupt},
		{"refcount table past the end", put(56, uint32(1<<31)), clade.Corrupt},
		{"refcount order", put(96, uint32(7)), clade.Corrupt},
		{"short header", put(100, uint32(72)), clade.Corrupt},
		{"endless header", put(100, uint32(0xfffffff8)), clade.Corrupt},
		{"odd header", put(100, uint32(109)), clade.Corrupt},
		{"name past the cluster", put(8, uint64(1)<<17), clade.Corrupt},
		{"name wraps around", put(8, ^uint64(0)-4), clade.Corrupt},
		{"name within the header", put(8, uint64(8)), clade.Corrupt},
		{"long name", put(16, uint32(MaxName+1)), clade.Corrupt},
		{"name with a zero byte", put(16, uint32(100)), clade.Corrupt},
		{"long extension", put(headerSize+4, uint32(0xffffffff)), clade.Corrupt},
	} {
		b := image(t, Overlay{Virtual: clade.GiB, Backing: "base", BackingFormat: "qcow2"}, c.edit)
		if i, err := Inspect(bytes.NewReader(b), int64(len(b))); !errors.Is(err, c.kind) {
			t.Errorf("%s: Inspect = %+v, %v, want kind %v", c.name, i, err, c.kind)
		}
	}
}

func TestInspectRefusesEveryCut(t *testing.T) {
	b := image(t, Overlay{Virtual: clade.GiB}, nil)
	for _, n := range []int{0, 3, 4, 8, 71, 72, 103, 104, 111, 112, 4096, 128 << 10, 256 << 10} {
		if i, err := Inspect(bytes.NewReader(b[:n]), int64(n)); err == nil {
			t.Errorf("Inspect of the first %d bytes = %+v, want an error", n, i)
		}
	}
}

func TestInspectReadsVersion2(t *testing.T) {
	b := image(t, Overlay{Virtual: clade.GiB, PlainL2: true}, func(b []byte) {
		put(4, uint32(2))(b)
		clear(b[72:112]) // no such fields: the end of the extensions
	})
	i, err := Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil || i.Version != 2 || i.Virtual != clade.GiB || i.Safe() != nil {
		t.Errorf("Inspect = %+v, %v, want a safe version 2 image", i, err)
	}
}

func TestSafe(t *testing.T) {
	dataFile := func(b []byte) {
		put(72, uint64(incompatDataFile|incompatExtended))(b)
		put(headerSize, uint32(extDataFile))(b)
		put(headerSize+4, uint32(len("/etc/shadow")))(b)
		copy(b[headerSize+8:], "/etc/shadow")
	}
	for _, c := range []struct {
		name string
		edit func([]byte)
		kind clade.Kind
		says string
	}{
		{"plain", func([]byte) {}, "", ""},
		{"dirty", put(72, uint64(incompatDirty|incompatExtended)), "", ""},
		{"data file", dataFile, clade.Unsupported, `"/etc/shadow"`},
		{"unnamed data file", put(72, uint64(incompatDataFile|incompatExtended)), clade.Unsupported, "another file"},
		{"encrypted", put(32, uint32(2)), clade.Unsupported, "encrypted"},
		{"snapshots", put(60, uint32(3)), clade.Unsupported, "3 internal snapshots"},
		{"corrupt", put(72, uint64(incompatCorrupt|incompatExtended)), clade.Corrupt, "corrupt"},
		{"unknown", put(72, uint64(1<<40|incompatExtended)), clade.Unsupported, "unknown"},
		{"empty disk", put(24, uint64(0)), clade.Corrupt, "0 bytes"},
		{"odd disk", put(24, uint64(1000)), clade.Corrupt, "1000 bytes"},
		{"huge disk", func(b []byte) {
			put(20, uint32(21))(b) // so large are the clusters that one L1 entry holds 256 GiB
			put(24, uint64(65)<<40)(b)
			put(36, uint32(260))(b)
			put(40, uint64(0))(b)
			put(48, uint64(1)<<21)(b)
		}, clade.Corrupt, "disk"},
	} {
		b := image(t, Overlay{Virtual: clade.GiB}, c.edit)
		b = append(b, make([]byte, 5<<20)...)
		i, err := Inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: Inspect error = %v", c.name, err)
			continue
		}
		err = i.Safe()
		if clade.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Safe() = %v, want kind %q and %q", c.name, err, c.kind, c.says)
		}
	}
	b := image(t, Overlay{Virtual: clade.GiB, Backing: "/etc/passwd", BackingFormat: "raw"}, nil)
	i, err := Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Safe(); !errors.Is(err, clade.Unsupported) || !strings.Contains(err.Error(), `"/etc/passwd"`) {
		t.Errorf("Safe() with a backing file = %v, want Unsupported and its name", err)
	}
}

func TestInspectFileWaitsForNobody(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]clade.Kind{
		pipe: clade.Invalid, t.TempDir(): clade.Invalid, pipe + "-": clade.NotFound, "/dev/zero": clade.Invalid,
	} {
		if i, err := InspectFile(path); !errors.Is(err, kind) {
			t.Errorf("InspectFile(%s) = %+v, %v, want kind %v", path, i, err, kind)
		}
	}
}

// FuzzInspect holds Inspect to its bounds: whatever a header says, what comes out
// lies within the limits of the format, and what is safe names no other file.
func FuzzInspect(f *testing.F) {
	f.Add(image(f, Overlay{Virtual: clade.GiB}, nil)[:8<<10], int64(400<<10))
	f.Add(image(f, Overlay{Virtual: 8 * clade.TiB, Backing: "b", BackingFormat: "raw"}, nil)[:1<<10], int64(1<<20))
	f.Add(image(f, Overlay{Virtual: clade.GiB, PlainL2: true}, put(4, uint32(2)))[:200], int64(1<<40))
	f.Add([]byte("QFI\xfb"), int64(-1))
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		i, err := Inspect(bytes.NewReader(head), size)
		if err != nil {
			if k := clade.KindOf(err); k != clade.Invalid && k != clade.Unsupported && k != clade.Corrupt {
				t.Errorf("Inspect error = %v of kind %q", err, k)
			}
			return
		}
		if i.Virtual < 0 || len(i.Backing) > MaxName || len(i.BackingFormat) > MaxName || len(i.DataFile) > MaxName ||
			i.ClusterBits < minClusterBits || i.ClusterBits > maxClusterBits {
			t.Errorf("Inspect = %+v, beyond the format's limits", i)
		}
		if i.Safe() == nil && (i.Backing != "" || i.DataFile != "" || i.External || i.Encrypted || i.Virtual > MaxVirtual) {
			t.Errorf("Safe() = nil for %+v", i)
		}
	})
}
