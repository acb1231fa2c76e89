//go:build integration

package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// nameless makes a file as callers do: it has no name until linked gives it one.
func nameless(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(t.TempDir(), os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func linked(t *testing.T, f *os.File) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dst")
	if err := unix.Linkat(unix.AT_FDCWD, ours(f), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExport(t *testing.T) {
	_, head := stack(t)
	for _, format := range []Format{QCOW2, Raw, VMDK} {
		dst := nameless(t)
		var last clade.Event
		if err := Export(t.Context(), head, format, dst, "web 1.vmdk", func(e clade.Event) { last = e }); err != nil {
			t.Errorf("Export as %s: %v", format, err)
			continue
		}
		if !last.End {
			t.Errorf("Export as %s: the last event is %+v", format, last)
		}
		plain := linked(t, dst)
		run(t, "qemu-img", "compare", "-f", "qcow2", "-F", string(format), head, plain)
		back := filepath.Join(t.TempDir(), "back")
		if virtual, err := Import(t.Context(), Source{File: plain, Format: format}, back, nil); err != nil || virtual != 96*clade.MiB {
			t.Errorf("what was exported as %s comes back with %v, %v", format, virtual, err)
		} else {
			same(t, head, QCOW2, back)
		}
		switch format {
		case VMDK:
			b, err := os.ReadFile(plain)
			// VMware takes no stream-optimized disk of an older version.
			if err != nil || binary.LittleEndian.Uint32(b[4:]) != 3 {
				t.Errorf("the VMDK has version %d, want 3", binary.LittleEndian.Uint32(b[4:]))
			}
			if !bytes.Contains(b[:20*512], []byte(`RW 196608 SPARSE "web 1.vmdk"`)) {
				t.Errorf("the VMDK's descriptor is %.600s", b[512:])
			}
		case QCOW2:
			if i, err := qcow2.InspectFile(plain); err != nil || i.ExtendedL2 || i.ClusterBits != 16 || i.Backing != "" {
				t.Errorf("the qcow2 file is %+v, %v; want one as qemu-img makes it", i, err)
			}
		}
		most, err := Measure(t.Context(), head)
		if n, e := Allocated(plain); err != nil || e != nil || n > most+clade.MiB {
			t.Errorf("as %s it takes %v, %v; measured before were %v, %v", format, n, e, most, err)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	_, head := stack(t)
	for _, c := range []struct {
		head   string
		format Format
		kind   clade.Kind
	}{
		{head, VDI, clade.Unsupported},
		{head, "", clade.Unsupported},
		{head + "-", VMDK, clade.NotFound},
	} {
		if err := Export(t.Context(), c.head, c.format, nameless(t), "x", nil); !errors.Is(err, c.kind) {
			t.Errorf("Export(%s, %s) error = %v, want kind %q", c.head, c.format, err, c.kind)
		}
	}
	if _, err := Measure(t.Context(), head+"-"); !errors.Is(err, clade.NotFound) {
		t.Errorf("Measure of nothing: %v", err)
	}
}

func TestExportOnFullDisk(t *testing.T) {
	_, head := stack(t)
	limitFileSize(t, 4<<20)
	for _, format := range []Format{Raw, QCOW2} {
		if err := Export(t.Context(), head, format, nameless(t), "x", nil); !errors.Is(err, clade.NoSpace) {
			t.Errorf("Export as %s: error = %v, want kind NoSpace", format, err)
		}
	}
}
