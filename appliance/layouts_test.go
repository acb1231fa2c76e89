//go:build integration

package appliance

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

const mib = 1 << 20

// below keeps the files in a directory of the guest, named from there.
func below(dir string) func(string) (string, bool) {
	return func(name string) (string, bool) { return strings.CutPrefix(name, dir+"/") }
}

// separateVar is a disk with / and /var on partitions of their own; fstab names
// the second by spec.
func separateVar(t *testing.T, table, spec string) (image string) {
	t.Helper()
	files := with(map[string]string{
		"etc/fstab": "# made by a test\nUUID=00000000-0000-0000-0000-00000000000a / ext4 errors=remount-ro 0 1\n" +
			spec + " /var ext4 defaults 0 2\nproc /proc proc defaults 0 0\n/dev/sr0 /media/cdrom auto ro 0 0\n",
		"var/.keep": "", // the mount point
	})
	rootDir := grow(t, files, func(name string) (string, bool) {
		return name, name == "var/.keep" || !strings.HasPrefix(name, "var/")
	})
	slices := []slice{
		{start: 1, size: 48, content: ext4(t, rootDir, "40M", "-U", "00000000-0000-0000-0000-00000000000a")},
		{start: 50, size: 40, name: "data one", guid: "11111111-2222-3333-4444-555555555555",
			content: ext4(t, grow(t, files, below("var")), "20M", "-U", "00000000-0000-0000-0000-00000000000b", "-L", "variable")},
	}
	if table == "gpt" {
		return gpt(t, 100, slices...)
	}
	return mbr(t, 100, 0xcafe1234, slices...)
}

// part copies a partition out of a disk, so that a reader without root can read it.
func part(t testing.TB, image string, offset, size int64) string {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := make([]byte, size)
	if _, err := f.ReadAt(content, offset); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "part.img")
	if err := os.WriteFile(out, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLayoutsSeparateVar shows that a volume is found by each name that fstab may
// have for it.
func TestLayoutsSeparateVar(t *testing.T) {
	names := []struct{ table, spec string }{
		{"gpt", "UUID=00000000-0000-0000-0000-00000000000b"}, {"gpt", "LABEL=variable"}, {"gpt", `PARTLABEL=data\040one`},
		{"gpt", "PARTUUID=11111111-2222-3333-4444-555555555555"}, {"gpt", "/dev/disk/by-uuid/00000000-0000-0000-0000-00000000000b"},
		{"mbr", "PARTUUID=cafe1234-02"}, {"mbr", "LABEL=variable"}, {"mbr", "/dev/sda2"}, {"mbr", "/dev/vda2"},
	}
	var machines [][]Disk
	for _, n := range names {
		machines = append(machines, []Disk{{Path: separateVar(t, n.table, n.spec), Format: Raw}})
	}
	a, ctx := boot(t)
	results, err := a.Read(ctx, machines, identity.Whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Reading.RandomSeed == "" || len(r.Notes) > 0 {
			t.Errorf("/var by %s in a table of kind %s: %+v, want the seed on it found", names[i].spec, names[i].table, r)
		}
	}
}

// TestLayoutsMissingDisk reads a volume group one of whose disks is not given.
func TestLayoutsMissingDisk(t *testing.T) {
	disks := lvm(t, ext4(t, t.TempDir(), "80M"), ext4(t, t.TempDir(), "24M"))
	a, ctx := boot(t)
	results, err := a.Read(ctx, [][]Disk{disks[1:]}, identity.Whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := results[0].Err; !errors.Is(err, clade.NotFound) || !strings.Contains(err.Error(), "missing disk") {
		t.Errorf("Read: %v (%s), want not found: a missing disk", err, clade.KindOf(err))
	}
}

// prototype writes a tree the way mkfs.xfs -p wants it, but for names with spaces
// in them, which it cannot say.
func prototype(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	var walk func(string)
	walk = func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			at := filepath.Join(dir, e.Name())
			switch {
			case strings.ContainsAny(e.Name(), " \n"):
			case e.Type() == os.ModeNamedPipe:
				fmt.Fprintf(&b, "%s p--600 0 0\n", e.Name())
			case e.Type() == os.ModeSymlink:
				target, err := os.Readlink(at)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&b, "%s l--777 0 0 %s\n", e.Name(), target)
			case e.IsDir():
				fmt.Fprintf(&b, "%s d--755 0 0\n", e.Name())
				walk(at)
				b.WriteString("$\n")
			default:
				fmt.Fprintf(&b, "%s ---600 0 0 %s\n", e.Name(), at)
			}
		}
	}
	b.WriteString("/none\n0 0\nd--755 0 0\n")
	walk(dir)
	b.WriteString("$\n")
	out := filepath.Join(t.TempDir(), "proto")
	if err := os.WriteFile(out, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLayoutsOverlay works on a chain of qcow2 files: only the top is written.
func TestLayoutsOverlay(t *testing.T) {
	a, ctx := boot(t)
	dir := t.TempDir()
	base, middle, head := filepath.Join(dir, "base.qcow2"), filepath.Join(dir, "middle.qcow2"), filepath.Join(dir, "head.qcow2")
	command(t, "", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", plain(t), base)
	command(t, "", "qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", middle)
	command(t, "", "qemu-img", "create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", head)
	before := []string{digest(t, base), digest(t, middle)}
	if _, err := a.Generalize(ctx, []Disk{{Path: head, Format: Qcow2, Backed: true}}, Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if after := []string{digest(t, base), digest(t, middle)}; !slices.Equal(after, before) {
		t.Error("a file below the head was written")
	}
	flat := filepath.Join(dir, "flat.img")
	command(t, "", "qemu-img", "convert", "-O", "raw", head, flat)
	gone(t, flat)
	command(t, "", "qemu-img", "check", "-q", head)
}

func unzip(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
