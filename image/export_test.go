//go:build integration

package image

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
)

func TestExport(t *testing.T) {
	_, head := stack(t)
	for _, format := range []Format{QCOW2, Raw, VMDK} {
		// A name that QEMU would take for options or a protocol.
		dst := filepath.Join(t.TempDir(), "nbd:dst,x=y")
		var last clade.Event
		if err := Export(t.Context(), head, format, dst, func(e clade.Event) { last = e }); err != nil {
			t.Errorf("Export as %s: %v", format, err)
			continue
		}
		if !last.End {
			t.Errorf("Export as %s: the last event is %+v", format, last)
		}
		plain := filepath.Join(t.TempDir(), "dst")
		if err := os.Rename(dst, plain); err != nil {
			t.Fatal(err)
		}
		run(t, "qemu-img", "compare", "-f", "qcow2", "-F", string(format), head, plain)
		if st, err := os.Stat(plain); err != nil || st.Mode() != 0o600 {
			t.Errorf("as %s it has mode %v, %v, want 0600", format, st.Mode(), err)
		}
		back := filepath.Join(t.TempDir(), "back")
		if virtual, err := Import(t.Context(), Source{File: plain, Format: format}, back, nil); err != nil || virtual != 96*clade.MiB {
			t.Errorf("what was exported as %s comes back with %v, %v", format, virtual, err)
		} else {
			same(t, head, QCOW2, back)
		}
		if format == VMDK {
			b, err := os.ReadFile(plain)
			// VMware takes no stream-optimized disk of an older version.
			if err != nil || binary.LittleEndian.Uint32(b[4:]) != 3 {
				t.Errorf("the VMDK has version %d, want 3", binary.LittleEndian.Uint32(b[4:]))
			}
		}
	}
}

func TestExportRefuses(t *testing.T) {
	dir, head := stack(t)
	taken := place(t, []byte("mine"))
	for _, c := range []struct {
		head   string
		format Format
		dst    string
		kind   clade.Kind
	}{
		{head, VDI, filepath.Join(dir, "x"), clade.Unsupported},
		{head, "", filepath.Join(dir, "x"), clade.Unsupported},
		{head + "-", VMDK, filepath.Join(dir, "x"), clade.NotFound},
		{head, VMDK, taken, clade.Exists},
		{head, Raw, taken, clade.Exists},
		{head, QCOW2, taken, clade.Exists},
		{head, Raw, filepath.Join(dir, "no", "such"), clade.NotFound},
	} {
		if err := Export(t.Context(), c.head, c.format, c.dst, nil); !errors.Is(err, c.kind) {
			t.Errorf("Export(%s, %s, %s) error = %v, want kind %q", c.head, c.format, c.dst, err, c.kind)
		}
		if c.dst != taken {
			mustBeAbsent(t, c.dst)
		}
	}
	if b, err := os.ReadFile(taken); string(b) != "mine" {
		t.Errorf("the file that was there reads %q, %v", b, err)
	}
}

func TestExportOnFullDisk(t *testing.T) {
	_, head := stack(t)
	limitFileSize(t, 4<<20)
	for _, format := range []Format{Raw, QCOW2} {
		dst := filepath.Join(t.TempDir(), "dst")
		if err := Export(t.Context(), head, format, dst, nil); !errors.Is(err, clade.NoSpace) {
			t.Errorf("Export as %s: error = %v, want kind NoSpace", format, err)
		}
		mustBeAbsent(t, dst)
	}
}
