//go:build integration

package appliance

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
func part(t *testing.T, image string, offset, size int64) string {
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

func TestLayoutsSeparateVar(t *testing.T) {
	for _, c := range []struct{ name, table, spec string }{
		{"gpt by uuid", "gpt", "UUID=00000000-0000-0000-0000-00000000000b"},
		{"gpt by partition label", "gpt", `PARTLABEL=data\040one`},
		{"gpt by partition uuid", "gpt", "PARTUUID=11111111-2222-3333-4444-555555555555"},
		{"mbr by partition uuid", "mbr", "PARTUUID=cafe1234-02"},
		{"mbr by label", "mbr", "LABEL=variable"},
		{"mbr by kernel name", "mbr", "/dev/sda2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, ctx := boot(t)
			image := separateVar(t, c.table, c.spec)
			if _, err := a.Generalize(ctx, []Disk{{Path: image, Format: Raw}}, Options{}, nil); err != nil {
				t.Fatal(err)
			}
			vars := part(t, image, 50*mib, 20*mib)
			if out := debugfs(t, vars, "stat /lib/systemd/random-seed"); !strings.Contains(out, "File not found") {
				t.Errorf("the seed on /var is still there: %s", out)
			}
			command(t, "", "e2fsck", "-fn", vars)
			if id := debugfs(t, part(t, image, 1*mib, 40*mib), "cat /etc/machine-id"); strings.Contains(id, plantedID) {
				t.Errorf("machine-id is %q, want it empty", id)
			}
		})
	}
}

