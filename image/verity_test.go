package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// TestSeal: a sealed file is 0444, may be sealed again, and holds what it held; what
// was measured of it is what Verities promises.
func TestSeal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "layer")
	if err := os.WriteFile(path, []byte("the layer"), 0o600); err != nil {
		t.Fatal(err)
	}
	var measured [2]string
	for i := range measured {
		if err := Seal(path); err != nil {
			t.Fatal(err)
		}
		var err error
		if measured[i], err = Verity(path); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode() != 0o444 {
			t.Errorf("its mode is %v, %v, want 0444", st.Mode(), err)
		}
	}
	if can := Verities(dir); measured[0] != measured[1] || can != strings.HasPrefix(measured[0], "sha256:") || !can && measured[0] != "" {
		t.Errorf("measured %q, then %q; Verities = %v", measured[0], measured[1], can)
	}
	if text, err := os.ReadFile(path); string(text) != "the layer" {
		t.Errorf("it holds %q, %v", text, err)
	}
	if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
		t.Errorf("Verities leaves %v, %v", left, err)
	}
	if err := os.Symlink(path, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := Seal(filepath.Join(dir, "link")); err == nil {
		t.Error("a link is sealed")
	}
	if err := Seal(filepath.Join(dir, "none")); !errors.Is(err, clade.NotFound) {
		t.Errorf("Seal of nothing = %v, want %v", err, clade.NotFound)
	}
}
