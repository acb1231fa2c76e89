//go:build integration

package appliance

import (
	"archive/tar"
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// garden lets the kernel of the VM lay out disks, as testdata/gardener says; plots
// are host directories by the prefix that the script has for them. It
// returns what the console said.
func garden(t testing.TB, script string, plots map[string]string, disks ...Disk) string {
	t.Helper()
	a, ctx := boot(t)
	a.Init = build(t, "./testdata/gardener")
	seeds := filepath.Join(t.TempDir(), "seeds.tar")
	sow(t, seeds, script, plots)
	all := append(disks[:len(disks):len(disks)], Disk{Path: seeds, Format: Raw, ReadOnly: true})
	console := a.once(t, ctx, all)
	if !strings.Contains(console, "gardener: done") {
		t.Fatalf("the gardener did not get done: %s", console)
	}
	return console
}

// once boots the VM until it ends by itself, and returns what its console said.
func (a *Appliance) once(t testing.TB, ctx context.Context, disks []Disk) string {
	t.Helper()
	s, qemu, err := a.prepare(ctx, disks, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.cpus = 1
	args, err := s.args()
	if err != nil {
		t.Fatal(err)
	}
	v, err := launch(qemu, args)
	if err != nil {
		t.Fatal(err)
	}
	defer v.end()
	if !v.gone(2 * time.Minute) {
		t.Fatalf("it does not end: %s", v.console.last(5))
	}
	return v.console.String() + v.errs.String()
}

// sow writes the gardener's disk.
func sow(t testing.TB, file, script string, plots map[string]string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.WriteHeader(&tar.Header{Name: "script", Size: int64(len(script)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(script)); err != nil {
		t.Fatal(err)
	}
	for prefix, dir := range plots {
		err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
			if err != nil || at == dir {
				return err
			}
			name, err := filepath.Rel(dir, at)
			if err != nil {
				return err
			}
			return add(w, at, path.Join(prefix, name))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func add(w *tar.Writer, at, name string) error {
	fi, err := os.Lstat(at)
	if err != nil {
		return err
	}
	var target string
	if fi.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(at); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(fi, target)
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = name, 0, 0, "", ""
	if err := w.WriteHeader(h); err != nil || !fi.Mode().IsRegular() {
		return err
	}
	text, err := os.ReadFile(at)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
