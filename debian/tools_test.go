package debian

import (
	"os"
	"path/filepath"
	"testing"
)

func TestJoin(t *testing.T) {
	got := join([]string{"sudo apt-get install mmdebstrap", "sudo usermod --add-subuids 1-2 ann",
		"sudo apt-get install uidmap", "sudo apt-get install uidmap"})
	want := "sudo apt-get install mmdebstrap uidmap && sudo usermod --add-subuids 1-2 ann"
	if got != want {
		t.Errorf("join = %q, want %q", got, want)
	}
}

func TestHasRange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(file, []byte("anna:100000:65536\nbob:165536:65536\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"anna": true, "bob": true, "ann": false, "": false} {
		if got := hasRange(file, name); got != want {
			t.Errorf("hasRange(%q) = %v, want %v", name, got, want)
		}
	}
	if hasRange(filepath.Join(t.TempDir(), "none"), "anna") {
		t.Error("hasRange of no file = true")
	}
}

func TestScratch(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	first, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(first.dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode = %v, %v, want one that lets others pass", info.Mode(), err)
	}
	second, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.dir); err != nil {
		t.Errorf("a living build's directory was removed: %v", err)
	}
	first.lock.Close() // as when clade is killed
	if err := os.WriteFile(filepath.Join(first.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.dir); !os.IsNotExist(err) {
		t.Errorf("a dead build's directory is still there: %v", err)
	}
	for _, s := range []*scratch{second, third} {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
