package qcow2_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

func TestEmptyIsToldFromWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "o.qcow2")
	if err := qcow2.WriteOverlay(path, qcow2.Overlay{Virtual: 10 * clade.GiB}); err != nil {
		t.Fatal(err)
	}
	if empty, err := qcow2.Empty(path); err != nil || !empty {
		t.Errorf("Empty(new overlay) = %v, %v; want true", empty, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0x80}, 1<<17); err != nil { // the first entry of the L1 table
		t.Fatal(err)
	}
	if empty, err := qcow2.Empty(path); err != nil || empty {
		t.Errorf("Empty(overlay with an L2 table) = %v, %v; want false", empty, err)
	}
}

func TestEmptyRefusesWhatIsNoImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "o")
	if err := os.WriteFile(path, []byte("no image at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := qcow2.Empty(path); err == nil {
		t.Error("Empty of a text file gave no error")
	}
}
