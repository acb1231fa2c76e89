//go:build integration

package host_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
)

// TestOnFullDisk runs itself again in a user namespace, where an ordinary user may
// mount a file system of a few megabytes, and does each act in a home on it with
// less and less room. It succeeds, or says that there is no space and has not
// happened; and with room again the home is whole.
func TestOnFullDisk(t *testing.T) {
	const inside = "CLADE_TEST_FULL_DISK"
	if os.Getenv(inside) != "" {
		onFullDisk(t)
		return
	}
	again := exec.Command(os.Args[0], "-test.run=^TestOnFullDisk$", "-test.v")
	again.Env = append(os.Environ(), inside+"=1", "TMPDIR="+t.TempDir())
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := again.CombinedOutput()
	if err != nil {
		t.Fatalf("in a user namespace (sysctl user.max_user_namespaces must not be 0): %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "fulldisk_test.go") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

func onFullDisk(t *testing.T) {
	disk := newDrive(t)
	mounted := os.Getenv("TMPDIR")
	if err := syscall.Mount("tmpfs", mounted, "tmpfs", 0, "size=48M"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mounted, syscall.MNT_DETACH) })
	r := rigged(t, disk)
	if err := r.steps(suffering); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, o := range ordeals {
		for _, room := range []int64{0, 8 << 10, 64 << 10, 300 << 10} {
			failed, err := r.cramped(o, room, filepath.Join(mounted, "filler"))
			if err != nil {
				t.Fatalf("%s in %d KiB: %v", o.act, room>>10, err)
			}
			if failed {
				refused++
				t.Logf("refused with %d KiB: %s", room>>10, o.act)
			}
		}
	}
	if t.Logf("%d times there was no room", refused); refused < len(ordeals) {
		t.Error("the disk was hardly ever full")
	}
	if err := errors.Join(r.same(r.model), r.steps([]string{"kill r1", "kill d1"}), r.h.Close()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", mounted, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Open(t.Context(), attacked(r.dir)); !errors.Is(err, clade.Denied) {
		t.Errorf("the home on a read-only file system opens with %v, want kind Denied", err)
	}
	if err := syscall.Mount("", mounted, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	h, err := host.Open(t.Context(), attacked(r.dir))
	if err != nil {
		t.Fatal(err)
	}
	r.h = h
}

// cramped does an act with that much room on the disk.
func (r *rig) cramped(o ordeal, room int64, filler string) (failed bool, err error) {
	if err := r.steps(o.before); err != nil {
		return false, err
	}
	if err := fill(filler, room); err != nil {
		return false, err
	}
	acted := r.do(o.act)
	if err := os.Remove(filler); err != nil {
		return false, err
	}
	next := r.model.clone()
	want := next.apply(o.act)
	failed = clade.KindOf(acted) != want
	// The stand-in for the appliance has no kinds.
	if failed && !errors.Is(acted, clade.NoSpace) && !strings.Contains(acted.Error(), "No space left") && !strings.Contains(o.act, "promote r1") {
		return true, fmt.Errorf("want kind NoSpace: %w", acted)
	}
	if err := r.recover(o.act); err != nil {
		return failed, err
	}
	if err := r.either(o.act, next, failed); err != nil {
		return failed, fmt.Errorf("%v: %w", acted, err)
	}
	return failed, r.steps(o.after)
}

// fill writes a file as large as leaves that much room.
func fill(path string, room int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &st); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return syscall.Fallocate(int(f.Fd()), 0, 0, max(int64(st.Bavail)*st.Bsize-room, 4096))
}

// TestFewOpenFiles does acts in processes that may have only so many files open.
func TestFewOpenFiles(t *testing.T) {
	r := rigged(t, newDrive(t))
	if err := r.steps(suffering); err != nil {
		t.Fatal(err)
	}
	refused, done := 0, 0
	for _, o := range ordeals {
		if !slices.Contains([]string{"full c1 x", "snapshot c1 s", "promote c1", "generalize c1", "export c1 b9.clade"}, o.act) {
			continue
		}
		for limit := 8; limit < 26; limit += 2 {
			if err := r.steps(o.before); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			cmd := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, limit), os.Args[0], "as-command", r.dir, "0", o.act)
			cmd.Stderr = &said
			out, err := cmd.Output()
			next := r.model.clone()
			want := next.apply(o.act)
			_, kind, opened := strings.Cut(string(out), "kind ")
			failed := !opened || clade.Kind(strings.TrimSpace(kind)) != want
			if failed && !strings.Contains(said.String(), "too many open files") && !strings.Contains(said.String(), "Too many open files") && !strings.Contains(said.String(), "unable to open database file") {
				t.Errorf("%s with %d files: %s (%v): %s", o.act, limit, kind, err, said.String())
			}
			if refused++; !failed {
				refused, done = refused-1, done+1
			}
			if err := r.recover(o.act); err != nil {
				t.Fatal(err)
			}
			if err := r.either(o.act, next, failed); err != nil {
				t.Fatalf("%s with %d files: %s; %v", o.act, limit, said.String(), err)
			}
			if err := r.steps(o.after); err != nil {
				t.Fatal(err)
			}
		}
	}
	if refused == 0 || done == 0 {
		t.Errorf("%d acts were refused and %d done, want some of both", refused, done)
	}
	t.Logf("%d acts were refused, %d done", refused, done)
}
