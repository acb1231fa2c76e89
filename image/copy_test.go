package image

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
)

// sparse returns a file of 64 MiB with pieces of data, one of them at its odd end.
func sparse(t *testing.T) (path string, content []byte) {
	t.Helper()
	content = make([]byte, 64<<20+777)
	random := rand.NewChaCha8([32]byte{1})
	path = filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int{1 << 20, 20<<20 + 4096, 40 << 20, len(content) - 5000} {
		piece := content[at:min(at+3<<20, len(content))]
		if _, err := random.Read(piece); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(piece, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	return path, content
}

func TestCopy(t *testing.T) {
	src, want := sparse(t)
	dst := filepath.Join(t.TempDir(), "copy")
	var last clade.Event
	if _, err := Copy(t.Context(), src, dst, func(e clade.Event) { last = e }); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy differs (%d bytes, %v)", len(got), err)
	}
	if !last.End || last.Done != int64(len(want)) || last.Total != last.Done {
		t.Errorf("last event = %+v, want the end at %d", last, len(want))
	}
	if st, err := os.Stat(dst); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", st.Mode(), err)
	}
	was, _ := Allocated(src)
	if got, err := Allocated(dst); err != nil || got > was+64*clade.KiB {
		t.Errorf("the copy allocates %v (%v), its source %v: holes were lost", got, err, was)
	}
}

func TestCopyByHand(t *testing.T) {
	src, want := sparse(t)
	from, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	var done int64
	if err := copyByHand(t.Context(), from, to, 0, int64(len(want)), func(n int64) { done = n }); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to.Name()); err != nil || !bytes.Equal(got, want) || done != int64(len(want)) {
		t.Errorf("the copy differs (%d bytes, %v, told %d)", len(got), err, done)
	}
	if err := copyByHand(t.Context(), from, to, 0, int64(len(want))+1, func(int64) {}); !errors.Is(err, clade.Corrupt) {
		t.Errorf("copy of a file that became shorter: error = %v, want Corrupt", err)
	}
}

func TestCopyEmptyFile(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "copy")
	if _, err := Copy(t.Context(), place(t, nil), dst, nil); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dst); err != nil || st.Size() != 0 {
		t.Errorf("Stat = %v, %v", st, err)
	}
}

func TestCopyRefuses(t *testing.T) {
	src, _ := sparse(t)
	taken, dir := place(t, []byte("mine")), t.TempDir()
	for _, c := range []struct {
		src, dst string
		kind     clade.Kind
	}{
		{src, taken, clade.Exists},
		{src, filepath.Join(dir, "no", "such"), clade.NotFound},
		{src + "-", filepath.Join(dir, "a"), clade.NotFound},
		{dir, filepath.Join(dir, "b"), clade.Invalid},
		{"/dev/zero", filepath.Join(dir, "c"), clade.Invalid},
	} {
		if _, err := Copy(t.Context(), c.src, c.dst, nil); !errors.Is(err, c.kind) {
			t.Errorf("Copy(%s, %s) error = %v, want kind %q", c.src, c.dst, err, c.kind)
		}
		if c.dst != taken {
			mustBeAbsent(t, c.dst)
		}
	}
	if b, err := os.ReadFile(taken); string(b) != "mine" {
		t.Errorf("the file that was there reads %q, %v", b, err)
	}
}

func TestCopyCancelled(t *testing.T) {
	src, _ := sparse(t)
	dst := filepath.Join(t.TempDir(), "copy")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Copy(ctx, src, dst, nil); !errors.Is(err, context.Canceled) || !errors.Is(err, clade.Timeout) {
		t.Errorf("Copy error = %v, want Canceled of kind Timeout", err)
	}
	mustBeAbsent(t, dst)
}

func TestCopyOnFullDisk(t *testing.T) {
	src, _ := sparse(t)
	dst := filepath.Join(t.TempDir(), "copy")
	limitFileSize(t, 30<<20)
	if _, err := Copy(t.Context(), src, dst, nil); !errors.Is(err, clade.NoSpace) {
		t.Errorf("Copy error = %v, want kind NoSpace", err)
	}
	mustBeAbsent(t, dst)
}
