//go:build integration

package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade/identity/identitytest"
)

func wholeDisk(t testing.TB, name, tree string) layout {
	return layout{name: name, tree: tree, disks: []Disk{{Path: ext4(t, tree, "64M"), Format: Raw}},
		look: func(t *testing.T, l layout) {
			back := t.TempDir()
			rdump(t, l.disks[0].Path, back)
			check(t, l, back)
		}}
}

func xfsOnQcow2(t testing.TB) layout {
	files := tree(t, nil, "b\nc")
	raw, image := filepath.Join(t.TempDir(), "xfs.img"), filepath.Join(t.TempDir(), "xfs.qcow2")
	command(t, "", "mkfs.xfs", "-q", "-p", prototype(t, files), "-d", "file,size=320m,name="+raw)
	command(t, "", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
	return layout{name: "XFS on qcow2", tree: files, disks: []Disk{{Path: image, Format: Qcow2}}, names: true,
		look: func(t *testing.T, l layout) {
			flat := filepath.Join(t.TempDir(), "flat.img")
			if err := os.WriteFile(flat, flatten(t, l.disks[0]), 0o600); err != nil {
				t.Fatal(err)
			}
			command(t, "", "xfs_repair", "-n", "-f", flat)
			out := command(t, "", "xfs_db", "-r", "-c", "path /etc/ssh", "-c", "ls", flat)
			if strings.Contains(out, "ssh_host") || !strings.Contains(out, "..") {
				t.Errorf("xfs_db: %s", out)
			}
		}}
}

const btrfsUUID = "00000000-0000-0000-0000-0000000000b7"

// newBtrfs makes an empty btrfs.
func newBtrfs(t testing.TB) Disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "btrfs.img")
	command(t, "", "truncate", "-s", "256M", image)
	command(t, "", "mkfs.btrfs", "-q", "-U", btrfsUUID, image)
	return Disk{Path: image, Format: Raw}
}

