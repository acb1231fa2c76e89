package host

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestVerityFix: where the kernel could and the file system does not, the command is
// named; else what else there is to do.
func TestVerityFix(t *testing.T) {
	for _, test := range []struct {
		kind       int64
		able       bool
		found, fix string
	}{
		{unix.EXT4_SUPER_MAGIC, true, "ext4 is without it", "sudo tune2fs -O verity /dev/vda; then clade verify --all"},
		{unix.EXT4_SUPER_MAGIC, false, "kernel is without it", "CONFIG_FS_VERITY"},
		{unix.BTRFS_SUPER_MAGIC, true, "kernel is without it", "CONFIG_FS_VERITY"},
		{unix.XFS_SUPER_MAGIC, true, "file system is without it", "ext4 or btrfs"},
	} {
		found, fix := verityFix(test.kind, test.able, "/dev/vda")
		if !strings.Contains(found, test.found) || !strings.Contains(fix, test.fix) {
			t.Errorf("%x, %v: found %q, fix %q; want %q, %q", test.kind, test.able, found, fix, test.found, test.fix)
		}
	}
}
