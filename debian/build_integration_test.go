//go:build integration

package debian

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// The disk as others read it: util-linux and dosfstools.
func TestDiskForOthers(t *testing.T) {
	b := draft(t, testRecipe(t, "size: 4G\n"))
	if err := b.writeBoot(); err != nil {
		t.Fatal(err)
	}
	if out := tool(t, "sfdisk", "fdisk", "--verify", b.raw); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk says\n%s", out)
	}
	dump := tool(t, "sfdisk", "fdisk", "--dump", b.raw)
	for _, id := range []string{b.layout.root.id.String(), b.layout.bios.id.String(), b.layout.esp.id.String()} {
		if !strings.Contains(dump, "uuid="+strings.ToUpper(id)) {
			t.Errorf("partition %s is not in\n%s", id, dump)
		}
	}
	esp := b.path("esp.img")
	tool(t, "dd", "coreutils", "if="+b.raw, "of="+esp, "bs=1M", "status=none",
		fmt.Sprintf("skip=%d", b.layout.esp.start>>20), fmt.Sprintf("count=%d", b.layout.esp.size>>20))
	tool(t, "fsck.vfat", "dosfstools", "-n", "-v", esp)
}

// A mirror that refuses is an error that says so, and leaves nothing.
func TestMirrorRefuses(t *testing.T) {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port.Close() // nobody listens there now
	temp, work := t.TempDir(), t.TempDir()
	if err := os.Chmod(filepath.Dir(temp), 0o755); err != nil { // the name space's users must pass
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temp)
	r := testRecipe(t, "mirror: http://"+port.Addr().String()+"/debian\n")
	err = Build(t.Context(), Options{Recipe: r, Dst: filepath.Join(work, "disk.qcow2"), Work: work}, nil)
	if !errors.Is(err, clade.Missing) || !strings.Contains(clade.HintOf(err), "mirror") {
		t.Errorf("error = %v (%s), want %v", err, clade.HintOf(err), clade.Missing)
	}
	for _, dir := range []string{temp, work} {
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(left) > 1 || (len(left) == 1 && !strings.HasSuffix(left[0], ".log")) {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

func TestCheckFindsAll(t *testing.T) {
	for _, c := range Check(t.Context()) {
		if !c.OK || c.Found == "" || c.Fix != "" {
			t.Errorf("%+v", c)
		}
	}
}

// tool runs a program of a package and returns what it prints.
func tool(t *testing.T, name, pkg string, args ...string) string {
	t.Helper()
	path := find(name)
	if path == "" {
		t.Fatalf("%s is missing: sudo apt-get install %s", name, pkg)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}
