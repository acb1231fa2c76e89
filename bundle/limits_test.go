package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
)

func TestFreeSpaceBoundsWhatIsWritten(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	for free, want := range map[clade.Bytes]clade.Kind{5 * clade.MiB: clade.NoSpace, 6 * clade.MiB: ""} {
		to := newHome(t)
		target := to.target()
		target.Free = free // the base has 5 MiB of data in a file of 7 MiB
		_, err := unpack(t, file, target)
		if clade.KindOf(err) != want {
			t.Errorf("with %v free: error = %v, want kind %q", free, err, want)
		}
		if n := len(to.files()); n != len(to.records) {
			t.Errorf("with %v free: %d files remain, %d arrived", free, n, len(to.records))
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	ctx, cancel := context.WithCancel(t.Context())
	stop := func(e clade.Event) {
		if e.Done >= int64(clade.MiB) {
			cancel()
		}
	}
	to := newHome(t)
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Unpack(ctx, to.target(), stop); !errors.Is(err, context.Canceled) || !errors.Is(err, clade.Timeout) {
		t.Errorf("Unpack error = %v, want Canceled of kind Timeout", err)
	}
	if n := len(to.files()); n != 0 {
		t.Errorf("%d files remain", n)
	}
	if err := Write(ctx, io.Discard, m, from.open, nil); !errors.Is(err, clade.Timeout) {
		t.Errorf("Write error = %v, want kind Timeout", err)
	}
}

func TestWhatTheCallerSaysEndsIt(t *testing.T) {
	from, m := master(t)
	file := written(t, from, m)
	mine := errors.New("mine")
	for name, change := range map[string]func(*Target){
		"Have":    func(to *Target) { to.Have = func(Layer) (bool, error) { return false, mine } },
		"Path":    func(to *Target) { to.Path = func(Layer) (string, error) { return "", mine } },
		"Arrived": func(to *Target) { to.Arrived = func(Layer) error { return mine } },
	} {
		to := newHome(t).target()
		change(&to)
		if _, err := unpack(t, file, to); !errors.Is(err, mine) {
			t.Errorf("%s: error = %v, want the caller's", name, err)
		}
	}
	if err := Write(t.Context(), io.Discard, m, func(Layer) (*os.File, error) { return nil, mine }, nil); !errors.Is(err, mine) {
		t.Errorf("Write error = %v, want the caller's", err)
	}
	if err := Write(t.Context(), full{}, m, from.open, nil); !errors.Is(err, clade.NoSpace) {
		t.Errorf("Write to a full disk: error = %v, want kind NoSpace", err)
	}
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := newHome(t).target()
	to.Path = func(Layer) (string, error) { return taken, nil }
	if _, err := unpack(t, file, to); !errors.Is(err, clade.Exists) {
		t.Errorf("into a file that is there: error = %v, want kind Exists", err)
	}
	if b, err := os.ReadFile(taken); string(b) != "mine" {
		t.Errorf("the file that was there reads %q, %v", b, err)
	}
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "x", Err: clade.NoSpace}
}
