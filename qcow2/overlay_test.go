package qcow2

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
)

func TestWriteOverlay(t *testing.T) {
	for _, o := range []Overlay{
		{Virtual: clade.MiB},
		{Virtual: 512, Backing: "a", BackingFormat: "raw"},
		{Virtual: 10 * clade.GiB, Backing: "../../layers/0123.qcow2", BackingFormat: "qcow2"},
		{Virtual: 8 * clade.TiB, Backing: strings.Repeat("x", MaxName), BackingFormat: "qcow2"},
		{Virtual: MaxVirtual, ClusterBits: 14},
		{Virtual: MaxVirtual, ClusterBits: 21, Backing: "./with:colon and\nnewline", BackingFormat: "qcow2"},
		{Virtual: clade.GiB, ClusterBits: 16, PlainL2: true},
	} {
		path := filepath.Join(t.TempDir(), "o.qcow2")
		if err := WriteOverlay(path, o); err != nil {
			t.Errorf("WriteOverlay(%+v) error = %v", o, err)
			continue
		}
		got, err := InspectFile(path)
		if err != nil {
			t.Errorf("InspectFile after WriteOverlay(%+v) error = %v", o, err)
			continue
		}
		bits := o.ClusterBits
		if bits == 0 {
			bits = DefaultClusterBits
		}
		want := Info{Version: 3, Virtual: o.Virtual, ClusterBits: bits, ExtendedL2: !o.PlainL2,
			Backing: o.Backing, BackingFormat: o.BackingFormat}
		if *got != want {
			t.Errorf("InspectFile after WriteOverlay(%+v) = %+v, want %+v", o, *got, want)
		}
		if name, format, err := Backing(path); name != o.Backing || format != o.BackingFormat || err != nil {
			t.Errorf("Backing after WriteOverlay(%+v) = %q, %q, %v", o, name, format, err)
		}
	}
}

func TestOverlayIsSmallAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "o.qcow2")
	if err := WriteOverlay(path, Overlay{Virtual: 8 * clade.TiB, Backing: "b", BackingFormat: "qcow2"}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Mode(); got != 0o600 {
		t.Errorf("mode = %v, want 0600", got)
	}
	if got := clade.Bytes(st.Sys().(*syscall.Stat_t).Blocks * 512); got > 48*clade.KiB {
		t.Errorf("an empty overlay allocates %v, want at most 48 KiB", got)
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, o := range map[string]Overlay{
		"no size":         {},
		"negative":        {Virtual: -512},
		"odd size":        {Virtual: 513},
		"too large":       {Virtual: MaxVirtual + 512},
		"small clusters":  {Virtual: 512, ClusterBits: 13},
		"large clusters":  {Virtual: 512, ClusterBits: 22},
		"format alone":    {Virtual: 512, BackingFormat: "qcow2"},
		"no format":       {Virtual: 512, Backing: "a"},
		"foreign format":  {Virtual: 512, Backing: "a", BackingFormat: "vmdk"},
		"long name":       {Virtual: 512, Backing: strings.Repeat("a", MaxName+1), BackingFormat: "raw"},
		"zero byte":       {Virtual: 512, Backing: "a\x00b", BackingFormat: "raw"},
		"json protocol":   {Virtual: 512, Backing: `json:{"driver":"nbd"}`, BackingFormat: "raw"},
		"remote protocol": {Virtual: 512, Backing: "nbd://host/disk", BackingFormat: "raw"},
	} {
		path := filepath.Join(t.TempDir(), "o")
		if err := WriteOverlay(path, o); !errors.Is(err, clade.Invalid) {
			t.Errorf("%s: WriteOverlay error = %v, want kind Invalid", name, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: WriteOverlay left a file (Lstat error = %v)", name, err)
		}
	}
}

func TestWriteNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), dangling); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, dangling} {
		if err := WriteOverlay(p, Overlay{Virtual: clade.MiB}); !errors.Is(err, clade.Exists) {
			t.Errorf("WriteOverlay(%s) error = %v, want kind Exists", p, err)
		}
	}
	if got, err := os.ReadFile(path); string(got) != "mine" || err != nil {
		t.Errorf("the file that was there reads %q, %v", got, err)
	}
	if err := WriteOverlay(filepath.Join(dir, "no", "such"), Overlay{Virtual: clade.MiB}); !errors.Is(err, clade.NotFound) {
		t.Errorf("WriteOverlay into a missing folder error = %v, want kind NotFound", err)
	}
}

// limitFileSize makes every file of this process stop growing at n bytes, which
// is as near to a full disk as an ordinary user's unit test comes.
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

func TestWriteOnFullDiskLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "o")
	limitFileSize(t, 128<<10+4096)
	if err := WriteOverlay(path, Overlay{Virtual: clade.GiB}); !errors.Is(err, clade.NoSpace) {
		t.Errorf("WriteOverlay error = %v, want kind NoSpace", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a half-written overlay remains (Lstat error = %v)", err)
	}
}

func TestTemplateWritesTheSameEveryTime(t *testing.T) {
	tmpl, err := Overlay{Virtual: clade.GiB, Backing: "b", BackingFormat: "qcow2"}.Render()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files [2][]byte
	for i, name := range []string{"a", "c"} {
		path := filepath.Join(dir, name)
		if err := tmpl.Write(path); err != nil {
			t.Fatal(err)
		}
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two files of one template differ")
	}
}
