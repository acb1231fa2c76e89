//go:build integration

package qemu_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qemu"
	"golang.org/x/sys/unix"
)

// typeIn types one key until the guest says what it is to say.
func typeIn(t *testing.T, d *qemu.Driver, p hypervisor.Place, key, want string) {
	t.Helper()
	c, err := d.Console(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := d.Console(t.Context(), p); !errors.Is(err, clade.Busy) {
		t.Errorf("a second console = %v, want %v", err, clade.Busy)
	}
	c.(net.Conn).SetDeadline(time.Now().Add(20 * time.Second))
	// The firmware says something first, and takes no keys: ask until the echo comes.
	said := make(chan string, 1)
	go func() {
		var all strings.Builder
		buf := make([]byte, 100)
		for !strings.Contains(all.String(), "~") {
			n, err := c.Read(buf)
			if err != nil {
				break
			}
			all.Write(buf[:n])
		}
		said <- all.String()
	}()
	ready := false
	for !ready {
		if _, err := io.WriteString(c, "~"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-said:
			ready = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	if _, err := io.WriteString(c, key); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	for {
		if _, err := c.Read(buf); err != nil {
			t.Fatalf("the guest does not say %q: %v", want, err)
		}
		if string(buf) == want {
			return
		}
		if string(buf) != "~" {
			t.Fatalf("the guest says %q, want %q", buf, want)
		}
	}
}

func digest(t *testing.T, path string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// noWriter wants that no process has the file open for writing: the kernel gives no
// read lease of one that is, nor does it check it from then on (fs-verity).
func noWriter(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		t.Errorf("%s has a writer: %v", path, err)
	}
}

// What the guest writes goes to the new heads, and not one bit of the old ones
// changes any more; the chain the machine made is the one the files name.
func TestSwitchMovesWrites(t *testing.T) {
	d, p, s := start(t)
	typeIn(t, d, p, "w", "W")
	var heads []string
	var before [][32]byte
	for _, disk := range s.Disks {
		head := filepath.Join(t.TempDir(), "head.qcow2")
		overlay(t, head, disk.Path)
		heads = append(heads, head)
	}
	pause, err := d.Switch(t.Context(), p, heads)
	if err != nil {
		t.Fatal(err)
	}
	if pause.Frozen || pause.Length > 10*time.Second {
		t.Errorf("pause = %+v", pause)
	}
	for _, disk := range s.Disks {
		before = append(before, digest(t, disk.Path))
		// Nobody may hold the old head for writing: it will be sealed.
		run(t, "qemu-img", "info", disk.Path)
		noWriter(t, disk.Path)
	}
	typeIn(t, d, p, "w", "W")
	for i, disk := range s.Disks {
		if digest(t, disk.Path) != before[i] {
			t.Errorf("disk %d: the old head has changed", i)
		}
		if err := os.Chmod(disk.Path, 0o400); err != nil {
			t.Fatal(err)
		}
		os.Rename(disk.Path, disk.Path+".away") // an open file needs no name
	}
	typeIn(t, d, p, "w", "W")
	for _, disk := range s.Disks {
		os.Rename(disk.Path+".away", disk.Path)
	}
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for i, head := range heads {
		run(t, "qemu-img", "check", "-q", head)
		if out := run(t, "qemu-img", "map", "--output=json", head); !strings.Contains(out, `"depth": 0, "present": true, "zero": false, "data": true`) {
			t.Errorf("disk %d: nothing was written to the new head: %s", i, out)
		}
	}
	sector := filepath.Join(t.TempDir(), "out.raw")
	run(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", heads[1], sector)
	data, err := os.ReadFile(sector)
	if err != nil || data[512] != 0x31 || data[513] != 0xc0 {
		t.Errorf("disk 1 does not hold what the guest wrote: % x, %v", data[512:516], err)
	}
}
