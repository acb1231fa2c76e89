//go:build integration

package appliance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSealedInKernel: a file that clade sealed where the file system has fs-verity is
// opened for writing by nobody, root neither, and a bit that the disk lost below it is
// an error to whoever reads. Where the file system has none, the file is sealed all the
// same, and nothing was measured.
func TestSealedInKernel(t *testing.T) {
	need(t, "mke2fs")
	dir := t.TempDir()
	lay := func(name, size, tool string, args ...string) Disk {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n := map[string]int64{"16M": 16 << 20, "128M": 128 << 20}[size]
		if err := f.Truncate(n); err != nil {
			t.Fatal(err)
		}
		command(t, "", tool, append(args, path)...)
		return Disk{Path: path, Format: Raw}
	}
	disks := []Disk{
		lay("with", "16M", "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "verity"),
		lay("without", "16M", "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^verity"),
		lay("btrfs", "128M", "mkfs.btrfs", "-q"),
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
