//go:build integration

package cloudinit

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A guest is a directory in which the hook finds disks and an fstab of its own; its
// blkid and mkfs are the real ones, on plain files.
type guest struct {
	*testing.T
	dir string
}

func newGuest(t *testing.T) *guest {
	g := &guest{t, t.TempDir()}
	for name, text := range map[string]string{
		"sys/block/vdb/serial": "abc-1\n",
		"etc/fstab":            "UUID=1 / ext4 defaults 0 1", // without a last newline
		"bin/mountpoint":       "#!/bin/sh\ngrep -qx \"$2\" " + g.dir + "/mounted 2>/dev/null\n",
		"bin/mount":            "#!/bin/sh\nfor last; do :; done; echo \"$last\" >>" + g.dir + "/mounted\n",
		"bin/restorecon":       "#!/bin/sh\n",
	} {
		path := filepath.Join(g.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// disk makes the data disk's device, with b at its start.
func (g *guest) disk(b []byte) string {
	path := filepath.Join(g.dir, "dev", "vdb")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		g.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		g.Fatal(err)
	}
	if err := os.Truncate(path, 64<<20); err != nil {
		g.Fatal(err)
	}
	return path
}

// boot runs the hook and returns what it said.
func (g *guest) boot() (string, error) {
	s := Seed{Disks: []Disk{{"abc-1", "home", "/data/home"}}}
	hook := strings.NewReplacer("/sys/block", g.dir+"/sys/block", "/dev/$", g.dir+"/dev/$", "/etc/fstab", g.dir+"/etc/fstab",
		`mkdir -p "`, `mkdir -p "`+g.dir).Replace(s.hook())
	cmd := exec.Command("/bin/sh")
	cmd.Stdin = strings.NewReader(hook)
	cmd.Env = []string{"PATH=" + g.dir + "/bin:/usr/sbin:/sbin:/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (g *guest) file(name string) string {
	b, _ := os.ReadFile(filepath.Join(g.dir, name))
	return string(b)
}

func tool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `PATH=/usr/sbin:/sbin:/usr/bin:/bin; exec "$@"`, "sh")
	cmd.Args = append(cmd.Args, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestHookFormatsEmptyDisksOnce: at the first boot the disk gets its file system
// and its line in fstab; at the next ones both stay as they are.
func TestHookFormatsEmptyDisksOnce(t *testing.T) {
	g := newGuest(t)
	disk := g.disk(nil)
	if out, err := g.boot(); err != nil {
		t.Fatalf("the first boot: %v\n%s", err, out)
	}
	if tags := tool(t, "blkid", "-p", "-o", "export", disk); !strings.Contains(tags, "LABEL=home\n") || !strings.Contains(tags, "TYPE=ext4\n") {
		t.Errorf("the disk holds %q, want ext4 labelled home", tags)
	}
	want := "UUID=1 / ext4 defaults 0 1\nLABEL=home /data/home auto defaults,nofail,x-systemd.device-timeout=10s 0 2\n"
	if got := g.file("etc/fstab"); got != want || g.file("mounted") != "/data/home\n" {
		t.Errorf("fstab = %q, want %q; mounted %q", got, want, g.file("mounted"))
	}
	before := g.file("dev/vdb")
	if err := os.Remove(filepath.Join(g.dir, "mounted")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // not mounted by the guest itself; mounted
		if out, err := g.boot(); err != nil || out != "" {
			t.Errorf("the next boot: %v\n%s", err, out)
		}
	}
	if g.file("dev/vdb") != before || g.file("etc/fstab") != want || g.file("mounted") != "/data/home\n" {
		t.Errorf("the next boots changed the disk, fstab (%q) or what is mounted (%q)", g.file("etc/fstab"), g.file("mounted"))
	}
}

// TestHookNeverFormatsWhatHoldsSomething: not another file system, not a part of
// LVM, not what only its owner knows.
func TestHookNeverFormatsWhatHoldsSomething(t *testing.T) {
	noise := make([]byte, 4096)
	_, _ = rand.Read(noise)
	for about, fill := range map[string]func(disk string){
		"another label": func(disk string) { tool(t, "mkfs.ext4", "-q", "-L", "other", disk) },
		"another type":  func(disk string) { tool(t, "mkfs.vfat", disk) },
		"swap":          func(disk string) { tool(t, "mkswap", disk) },
		"partitions":    func(disk string) { tool(t, "sh", "-c", "echo ,8M | sfdisk -q "+disk) },
		"part of a mirror": func(disk string) { // the superblock of old md arrays lies at the end
			super := binary.LittleEndian.AppendUint32(nil, 0xa92b4efc)
			for _, word := range []uint32{0, 90, 0, 0, 1, 0, 1, 65472, 2, 2} {
				super = binary.LittleEndian.AppendUint32(super, word)
			}
			f, err := os.OpenFile(disk, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(super, 64<<20-64<<10); err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
		},
		"noise": nil,
		"empty lines": func(disk string) {
			tool(t, "sh", "-c", `printf '\n\n' | dd conv=notrunc status=none bs=1 seek=500000 of=`+disk)
		},
	} {
		g := newGuest(t)
		disk := g.disk(map[bool][]byte{true: noise}[fill == nil])
		if fill != nil {
			fill(disk)
		}
		before := []byte(g.file("dev/vdb"))
		out, _ := g.boot()
		if !bytes.Equal([]byte(g.file("dev/vdb")), before) {
			t.Errorf("%s: the disk was changed\n%q", about, out)
		}
	}
}

// TestHookLeavesFstabToTheUser: a line for the label or the directory is kept, and
// one that is commented out keeps the disk from being mounted.
func TestHookLeavesFstabToTheUser(t *testing.T) {
	for _, line := range []string{"LABEL=home /mine auto ro 0 0\n", "/dev/vdb /data/home ext4 ro 0 0\n", "#LABEL=home /data/home auto defaults 0 0\n"} {
		g := newGuest(t)
		g.disk(nil)
		if err := os.WriteFile(filepath.Join(g.dir, "etc/fstab"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := g.boot()
		mounted := g.file("mounted")
		if err != nil || g.file("etc/fstab") != line || (mounted != "") != strings.HasPrefix(line, "/dev") {
			t.Errorf("with %q: %v, fstab is %q, mounted %q\n%s", line, err, g.file("etc/fstab"), mounted, out)
		}
	}
}

// TestHookSaysWhatFails: so that cloud-init does.
func TestHookSaysWhatFails(t *testing.T) {
	g := newGuest(t)
	if err := os.RemoveAll(filepath.Join(g.dir, "sys")); err != nil {
		t.Fatal(err)
	}
	if out, err := g.boot(); err == nil || !strings.Contains(out, "no disk has the serial abc-1") {
		t.Errorf("without the disk: %v, said %q", err, out)
	}
}
