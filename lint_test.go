//go:build !lab

package clade_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestLint runs the linters over everything: with all build tags, and the compiler's
// part also without, which is how the unit tests are built.
func TestLint(t *testing.T) {
	if testing.Short() {
		t.Skip("lint is not part of -short")
	}
	files, err := exec.Command("gofmt", "-l", ".").CombinedOutput()
	if err != nil || len(files) > 0 {
		t.Errorf("gofmt -l: %v\n%s", err, files)
	}
	const tags = "integration,lab"
	for _, args := range [][]string{{"vet", "./..."}, {"vet", "-tags=" + tags, "./..."}, {"tool", "staticcheck", "-tags=" + tags, "./..."}} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
