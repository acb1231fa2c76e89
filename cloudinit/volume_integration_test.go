//go:build integration

package cloudinit

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The volume as others read it: dosfstools, util-linux and mtools.
func TestVolumeForOthers(t *testing.T) {
	run := func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(cmd.Environ(), "PATH=/usr/sbin:/sbin:/usr/bin:/bin")
		if cmd.Err != nil {
			if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
				cmd.Path, cmd.Err = path, nil
			} else {
				t.Fatalf("%s is missing: sudo apt-get install dosfstools mtools", name)
			}
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return out
	}
	s := testSeed()
	for _, size := range []int{0, 1, 100_000, int(MaxUserData)} {
		s.UserData = bytes.Repeat([]byte{'#'}, size)
		name := filepath.Join(t.TempDir(), "seed.img")
		if err := s.Write(name); err != nil {
			t.Fatal(err)
		}
		run("fsck.vfat", "-n", "-v", name)
		if tags := string(run("blkid", "-p", "-o", "export", name)); !strings.Contains(tags, "LABEL=CIDATA\n") || !strings.Contains(tags, "TYPE=vfat\n") {
			t.Errorf("blkid says\n%s", tags)
		}
		files, err := s.files()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if got := run("mtype", "-i", name, "::/"+f.name); !bytes.Equal(got, f.data) {
				t.Errorf("mtools reads %d bytes of %s, want %d", len(got), f.name, len(f.data))
			}
		}
	}
}
