//go:build integration

package appliance

import (
	"strings"
	"testing"
	"time"
)

// gone fails the test for each mark that debugfs still finds in an ext4 image.
func gone(t *testing.T, image string) {
	t.Helper()
	for _, file := range []string{"/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key", "/root/.bash_history", "/var/lib/systemd/random-seed"} {
		if out := debugfs(t, image, "stat "+file); !strings.Contains(out, "File not found") {
			t.Errorf("%s is still there: %s", file, out)
		}
	}
	if id := debugfs(t, image, "cat /etc/machine-id"); strings.Contains(id, plantedID) {
		t.Errorf("machine-id is %q, want it empty", id)
	}
	if out := debugfs(t, image, "cat /etc/passwd"); !strings.Contains(out, "root:x:0:0") {
		t.Errorf("passwd is %q, want it kept", out)
	}
	command(t, "", "e2fsck", "-fn", image)
}

func TestGeneralize(t *testing.T) {
	a, ctx := boot(t)
	image := plain(t)
	began := time.Now()
	report, err := a.Generalize(ctx, []Disk{{Path: image, Format: Raw}}, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("took %v", time.Since(began))
	found := map[string]bool{}
	for _, step := range report.Marks {
		found[step.Mark] = len(step.Findings) > 0 && step.Erased
	}
	if !found["machine-id"] || !report.Verified {
		t.Errorf("report %+v: want machine-id found and erased, and verified", report)
	}
	gone(t, image)
}
