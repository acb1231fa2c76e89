//go:build integration

package appliance

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// lay returns a disk of a size on which a tool made a file system.
func lay(t *testing.T, size int64, tool string, args ...string) Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	command(t, "", tool, append(args, path)...)
	return Disk{Path: path, Format: Raw}
}

// TestHomeInKernel runs the test of the host that needs a kernel which checks sealed
// files, by the hand of a user.
func TestHomeInKernel(t *testing.T) {
	need(t, "mke2fs")
	plot := t.TempDir()
	cmd := exec.Command("go", "test", "-c", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(plot, "host.test"), "../host")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the host's tests: %v: %s", err, text)
	}
	console := garden(t, `mount ext4 0 /with
plant plot /with
mkdir /with/tmp
own /with/tmp 1000 1000
run /with/tmp /with/host.test -test.v -test.timeout 60s -test.run ^TestKernelChecks$
unmount /with
`, map[string]string{"plot": plot}, lay(t, 192<<20, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "verity"))
	if !strings.Contains(console, "--- PASS: TestKernelChecks") {
		t.Errorf("it was not run: %s", console)
	}
}

// TestSealedInKernel: a file that clade sealed where the file system has fs-verity is
// opened for writing by nobody, root neither, and a bit that the disk lost below it is
// an error to whoever reads. Where the file system has none, the file is sealed all the
// same, and nothing was measured.
func TestSealedInKernel(t *testing.T) {
	need(t, "mke2fs")
	disks := []Disk{
		lay(t, 16<<20, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "verity"),
		lay(t, 16<<20, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^verity"),
		lay(t, 128<<20, "mkfs.btrfs", "-q"),
	}
	script := `mount ext4 0 /with
mount ext4 1 /without
mount btrfs 2 /btrfs
`
	for _, at := range []string{"/with", "/without", "/btrfs"} {
		script += strings.ReplaceAll(`write DIR/mine the\x20layer
write DIR/later so\x20far
own DIR/mine 1000 1000
own DIR/later 1000 1000
mode DIR/later 444
seal DIR/mine 1000
seal DIR/mine 1000
seal DIR/later 1000
`, "DIR", at)
	}
	script += `try /with/mine
try /without/mine
try /btrfs/mine
unmount /with
flip 0 the\x20layer
mount ext4 0 /with
try /with/mine
try /with/later
`
	console := garden(t, script, nil, disks...)
	const (
		measured = `"sha256:[0-9a-f]{64}"`
		whole    = `"the layer", <nil>`
	)
	for _, want := range []string{
		"sealed /with/mine 444 " + measured, "sealed /with/later 444 " + measured, "sealed /btrfs/mine 444 " + measured,
		`sealed /without/mine 444 ""`, `sealed /without/later 444 ""`,
		"tried /with/mine write: operation not permitted, read: " + whole, "tried /btrfs/mine write: operation not permitted, read: " + whole,
		"tried /without/mine write: <nil>, read: " + whole, // by root, whom 0444 does not stop
		"flipped 1 of the",
		`tried /with/mine write: operation not permitted, read: "", input/output error`,
		`tried /with/later write: operation not permitted, read: "so far", <nil>`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `\r?$`).MatchString(console) {
			t.Errorf("the console lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(console)
	}
	once := regexp.MustCompile(`sealed (/\w+/mine) 444 (\S+)`).FindAllStringSubmatch(console, -1)
	for i := 0; i+1 < len(once); i += 2 {
		if once[i][2] != once[i+1][2] {
			t.Errorf("%s was measured as %s, then as %s", once[i][1], once[i][2], once[i+1][2])
		}
	}
	if len(once) != 6 {
		t.Errorf("%d seals of mine, want 6", len(once))
	}
}
