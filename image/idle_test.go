package image

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestToolsAreIdleToo runs, in place of qemu-img, a program that says which classes it
// is of.
func TestToolsAreIdleToo(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho $(ionice -p $$) $(chrt -p $$) >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-img"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	var idly, so error
	Idly(func() { _, idly = tool{}.run(context.Background(), nil) })
	_, so = tool{}.run(context.Background(), nil)
	for text, want := range map[error]bool{idly: true, so: false} {
		if got := strings.Contains(text.Error(), "SCHED_IDLE") && strings.Contains(text.Error(), "idle pid"); got != want {
			t.Errorf("the tool is idle: %v, want %v: %v", got, want, text)
		}
	}
}
