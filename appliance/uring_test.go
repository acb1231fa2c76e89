package appliance

import (
	"os"
	"strings"
	"testing"
)

// TestUring: a program without the library is not asked to use it; files that are
// written to are not read by it.
func TestUring(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{self, "/etc/passwd", "/none"} {
		if uring(program) {
			t.Errorf("%s is taken for a QEMU with io_uring", program)
		}
	}
	for _, write := range []bool{false, true} {
		nodes, err := blockdevs(0, []link{{path: "/top", format: Qcow2}, {path: "/base", format: Raw}}, write, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range nodes {
			file := strings.Contains(node, `"driver":"file"`)
			only := file && (!write || strings.Contains(node, "/base"))
			if got := strings.Contains(node, "io_uring"); got != only {
				t.Errorf("write %v: %s reads by io_uring: %v, want %v", write, node, got, only)
			}
		}
	}
}
