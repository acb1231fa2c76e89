package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
)

// Where a file system has no files without a name, a hidden one is renamed, and
// never over another.
func TestHiddenFilesGetTheirName(t *testing.T) {
	dir := t.TempDir()
	hide := func() *os.File {
		f, err := os.CreateTemp(dir, ".x.*.part")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.WriteString("whole"); err != nil {
			t.Fatal(err)
		}
		return f
	}
	path := filepath.Join(dir, "x")
	f := hide()
	if err := giveName(f, f.Name(), path); err != nil {
		t.Fatal(err)
	}
	f = hide()
	if err := giveName(f, f.Name(), path); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "whole" || err != nil {
		t.Errorf("it reads %q, %v", b, err)
	}
}

func TestNewFilesAreWholeOrNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	bad := errors.New("bad")
	if _, err := writeNew(path, func(f *os.File) error {
		_, _ = f.WriteString("half")
		return bad
	}); !errors.Is(err, bad) {
		t.Errorf("writeNew = %v, want the error of fill", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	fill := func(f *os.File) error {
		if _, err := os.Lstat(path); err == nil {
			t.Error("it has its name before it is whole")
		}
		_, err := f.WriteString("whole")
		return err
	}
	if n, err := writeNew(path, fill); n != 5 || err != nil {
		t.Errorf("writeNew = %v, %v", n, err)
	}
	if _, err := writeNew(path, fill); !errors.Is(err, clade.Exists) {
		t.Errorf("over a file: %v", err)
	}
}
