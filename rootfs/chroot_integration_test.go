//go:build integration

package rootfs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade/rootfs"
)

const chrootEnv = "CLADE_TEST_CHROOT"

// TestMain is the child of TestResolveAsChroot when it is told so: root of its own
// user namespace, in the chroot, it says where each path on its input ends.
func TestMain(m *testing.M) {
	dir := os.Getenv(chrootEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	var paths []string
	if err := json.NewDecoder(os.Stdin).Decode(&paths); err != nil {
		panic(err)
	}
	if err := unix.Chroot(dir); err != nil {
		panic(err)
	}
	if err := unix.Chdir("/"); err != nil {
		panic(err)
	}
	ends := make([][2]string, len(paths))
	for i, p := range paths {
		for j, stat := range []func(string, *unix.Stat_t) error{unix.Stat, unix.Lstat} {
			var st unix.Stat_t
			ends[i][j] = where(&st, stat(p, &st))
			if ends[i][j] == "inode 0:0" {
				panic("no inode for " + p)
			}
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(ends); err != nil {
		panic(err)
	}
}

// byChroot returns where paths end for a process in a chroot at dir, links in the
// last place followed and not.
func byChroot(t *testing.T, dir string, paths []string) [][2]string {
	t.Helper()
	in, err := json.Marshal(paths)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), chrootEnv+"="+dir)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the child in the chroot: %v (user namespaces off? sysctl -w kernel.unprivileged_userns_clone=1)", err)
	}
	var ends [][2]string
	if err := json.Unmarshal(out, &ends); err != nil {
		t.Fatal(err)
	}
	return ends
}

func compareWithChroot(t *testing.T, f forest, paths []string) {
	t.Helper()
	dir := plant(t, f)
	tree := rootfs.Alone(open(t, dir))
	for i, end := range byChroot(t, dir, paths) {
		p := paths[i]
		if got := byTree(tree, p, true); got != end[0] {
			t.Errorf("Resolve(%q) = %s, in the chroot it is %s", p, got, end[0])
		}
		if _, err := tree.Lstat(p); errors.Is(err, fs.ErrInvalid) {
			continue // a path that is no name
		}
		if got := byTree(tree, p, false); got != end[1] {
			t.Errorf("Lstat(%q) = %s, in the chroot it is %s", p, got, end[1])
		}
	}
}

func TestResolveAsChroot(t *testing.T) {
	compareWithChroot(t, tricky, slices.Concat(paths, guestPaths))
	for seed := range uint64(20) {
		f, paths := randomForest(seed)
		compareWithChroot(t, f, paths)
	}
}
