//go:build integration

package image

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// TestOnFullFileSystem runs itself again in a user namespace, where an ordinary
// user may mount a tmpfs, and fills that.
func TestOnFullFileSystem(t *testing.T) {
	const inside = "CLADE_TEST_FULL_FILE_SYSTEM"
	if os.Getenv(inside) != "" {
		fillFileSystem(t)
		return
	}
	again := exec.Command(os.Args[0], "-test.run=^TestOnFullFileSystem$", "-test.v")
	again.Env = append(os.Environ(), inside+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("in a user namespace (sysctl user.max_user_namespaces must not be 0): %v\n%s", err, out)
	}
}

func fillFileSystem(t *testing.T) {
	src, full := disk(t), t.TempDir()
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=2M"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(full, 0)
	dst := filepath.Join(full, "dst")
	if _, err := Copy(t.Context(), src, dst, nil); !errors.Is(err, clade.NoSpace) {
		t.Errorf("Copy error = %v, want kind NoSpace", err)
	}
	mustBeAbsent(t, dst)
	if _, err := Import(t.Context(), Source{File: src}, dst, nil); !errors.Is(err, clade.NoSpace) {
		t.Errorf("Import error = %v, want kind NoSpace", err)
	}
	mustBeAbsent(t, dst)
	// Landlock, which knew the file, lets go of it a moment after qemu-img is gone.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		space, err := Space(full)
		if err == nil && space == 2*clade.MiB {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("Space after all that = %v, %v, want 2 MiB again", space, err)
		}
	}
	if err := os.WriteFile(filepath.Join(full, "filler"), make([]byte, 2<<20-4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := qcow2.WriteOverlay(dst, qcow2.Overlay{Virtual: clade.GiB}); !errors.Is(err, clade.NoSpace) {
		t.Errorf("WriteOverlay error = %v, want kind NoSpace", err)
	}
	mustBeAbsent(t, dst)
	if err := syscall.Mount("", full, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), Source{File: src}, dst, nil); !errors.Is(err, clade.Denied) {
		t.Errorf("Import into a read-only file system: error = %v, want kind Denied", err)
	}
}
