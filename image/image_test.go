package image

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
)

// place returns a file of the given content in a folder of its own.
func place(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mustBeAbsent fails the test if something is left at path.
func mustBeAbsent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s remains (Lstat error = %v)", path, err)
	}
}

// limitFileSize makes every file of this process and its children stop growing at
// n bytes, which is as near to a full disk as an ordinary user's test comes.
func limitFileSize(t *testing.T, n uint64) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Error(err)
		}
	})
}

func TestMeasures(t *testing.T) {
	path := place(t, make([]byte, 100<<10))
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Fatal(err)
	}
	if got, err := Allocated(path); err != nil || got < 100*clade.KiB || got > clade.MiB {
		t.Errorf("Allocated of 100 KiB and a hole = %v, %v", got, err)
	}
	if got, err := Space(filepath.Dir(path)); err != nil || got <= 0 {
		t.Errorf("Space = %v, %v, want some", got, err)
	}
	if _, err := Allocated(path + "-"); !errors.Is(err, clade.NotFound) {
		t.Errorf("Allocated of nothing: error = %v, want NotFound", err)
	}
	if _, err := Space(path + "-"); !errors.Is(err, clade.NotFound) {
		t.Errorf("Space of nothing: error = %v, want NotFound", err)
	}
}

func TestParseFormat(t *testing.T) {
	for s, want := range map[string]Format{"": "", "qcow2": QCOW2, "vhd": VHD, "vpc": VHD, "img": Raw} {
		if got, err := ParseFormat(s); got != want || err != nil {
			t.Errorf("ParseFormat(%q) = %q, %v, want %q", s, got, err, want)
		}
	}
	if got, err := ParseFormat("nbd"); !errors.Is(err, clade.Unsupported) {
		t.Errorf("ParseFormat(nbd) = %q, %v, want Unsupported", got, err)
	}
}

func TestPercent(t *testing.T) {
	var got []int64
	w := &percent{event: clade.Event{Total: 1000}, tell: func(e clade.Event) { got = append(got, e.Done) }}
	for _, s := range []string{"    (0.00/100%)\r", "    (12.5", "0/100%)\r  (999/100%)", "(x/100%)", "(-1/1)", "\r    (100.00/100%)\n"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("Write(%q) = %d, %v", s, n, err)
		}
	}
	if len(got) != 3 || got[0] != 0 || got[1] != 125 || got[2] != 1000 {
		t.Errorf("progress = %v, want 0 125 1000", got)
	}
}

func TestExplain(t *testing.T) {
	for said, want := range map[string]struct {
		kind clade.Kind
		text string
	}{
		"qemu-img: error while writing at byte 0: No space left on device\n":                                    {clade.NoSpace, "error while writing at byte 0: No space left on device"},
		`qemu-img: Could not open 'json:{"driver":"vmdk","file":{}}': invalid VMDK image descriptor` + "\nmore": {clade.Corrupt, "invalid VMDK image descriptor"},
		`qemu-img: Could not open 'x': Failed to get shared "write" lock` + "\nIs another process using the image [x]?": {clade.InUse,
			`Could not open 'x': Failed to get shared "write" lock`},
		"": {clade.Corrupt, ""},
	} {
		if kind, text := explain(said); kind != want.kind || text != want.text {
			t.Errorf("explain(%q) = %q, %q, want %q, %q", said, kind, text, want.kind, want.text)
		}
	}
}