// restore reads a btrfs back with btrfs-progs, which check it too; the guest's
// root is the subvolume, and others lie below it.
func restore(t *testing.T, l layout, subvol string, below map[string]string) {
	t.Helper()
	image, out := l.disks[0].Path, t.TempDir()
	command(t, "", "btrfs", "check", image)
	command(t, "", "btrfs", "restore", "-s", "-S", image, out)
	back := filepath.Join(out, subvol)
	for name, dir := range below {
		if err := os.Remove(filepath.Join(back, dir)); err != nil { // the mount point
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(out, name), filepath.Join(back, dir)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, l, back)
}

func subvolumes(t testing.TB) layout {
	fstab := fmt.Sprintf("UUID=%s / btrfs defaults,subvol=@ 0 0\nUUID=%[1]s /home btrfs subvol=/@home 0 0\n", btrfsUUID)
	l := layout{name: "btrfs with @ and @home", tree: tree(t, map[string]string{"etc/fstab": fstab}), disks: []Disk{newBtrfs(t)}}
	files := tree(t, map[string]string{"etc/fstab": fstab})
	homes := cut(t, files, "home")
	garden(t, "mount btrfs 0 /m\nsubvolume /m/@\nsubvolume /m/@home\nplant root /m/@\nplant home /m/@home\nunmount /m\n",
		map[string]string{"root": files, "home": homes}, l.disks...)
	l.look = func(t *testing.T, l layout) { restore(t, l, "@", map[string]string{"@home": "home"}) }
	return l
}

func defaultSubvolume(t testing.TB) layout {
	fstab := fmt.Sprintf("UUID=%s / btrfs defaults 0 0\nUUID=%[1]s /var btrfs subvol=the-var 0 0\n", btrfsUUID)
	l := layout{name: "btrfs with a default subvolume", tree: tree(t, map[string]string{"etc/fstab": fstab}), disks: []Disk{newBtrfs(t)}}
	files := tree(t, map[string]string{"etc/fstab": fstab})
	vars := cut(t, files, "var")
	garden(t, "mount btrfs 0 /m\nsubvolume /m/first\nsubvolume /m/the-var\nplant root /m/first\nplant var /m/the-var\ndefault /m/first\nunmount /m\n",
		map[string]string{"root": files, "var": vars}, l.disks...)
	l.look = func(t *testing.T, l layout) { restore(t, l, "first", map[string]string{"the-var": "var"}) }
	return l
}

// apart is a guest with /usr and /var on partitions of their own, and a swap area
// that holds what it swapped out.
func apart(t testing.TB, table string) layout {
	usrSpec, varSpec := "PARTUUID=cafe1234-02", "/dev/sda3"
	if table == "gpt" {
		usrSpec, varSpec = "UUID=00000000-0000-0000-0000-00000000000c", `PARTLABEL=the\040var`
	}
	fstab := usrSpec + " /usr ext4 defaults 0 2\n" + varSpec + " /var auto defaults 0 2\nUUID=no-such none swap sw 0 0\n"
	l := layout{name: table + " with /usr and /var apart", tree: tree(t, map[string]string{"etc/fstab": fstab})}
	files := tree(t, map[string]string{"etc/fstab": fstab})
	usr, vars := cut(t, files, "usr"), cut(t, files, "var")
	swap := filepath.Join(t.TempDir(), "swap")
	if err := os.WriteFile(swap, make([]byte, 4*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	patch(t, swap, 4086, []byte("SWAPSPACE2"))
	patch(t, swap, 8192, []byte(identitytest.Planted))
	slices := []slice{
		{start: 1, size: 40, content: ext4(t, files, "40M")},
		{start: 41, size: 20, content: ext4(t, usr, "20M", "-U", "00000000-0000-0000-0000-00000000000c")},
		{start: 61, size: 30, name: "the var", content: ext4(t, vars, "30M")},
		{start: 91, size: 4, content: swap},
	}
	var image string
	if table == "gpt" {
		image = gpt(t, 96, slices...)
	} else {
		image = mbr(t, 96, 0xcafe1234, slices...)
	}
	l.disks = []Disk{{Path: image, Format: Raw}}
	l.look = func(t *testing.T, l layout) {
		back := t.TempDir()
		for i, dir := range []string{"", "usr", "var"} {
			s := slices[i]
			rdump(t, part(t, image, s.start*mib, s.size*mib), filepath.Join(back, dir))
		}
		check(t, l, back)
	}
	return l
}

// An extent is some MiB of a logical volume on a physical one.
type extent struct {
	disk     int
	at, from int64 // on the disk, in the volume
	size     int64
	of       int // the volume: 0 for root, 1 for var-lib
}

// extents are how the volume group in guest/testdata lays its volumes: root spans two
// disks.
var extents = []extent{{0, 1, 0, 60, 0}, {1, 25, 60, 20, 0}, {1, 1, 0, 24, 1}}

// lvm lays file systems over that volume group.
func lvm(t testing.TB, root, varLib string) []Disk {
	t.Helper()
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
	for _, r := range extents {
		content, err := os.ReadFile(part(t, []string{root, varLib}[r.of], r.from*mib, r.size*mib))
		if err != nil {
			t.Fatal(err)
		}
		patch(t, disks[r.disk].Path, r.at*mib, content)
	}
	return disks
}

// rejoin copies the logical volumes out of their disks.
func rejoin(t testing.TB, disks []Disk) (volumes [2]string) {
	t.Helper()
	for i := range volumes {
		volumes[i] = zeros(t).Path
	}
	for _, r := range extents {
		content, err := os.ReadFile(part(t, disks[r.disk].Path, r.at*mib, r.size*mib))
		if err != nil {
			t.Fatal(err)
		}
		patch(t, volumes[r.of], r.from*mib, content)
	}
	return volumes
}

func onLVM(t testing.TB) layout {
	fstab := map[string]string{"etc/fstab": "/dev/mapper/my--vg-root / ext4 defaults 0 1\n/dev/my-vg/var-lib /var/lib ext4 defaults 0 2\n"}
	files := tree(t, fstab)
	vars := cut(t, files, "var/lib")
	return layout{name: "LVM with /var/lib apart", tree: tree(t, fstab), disks: lvm(t, ext4(t, files, "80M"), ext4(t, vars, "24M")),
		look: func(t *testing.T, l layout) {
			back := t.TempDir()
			volumes := rejoin(t, l.disks)
			rdump(t, volumes[0], back)
			rdump(t, volumes[1], filepath.Join(back, "var/lib"))
			check(t, l, back)
		}}
}
