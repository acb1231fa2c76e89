//go:build integration

package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade/identity"
)

// late is what a guest wrote last, which is in its journal only.
const late = "fedcba9876543210fedcba9876543210"

// dirtyExt4 has a write to /etc/machine-id in its journal only.
func dirtyExt4(t testing.TB) Disk {
	image := plain(t)
	block := strings.TrimSpace(debugfs(t, image, "bmap /etc/machine-id 0"))
	block = block[strings.LastIndex(block, "\n")+1:]
	content := filepath.Join(t.TempDir(), "block")
	text := make([]byte, 1024)
	copy(text, late+"\n")
	script := filepath.Join(t.TempDir(), "script")
	for path, text := range map[string]string{content: string(text), script: "jo\njw -b " + block + " " + content + "\njc\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "", "debugfs", "-w", "-f", script, image)
	return Disk{Path: image, Format: Raw}
}

// died is a guest whose power failed after it wrote its files: they are known to
// the journal, and nowhere else.
func died(t testing.TB, kind, image string) Disk {
	d := Disk{Path: image, Format: Raw}
	files := grow(t, with(map[string]string{"etc/machine-id": late + "\n"}), all)
	garden(t, "mount "+kind+" 0 /m\nplant root /m\nsync\ndie\n", map[string]string{"root": files}, d)
	return d
}

// diedBtrfs is one that wrote its machine-id last, and waited for it: btrfs has a
// log for such writes.
func diedBtrfs(t testing.TB) Disk {
	d := newBtrfs(t)
	garden(t, "mount btrfs 0 /m\nplant root /m\nsync\nplant late /m\nfsync /m/etc/machine-id\ndie\n", map[string]string{
		"root": grow(t, planted, all), "late": grow(t, map[string]string{"etc/machine-id": late + "\n"}, all),
	}, d)
	return d
}

func emptyXFS(t testing.TB) string {
	image := filepath.Join(t.TempDir(), "xfs.img")
	command(t, "", "mkfs.xfs", "-q", "-d", "file,size=320m,name="+image)
	return image
}

// TestJournals reads guests that were not shut down: what is only in their journals
// is seen, and the disks stay as they are. Generalizing replays them in place.
func TestJournals(t *testing.T) {
	guests := []struct {
		name  string
		disk  Disk
		check []string // what says that the file system is whole
	}{
		{"ext4, a write of debugfs", dirtyExt4(t), []string{"e2fsck", "-fn"}},
		{"ext4, power failed", died(t, "ext4", ext4(t, t.TempDir(), "64M")), []string{"e2fsck", "-fn"}},
		{"XFS, power failed", died(t, "xfs", emptyXFS(t)), []string{"xfs_repair", "-n", "-f"}},
		{"btrfs, power failed", diedBtrfs(t), []string{"btrfs", "check"}},
	}
	var machines [][]Disk
	var before []string
	for _, g := range guests {
		machines, before = append(machines, []Disk{g.disk}), append(before, digest(t, g.disk.Path))
	}
	a, ctx := boot(t)
	results, err := a.Read(ctx, machines, identity.Whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range guests {
		t.Run(g.name, func(t *testing.T) {
			if r := results[i]; r.Err != nil || r.Reading.MachineID != late || len(r.Notes) > 0 {
				t.Errorf("Read: %v, %+v, %q; want the machine-id of the journal, %s", r.Err, r.Reading, r.Notes, late)
			}
			if digest(t, g.disk.Path) != before[i] {
				t.Error("Read wrote to the disk")
			}
			a, ctx := boot(t)
			report, err := a.Generalize(ctx, []Disk{g.disk}, Options{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text := fmt.Sprint(report.Marks); !strings.Contains(text, late) {
				t.Errorf("the machine-id of the journal was not erased: %s", text)
			}
			flat := string(flatten(t, g.disk))
			if strings.Contains(flat, late) {
				t.Error("the machine-id of the journal is still on the disk")
			}
			command(t, "", g.check[0], append(g.check[1:], g.disk.Path)...)
		})
	}
}