// prototype writes a tree the way mkfs.xfs -p wants it.
func prototype(t *testing.T, dir string) string {
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
			if !e.IsDir() {
				fmt.Fprintf(&b, "%s ---600 0 0 %s\n", e.Name(), at)
				continue
			}
			fmt.Fprintf(&b, "%s d--755 0 0\n", e.Name())
			walk(at)
			b.WriteString("$\n")
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

func TestLayoutsXFS(t *testing.T) {
	a, ctx := boot(t)
	image := filepath.Join(t.TempDir(), "xfs.img")
	command(t, "", "mkfs.xfs", "-q", "-p", prototype(t, grow(t, planted, all)), "-d", "file,size=320m,name="+image)
	list := func(dir string) string { return command(t, "", "xfs_db", "-r", "-c", "path "+dir, "-c", "ls", image) }
	if out := list("/etc/ssh"); !strings.Contains(out, "ssh_host_rsa_key") {
		t.Fatalf("nothing is planted: %s", out)
	}
	before := digest(t, image)
	results, err := a.Read(ctx, [][]Disk{{{Path: image, Format: Raw}}}, nil)
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	if results[0].Reading.MachineID != plantedID {
		t.Errorf("machine-id read as %q, want %q", results[0].Reading.MachineID, plantedID)
	}
	if digest(t, image) != before {
		t.Error("Read wrote to the disk")
	}
	if _, err := a.Generalize(ctx, []Disk{{Path: image, Format: Raw}}, Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if out := list("/etc/ssh"); strings.Contains(out, "ssh_host") {
		t.Errorf("keys are left: %s", out)
	}
	command(t, "", "xfs_repair", "-n", "-f", image)
}

func TestLayoutsBtrfs(t *testing.T) {
	a, ctx := boot(t)
	image := filepath.Join(t.TempDir(), "btrfs.img")
	command(t, "", "truncate", "-s", "256M", image)
	command(t, "", "mkfs.btrfs", "-q", "--rootdir", grow(t, planted, all), image)
	before := digest(t, image)
	// Twice the same file system, as with two linked clones.
	results, err := a.Read(ctx, [][]Disk{{{Path: image, Format: Raw}}, {{Path: image, Format: Raw}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Reading.MachineID != plantedID {
			t.Errorf("machine %d: %+v, want machine-id %s", i, r, plantedID)
		}
	}
	if digest(t, image) != before {
		t.Error("Read wrote to the disk")
	}
	if _, err := a.Generalize(ctx, []Disk{{Path: image, Format: Raw}}, Options{}, nil); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	command(t, "", "btrfs", "restore", image, out)
	if id, err := os.ReadFile(filepath.Join(out, "etc/machine-id")); err != nil || strings.Contains(string(id), plantedID) {
		t.Errorf("machine-id is %q, %v; want it empty", id, err)
	}
	if keys, _ := filepath.Glob(filepath.Join(out, "etc/ssh/ssh_host_*")); len(keys) > 0 {
		t.Errorf("keys are left: %v", keys)
	}
	command(t, "", "btrfs", "check", image)
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

// TestLayoutsLVM lays a guest over the volume group that is in guest/testdata: its
// root spans two disks, and /var/lib is a volume of its own.
func TestLayoutsLVM(t *testing.T) {
	a, ctx := boot(t)
	files := with(map[string]string{
		"etc/fstab":     "/dev/mapper/my--vg-root / ext4 defaults 0 1\n/dev/my-vg/var-lib /var/lib ext4 defaults 0 2\n",
		"var/lib/.keep": "",
	})
	root := ext4(t, grow(t, files, func(name string) (string, bool) {
		return name, name == "var/lib/.keep" || !strings.HasPrefix(name, "var/lib/")
	}), "80M")
	vars := ext4(t, grow(t, files, below("var/lib")), "24M")
	type run struct {
		disk     int
		at, from int64 // MiB
		size     int64
		of       string
	}
	runs := []run{{0, 1, 0, 60, root}, {1, 25, 60, 20, root}, {1, 1, 0, 24, vars}}
	disks := []Disk{{Format: Raw}, {Format: Raw}}
	for i, size := range []int64{120, 80} {
		disks[i].Path = filepath.Join(t.TempDir(), "pv.img")
		if err := os.WriteFile(disks[i].Path, unzip(t, fmt.Sprintf("guest/testdata/lvm/pv%d.gz", i)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(disks[i].Path, size*mib); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range runs {
		content, err := os.ReadFile(part(t, r.of, r.from*mib, r.size*mib))
		if err != nil {
			t.Fatal(err)
		}
		patch(t, disks[r.disk].Path, r.at*mib, content)
	}
	results, err := a.Read(ctx, [][]Disk{disks, disks[1:], disks}, nil)
	if err != nil || results[0].Err != nil || results[2].Err != nil || results[2].Reading.MachineID != plantedID {
		t.Fatalf("Read: %v, %+v; want machine-id %s", err, results, plantedID)
	}
	if why := results[1].Err; why == nil {
		t.Errorf("Read with a disk missing: %+v, want an error", results[1])
	}
	if _, err := a.Generalize(ctx, disks, Options{}, nil); err != nil {
		t.Fatal(err)
	}
	rejoined := zeros(t).Path
	for _, r := range runs[:2] {
		content, err := os.ReadFile(part(t, disks[r.disk].Path, r.at*mib, r.size*mib))
		if err != nil {
			t.Fatal(err)
		}
		patch(t, rejoined, r.from*mib, content)
	}
	if id := debugfs(t, rejoined, "cat /etc/machine-id"); strings.Contains(id, plantedID) {
		t.Errorf("machine-id is %q, want it empty", id)
	}
	if out := debugfs(t, part(t, disks[1].Path, 1*mib, 24*mib), "stat /systemd/random-seed"); !strings.Contains(out, "File not found") {
		t.Errorf("the seed is still on its volume: %s", out)
	}
}

func unzip(t *testing.T, path string) []byte {
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

// TestLayoutsDirtyJournal has a write that is in the journal only. Reading leaves
// it there and says so; generalizing replays it.
func TestLayoutsDirtyJournal(t *testing.T) {
	a, ctx := boot(t)
	image := plain(t)
	block := strings.TrimSpace(debugfs(t, image, "bmap /etc/passwd 0"))
	block = block[strings.LastIndex(block, "\n")+1:]
	content := filepath.Join(t.TempDir(), "block")
	text := make([]byte, 1024)
	copy(text, "root:x:0:0:replayed:/root:/bin/sh\n")
	if err := os.WriteFile(content, text, 0o600); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("jo\njw -b "+block+" "+content+"\njc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "", "debugfs", "-w", "-f", script, image)
	before := digest(t, image)
	results, err := a.Read(ctx, [][]Disk{{{Path: image, Format: Raw}}}, nil)
	if err != nil || results[0].Err != nil || !strings.Contains(fmt.Sprint(results[0].Notes), "journal is not replayed") {
		t.Errorf("Read: %v, %+v; want a note on the journal", err, results)
	}
	if digest(t, image) != before {
		t.Error("Read wrote to the disk")
	}
	if _, err := a.Generalize(ctx, []Disk{{Path: image, Format: Raw}}, Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if out := debugfs(t, image, "cat /etc/passwd"); !strings.Contains(out, "replayed") {
		t.Errorf("passwd is %q, want what the journal held", out)
	}
	command(t, "", "e2fsck", "-fn", image)
}
