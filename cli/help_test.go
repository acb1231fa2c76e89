package cli_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/cli"
)

var verb = regexp.MustCompile(`(?m)^  ([a-z]+) {2,}\S`)

// helpOf returns a verb's help, printed without opening a home.
func helpOf(t *testing.T, path ...string) string {
	t.Helper()
	var out strings.Builder
	status := cli.Run(t.Context(), append(path, "--help"), cli.Env{In: strings.NewReader(""), Out: &out, Err: &out,
		Services: func(context.Context, string) (clade.Services, error) {
			t.Errorf("help of %q opens the home", path)
			return nil, errors.New("no home")
		}})
	if status != 0 {
		t.Errorf("help of %q ends with status %d", path, status)
	}
	return out.String()
}

// TestEveryVerbIsExplained walks all verbs from the overview.
func TestEveryVerbIsExplained(t *testing.T) {
	seen := 0
	var walk func(path ...string)
	walk = func(path ...string) {
		help := helpOf(t, path...)
		text, _, _ := strings.Cut(help, "Usage:")
		if len(strings.TrimSpace(text)) < 30 {
			t.Errorf("clade %s --help explains nothing: %q", strings.Join(path, " "), text)
		}
		if !strings.Contains(help, "Examples:\n  clade") {
			t.Errorf("clade %s --help has no example", strings.Join(path, " "))
		}
		seen++
		verbs, _, _ := strings.Cut(help, "\nFlags:")
		if at := strings.Index(verbs, "Examples:"); at >= 0 {
			_, verbs, _ = strings.Cut(verbs[at:], "\n\n")
		}
		for _, m := range verb.FindAllStringSubmatch(verbs, -1) {
			if m[1] != "help" && m[1] != "completion" {
				walk(append(path, m[1])...)
			}
		}
	}
	walk()
	if seen < 30 {
		t.Errorf("only %d verbs were found", seen)
	}
	walk("dial")
}
