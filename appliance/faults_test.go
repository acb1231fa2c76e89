//go:build integration

package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clade-vm/clade"
)

// TestRefusals shows a clear verdict for each thing that is wrong with a disk.
func TestRefusals(t *testing.T) {
	cases := []struct {
		name  string
		disks func(t *testing.T) []Disk
		kind  clade.Kind
		text  string
		hint  string
	}{
		{"nothing on it", func(t *testing.T) []Disk { return []Disk{zeros(t)} }, clade.NotFound, "none that clade knows", ""},
		{"marked as having errors", marked, clade.Corrupt, "marked as having errors", "e2fsck -f on disk 0"},
		{"corrupt superblock", scribbled, clade.Corrupt, "cannot be mounted", "e2fsck -f on disk 0"},
		{"locked beside its /boot", lockedRoot, clade.Unsupported, "partition 2 of disk 0 is locked (LUKS)", "inside the running machine"},
		{"hibernated", hibernated, clade.InUse, "partition 2 of disk 0: the guest is hibernated", "shut it down"},
		{"two systems", func(t *testing.T) []Disk {
			return []Disk{{Path: plain(t), Format: Raw}, {Path: plain(t), Format: Raw}}
		}, clade.Invalid, "2 operating systems: 0 (Test Linux 1), 1 (Test Linux 1)", "--system 0"},
		{"the disk with /var is missing", func(t *testing.T) []Disk {
			files := with(map[string]string{"etc/fstab": "UUID=00000000-0000-0000-0000-00000000000b /var ext4 defaults 0 2\n"})
			return []Disk{{Path: ext4(t, grow(t, files, all), "64M"), Format: Raw}}
		}, clade.NotFound, "on none of the disks", "all disks"},
		{"an image that ends too early", truncated, clade.Corrupt, "", "rescue system"},
		{"an image without its tables", beheaded, clade.Corrupt, "cut off", ""},
		{"an unknown mark", func(t *testing.T) []Disk { return nil }, clade.Invalid, "no-such-mark", "lists all marks"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, ctx := boot(t)
			var o Options
			if c.name == "an unknown mark" {
				o.Enable = []string{"no-such-mark"}
			}
			_, err := a.Generalize(ctx, c.disks(t), o, nil)
			if !errors.Is(err, c.kind) || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("Generalize: %v (%s), want %s: ...%s...", err, clade.KindOf(err), c.kind, c.text)
			}
			if hint := clade.HintOf(err); !strings.Contains(hint, c.hint) {
				t.Errorf("the hint is %q, want ...%s...", hint, c.hint)
			}
			orphans(t)
		})
	}
}

func zeros(t testing.TB) Disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "zeros.img")
	if err := os.WriteFile(image, make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	return Disk{Path: image, Format: Raw}
}

func marked(t *testing.T) []Disk {
	image := plain(t)
	command(t, "", "debugfs", "-w", "-R", "ssv state 2", image)
	return []Disk{{Path: image, Format: Raw}}
}

func scribbled(t *testing.T) []Disk {
	image := plain(t)
	patch(t, image, 0x400, make([]byte, 0x38)) // all before the magic number
	return []Disk{{Path: image, Format: Raw}}
}

func locked(t *testing.T) []Disk {
	d := zeros(t)
	patch(t, d.Path, 0, []byte("LUKS\xba\xbe\x00\x02"))
	return []Disk{d}
}

// lockedRoot is a guest with all but /boot encrypted.
func lockedRoot(t *testing.T) []Disk {
	files := grow(t, map[string]string{"vmlinuz-6.1": "x", "grub/grub.cfg": "x"}, all)
	return []Disk{{Path: gpt(t, 24, slice{start: 1, size: 10, content: ext4(t, files, "10M")},
		slice{start: 12, size: 8, content: locked(t)[0].Path}), Format: Raw}}
}

