//go:build integration

package appliance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

// A hostile guest is a disk that is made to mislead whoever reads it.
type hostile struct {
	name   string
	disk   Disk
	read   clade.Kind // what reading it ends with; "" for well
	erase  bool       // it is generalized too, and well
	absent []string   // what must not be there after that
}

// astray is a guest whose names lead out of it, in circles and to what is no file.
func astray(t testing.TB) hostile {
	dir := grow(t, with(map[string]string{
		"etc/ssh/ssh_host_\x1b[2J_key": plantedKey, "etc/ssh/ssh_host_new\nline_key": plantedKey, "root/.bash_history": "x",
	}), all)
	up := strings.Repeat("../", 40)
	for name, target := range map[string]string{
		"etc/hostname": up + "etc/passwd", "etc/resolv.conf": "/proc/self/environ", "etc/hosts": "/dev/vda", "home/eve": "/home/eve",
		"home/out": up, "var/log/loop": "../log/loop", "var/lib/dhcp": up + "run", "etc/ssh/ssh_host_up_key": up + "etc/shadow",
		"etc/ssh/ssh_host_dev_key": "/dev/console",
	} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(at) // mostly not there
		if err := os.Symlink(target, at); err != nil {
			t.Fatal(err)
		}
	}
	return hostile{name: "links astray", disk: Disk{Path: ext4(t, dir, "64M"), Format: Raw}, erase: true,
		absent: []string{"/etc/ssh/ssh_host_up_key", "/etc/ssh/ssh_host_dev_key", "/etc/ssh/ssh_host_\x1b[2J_key"}}
}

// special is a guest with pipes and device nodes where files are meant: those of
// the VM's own disk, console and memory.
func special(t testing.TB) hostile {
	image := plain(t)
	var script strings.Builder
	for _, node := range []string{"machine-id b 254 0", "hostname c 5 1", "hosts p", "ssh/ssh_host_pipe_key p", "ssh/ssh_host_disk_key b 254 0",
		"ssh/ssh_host_zero_key c 1 5", "shadow c 1 1"} {
		name, _, _ := strings.Cut(node, " ")
		fmt.Fprintf(&script, "rm /etc/%s\ncd /etc/%s\nmknod %s\n", name, filepath.Dir(name), filepath.Base(node))
	}
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "", "debugfs", "-w", "-f", path, image)
	return hostile{name: "pipes and devices", disk: Disk{Path: image, Format: Raw}, erase: true,
		absent: []string{"/etc/ssh/ssh_host_pipe_key", "/etc/ssh/ssh_host_disk_key", "/etc/ssh/ssh_host_zero_key"}}
}

// endless is a guest with files that say they are of 4 GiB.
func endless(t testing.TB) hostile {
	image := plain(t)
	for _, name := range []string{"etc/machine-id", "etc/hostname", "etc/ssh/ssh_host_rsa_key", "etc/os-release"} {
		command(t, "", "debugfs", "-w", "-R", "set_inode_field /"+name+" size 4294967296", image)
	}
	return hostile{name: "files of 4 GiB", disk: Disk{Path: image, Format: Raw}, erase: true, absent: []string{"/etc/ssh/ssh_host_rsa_key"}}
}

// crowded is a guest with directories of very many entries, and one very deep.
func crowded(t testing.TB) hostile {
	const many, deep = 300_000, 2000
	var b strings.Builder
	b.WriteString("/none\n0 0\nd--755 0 0\n")
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("PRETTY_NAME=Crowd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "usr d--755 0 0\n$\netc d--755 0 0\nos-release ---644 0 0 %s\nssh d--755 0 0\nssh_host_rsa_key ---600 0 0 %[1]s\n", file)
	crowd := func(n int) {
		for i := range n {
			fmt.Fprintf(&b, "n%d l--777 0 0 x\n", i)
		}
	}
	crowd(many)
	b.WriteString("$\n$\nvar d--755 0 0\ntmp d--777 0 0\n")
	crowd(many / 60)
	b.WriteString("$\n$\ntmp d--777 0 0\n" + strings.Repeat("d d--755 0 0\n", deep) + strings.Repeat("$\n", deep) + "$\n$\n")
	proto := filepath.Join(t.TempDir(), "proto")
	if err := os.WriteFile(proto, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "xfs.img")
	command(t, "", "mkfs.xfs", "-q", "-p", proto, "-d", "file,size=700m,name="+image)
	return hostile{name: "very many entries", disk: Disk{Path: image, Format: Raw}, erase: true}
}

// broken are disks that are damaged at one place.
func broken(t testing.TB) (all []hostile) {
	scratch := func(name, image string, at int64, kind clade.Kind) {
		patch(t, image, at, []byte(strings.Repeat("\xa5", 200)))
		all = append(all, hostile{name: name, disk: Disk{Path: image, Format: Raw}, read: kind})
	}
	scratch("ext4 with a torn superblock", plain(t), 0x400+0x40, clade.Corrupt)
	scratch("XFS with a torn superblock", emptyXFS(t), 8, clade.Corrupt)
	scratch("btrfs with a torn superblock", newBtrfs(t).Path, 0x10048, clade.Corrupt)
	scratch("LVM with a torn label", lvm(t, ext4(t, t.TempDir(), "80M"), ext4(t, t.TempDir(), "24M"))[0].Path, 512+20, clade.Unsupported)
	scratch("a torn partition table", gpt(t, 8, slice{start: 1, size: 4, content: zeros(t).Path}), 446, clade.NotFound)
	return all
}

// TestHostile reads guests that are made to mislead, all in one boot, and works on
// those that are none the worse for it.
func TestHostile(t *testing.T) {
	guests := append([]hostile{astray(t), special(t), endless(t), crowded(t)}, broken(t)...)
	var machines [][]Disk
	for _, g := range guests {
		machines = append(machines, []Disk{g.disk})
	}
	a, ctx := boot(t)
	results, err := a.Read(ctx, machines, identity.Whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range guests {
		t.Run(g.name, func(t *testing.T) {
			r := results[i]
			if g.read == "" && r.Err != nil || g.read != "" && !errors.Is(r.Err, g.read) {
				t.Errorf("Read: %v (%s), want %q", r.Err, clade.KindOf(r.Err), g.read)
			}
			if g.read == clade.Corrupt && !strings.Contains(clade.HintOf(r.Err), "rescue system") {
				t.Errorf("Read does not say what to do: %q", clade.HintOf(r.Err))
			}
			if text := fmt.Sprint(r); strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Errorf("what is read is not fit for a terminal: %q", text)
			}
			if !g.erase {
				return
			}
			a, ctx := boot(t)
			if _, err := a.Generalize(ctx, []Disk{g.disk}, Options{}, nil); err != nil {
				t.Fatal(err)
			}
			for _, name := range g.absent {
				if out := debugfs(t, g.disk.Path, "stat \""+name+"\""); !strings.Contains(out, "File not found") {
					t.Errorf("%q is still there: %s", name, out)
				}
			}
		})
	}
	orphans(t)
}
