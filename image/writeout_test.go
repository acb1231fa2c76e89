package image

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestWriteout looks at which stretches are handed over while a file with holes is copied.
func TestWriteout(t *testing.T) {
	w := &writeout{stretches: make(chan [2]int64, 8), done: make(chan struct{})}
	close(w.done)
	for _, end := range []int64{writeStep - 1, writeStep, 3*writeStep + 5, 3*writeStep + 9} {
		w.copied(end)
	}
	w.stop()
	var at int64
	for s := range w.stretches {
		if s[0] != at || s[1] <= s[0] {
			t.Errorf("a stretch from %d to %d, want one from %d", s[0], s[1], at)
		}
		at = s[1]
	}
	if want := int64(3*writeStep + 9); at != want {
		t.Errorf("handed over up to %d, want %d", at, want)
	}
}

// TestCopyLeavesTheCacheAlone: what was copied does not stay in the page cache, where it
// would take the place of what others have there.
func TestCopyLeavesTheCacheAlone(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type != unix.EXT4_SUPER_MAGIC {
		t.Skip("the directory for tests is not on ext4")
	}
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	data := make([]byte, 12*writeStep)
	for i := range data {
		data[i] = byte(i) | 1
	}
	if err := os.WriteFile(src, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), src, dst, nil); err != nil {
		t.Fatal(err)
	}
	if n := cached(t, dst); n > 4*writeStep {
		t.Errorf("%d of %d bytes are in the page cache", n, len(data))
	}
}

// cached is how many bytes of a file are in the page cache (mincore(2)).
func cached(t *testing.T, path string) (bytes int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	page := os.Getpagesize()
	resident := make([]byte, (len(mapped)+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)), uintptr(unsafe.Pointer(&resident[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, r := range resident {
		bytes += int(r&1) * page
	}
	return bytes
}