func hibernated(t *testing.T) []Disk {
	swap := zeros(t).Path
	patch(t, swap, 4086, []byte("S1SUSPEND"))
	return []Disk{{Path: mbr(t, 80, 1, slice{start: 1, size: 64, content: plain(t)}, slice{start: 70, size: 2, content: swap}), Format: Raw}}
}

// TestChoice generalizes one of two systems: the disk of the other stays as it is.
func TestChoice(t *testing.T) {
	a, ctx := boot(t)
	disks := []Disk{{Path: plain(t), Format: Raw}, {Path: plain(t), Format: Raw}}
	before := digest(t, disks[0].Path)
	if _, err := a.Generalize(ctx, disks, Options{System: "1"}, nil); err != nil {
		t.Fatal(err)
	}
	gone(t, disks[1].Path)
	if digest(t, disks[0].Path) != before {
		t.Error("the disk of the system that was not chosen was written")
	}
	if _, err := a.Generalize(ctx, disks, Options{System: "2"}, nil); !errors.Is(err, clade.Invalid) || !strings.Contains(fmt.Sprint(err), "0 (Test Linux 1)") {
		t.Errorf("a system that is not there: %v (%s), want invalid, and those that are", err, clade.KindOf(err))
	}
}

func truncated(t *testing.T) []Disk {
	image := filepath.Join(t.TempDir(), "short.qcow2")
	command(t, "", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", plain(t), image)
	st, err := os.Stat(image)
	if err == nil {
		err = os.Truncate(image, st.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
	return []Disk{{Path: image, Format: Qcow2}}
}

func beheaded(t *testing.T) []Disk {
	d := truncated(t)
	if err := os.Truncate(d[0].Path, 4096); err != nil {
		t.Fatal(err)
	}
	return d
}

func patch(t testing.TB, path string, at int64, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, at); err != nil {
		t.Fatal(err)
	}
}

// children returns the processes that this one has started and that still are.
func children() []string {
	var found []string
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		found = append(found, strings.Fields(string(text))...)
	}
	return found
}

// orphans fails the test if a process is left.
func orphans(t *testing.T) {
	t.Helper()
	if left := children(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestCancel(t *testing.T) {
	a, ctx := boot(t)
	if err := a.Hello(ctx, "tcg"); err != nil { // the cache is full from here on
		t.Fatal(err)
	}
	for _, after := range []time.Duration{50 * time.Millisecond, 600 * time.Millisecond} {
		short, cancel := context.WithTimeout(ctx, after)
		began := time.Now()
		err := a.Hello(short, "tcg")
		cancel()
		if !errors.Is(err, clade.Timeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Hello with %v: %v, want a timeout", after, err)
		}
		if took := time.Since(began) - after; took > time.Minute {
			t.Errorf("Hello ended %v after its limit", took)
		}
		orphans(t)
	}
}

// TestPanic gives the VM an init that dies: the console's last lines are the error.
func TestPanic(t *testing.T) {
	a, ctx := boot(t)
	a.Init = build(t, "./testdata/dies")
	err := a.Hello(ctx, "tcg")
	for _, want := range []string{"planted panic", "Attempted to kill init"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Hello: %v, want it to tell %q", err, want)
		}
	}
	orphans(t)
}

func TestTwoAtOnce(t *testing.T) {
	a, ctx := boot(t)
	var wg sync.WaitGroup
	for range 2 {
		image := plain(t)
		wg.Go(func() {
			if _, err := a.Generalize(ctx, []Disk{{Path: image, Format: Raw}}, Options{}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	orphans(t)
}

// TestInUse shows that a disk that another appliance writes to is refused.
func TestInUse(t *testing.T) {
	a, ctx := boot(t)
	disks := []Disk{{Path: plain(t), Format: Raw}}
	err := a.run(ctx, disks, 1, nil, func(*session) error {
		_, err := a.Generalize(ctx, disks, Options{}, nil)
		if !errors.Is(err, clade.InUse) {
			t.Errorf("Generalize of a disk in use: %v, want in use", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
