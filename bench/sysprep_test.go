//go:build integration

package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade/identity/identitytest"
)

// BenchmarkGeneralize generalizes a Debian image, as it is built and with every
// mark planted, with clade and with virt-sysprep, and logs what each left of the
// planted, as debugfs finds it. It needs guestfs-tools, linux-image-cloud-amd64 and
// a readable kernel in /boot, and builds a master first.
func BenchmarkGeneralize(b *testing.B) {
	if _, err := exec.LookPath("virt-sysprep"); err != nil {
		b.Skip("virt-sysprep is not there: sudo apt-get install guestfs-tools linux-image-cloud-amd64")
	}
	b.Setenv("LIBGUESTFS_BACKEND", "direct")
	b.Setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
	h := &homeful{b, program(b), b.TempDir()}
	h.run("build", "debian-12", "--name", "m", "--network", "none")
	plain := must(filepath.Glob(filepath.Join(h.dir, "machines", "*", "disk*")))[0]
	planted := filepath.Join(b.TempDir(), "planted.qcow2")
	plant(b, plain, planted)
	// Both make their appliance at the first use, and keep it.
	sysprepped(&homeful{b, h.clade, h.dir}, plain)
	b.Run("plain", func(b *testing.B) { race(&homeful{b, h.clade, h.dir}, plain) })
	b.Run("planted", func(b *testing.B) {
		for name, image := range race(&homeful{b, h.clade, h.dir}, planted) {
			left := leftIn(b, image)
			b.Logf("%s left %d of %d: %s", name, len(left), len(identitytest.Plants()), strings.Join(left, " "))
			b.ReportMetric(float64(len(left)), name+"-left")
		}
	})
}

// race generalizes copies of an image with both, in turn, and returns the last ones.
func race(h *homeful, source string) (results map[string]string) {
	var ours, theirs []time.Duration
	for h.Loop() {
		var mine, other time.Duration
		mine, other, results = sysprepped(h, source)
		ours, theirs = append(ours, mine), append(theirs, other)
	}
	report(h.B, 1, ours, theirs, "sysprep")
	return results
}

// sysprepped generalizes a copy of an image with each, and says how long they took.
func sysprepped(h *homeful, source string) (ours, theirs time.Duration, results map[string]string) {
	dir := h.TempDir()
	mine, other := filepath.Join(dir, "mine.qcow2"), filepath.Join(dir, "other.qcow2")
	for _, copied := range []string{mine, other} {
		tool(h.B, "cp", "--sparse=always", source, copied)
		tool(h.B, "sync", copied)
	}
	ours = h.run("generalize", "--image", mine, "--in-place")
	began := time.Now()
	tool(h.B, "virt-sysprep", "-q", "--format", "qcow2", "-a", other)
	return ours, time.Since(began), map[string]string{"clade": mine, "virt-sysprep": other}
}

// plant makes a copy of an image with every mark planted, by debugfs.
func plant(b *testing.B, from, to string) {
	b.Helper()
	dir := b.TempDir()
	raw := filepath.Join(dir, "raw")
	tool(b, "qemu-img", "convert", "-O", "raw", from, raw)
	own := must(exec.Command("debugfs", "-R", "cat /etc/fstab", root(b, raw)).Output())
	var script strings.Builder
	for i, name := range slices.Sorted(maps.Keys(identitytest.Plants())) {
		for file, content := range identitytest.Plants()[name].Files {
			for at := range strings.SplitSeq(parents(file), "\n") {
				fmt.Fprintf(&script, "mkdir %s\n", at)
			}
			if target, is := strings.CutPrefix(content, "->"); is {
				fmt.Fprintf(&script, "symlink /%s %s\n", file, target)
			}
			// What lies below a mount point is not the guest's; debugfs loses count of what it
			// removes by way of a link.
			if !planted(content) || strings.HasPrefix(file, "boot/efi/") || strings.HasPrefix(file, "var/run/") || strings.ContainsAny(file, "\n\" ") {
				continue
			}
			source := filepath.Join(dir, fmt.Sprintf("%d-%s", i, strings.ReplaceAll(file, "/", "-")))
			if file == "etc/fstab" { // without its own lines virt-sysprep finds no root
				content = string(own) + content
			}
			if err := os.WriteFile(source, []byte(content), 0o600); err != nil {
				b.Fatal(err)
			}
			fmt.Fprintf(&script, "rm /%s\nwrite %s /%s\n", file, source, file)
		}
	}
	commands := filepath.Join(dir, "commands")
	if err := os.WriteFile(commands, []byte(script.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	tool(b, "debugfs", "-w", "-f", commands, root(b, raw))
	tool(b, "e2fsck", "-fn", root(b, raw)) // neither would touch a damaged one
	tool(b, "qemu-img", "convert", "-O", "qcow2", raw, to)
	if err := os.Remove(raw); err != nil {
		b.Fatal(err)
	}
}

// planted tells content by which a mark would be known again.
func planted(content string) bool {
	return strings.Contains(content, identitytest.Planted) || strings.Contains(content, identitytest.MachineID)
}

// parents lists the directories above a file, one a line, the highest first.
func parents(file string) string {
	dir := path.Dir(file)
	if dir == "." {
		return ""
	}
	return strings.TrimPrefix(parents(dir)+"\n/"+dir, "\n")
}

// root is the largest partition of a raw disk, as debugfs wants it named.
func root(b *testing.B, raw string) string {
	b.Helper()
	out, err := exec.Command("/usr/sbin/sfdisk", "-J", raw).Output()
	if err != nil {
		b.Fatal(err)
	}
	var table struct {
		PartitionTable struct {
			Partitions []struct{ Start, Size int64 }
		}
	}
	if err := json.Unmarshal(out, &table); err != nil {
		b.Fatal(err)
	}
	var start, size int64
	for _, p := range table.PartitionTable.Partitions {
		if p.Size > size {
			start, size = p.Start, p.Size
		}
	}
	return fmt.Sprintf("%s?offset=%d", raw, start*512)
}

// leftIn names the marks of which debugfs finds something in an image: what was
// planted, or an id that clones would share.
func leftIn(b *testing.B, image string) (left []string) {
	b.Helper()
	raw := filepath.Join(b.TempDir(), "raw")
	tool(b, "qemu-img", "convert", "-O", "raw", image, raw)
	at := root(b, raw)
	cat := func(file string) string {
		out, _ := exec.Command("debugfs", "-R", "cat /"+file, at).Output() // fails where there is none
		return strings.TrimSpace(string(out))
	}
	for _, name := range slices.Sorted(maps.Keys(identitytest.Plants())) {
		for file, content := range identitytest.Plants()[name].Files {
			if planted(content) && planted(cat(file)) {
				left = append(left, name)
				break
			}
		}
	}
	if id := cat("etc/machine-id"); id != "" && id != "uninitialized" {
		left = append(left, "machine-id="+id)
	}
	return left
}
