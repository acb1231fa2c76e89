package image

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestSqueeze(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	want := make([]byte, 3<<20+100)
	for i := range 8192 { // data in two pages, zeroes before, between and after
		want[1<<20+i] = byte(i) | 1
		want[2<<20+4096*3+i] = 7
	}
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := Allocated(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Squeeze(path); err != nil {
		t.Fatal(err)
	}
	after, err := Allocated(path)
	if err != nil || after > 64<<10 || before < 3<<20 {
		t.Errorf("allocated = %v, was %v (%v), want the four pages that hold something", after, before, err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the content has changed (%v)", err)
	}
	if err := Squeeze(path); err != nil {
		t.Error(err)
	}
}
