package host

import (
	"fmt"
	"os"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"golang.org/x/sys/unix"
)

// sealing tells whether the kernel can check sealed files in the home.
func (h *Host) sealing() clade.Check {
	c := clade.Check{Name: "fs-verity", OK: image.Verities(h.path(tmpDir)), Found: "the kernel checks what is read of sealed layers"}
	if c.OK {
		return c
	}
	var st unix.Statfs_t
	if err := unix.Statfs(h.Dir, &st); err != nil {
		c.Found = err.Error()
		return c
	}
	c.Found, c.Fix = verityFix(st.Type, exists("/sys/fs/ext4/features/verity"), device(h.Dir))
	return c
}

// verityFix says why files of a file system are not sealed in the kernel, and what to
// do: able says whether the kernel's ext4 could.
func verityFix(kind int64, able bool, device string) (found, fix string) {
	switch {
	case kind == unix.EXT4_SUPER_MAGIC && able:
		found, fix = "the home's ext4 is without it", "sudo tune2fs -O verity "+device+"; then clade verify --all seals the layers there are"
	case kind == unix.EXT4_SUPER_MAGIC || kind == unix.BTRFS_SUPER_MAGIC:
		found, fix = "the kernel is without it", "use a kernel with CONFIG_FS_VERITY, as Debian's is"
	default:
		found, fix = "the home's file system is without it", "put the home on ext4 or btrfs: CLADE_HOME"
	}
	return found + "; a changed layer is found at start and by clade verify", fix
}

// device names the block device of the file system that dir is on.
func device(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return "DEVICE"
	}
	data, _ := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/uevent", unix.Major(st.Dev), unix.Minor(st.Dev)))
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			return "/dev/" + name
		}
	}
	return "DEVICE"
}
