package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/clade-vm/clade"
)

func TestExpand(t *testing.T) {
	for _, test := range []struct {
		pattern string
		count   int
		want    string // the names, or the kind of the error
	}{
		{"web-{n}", 3, "[web-1 web-2 web-3]"},
		{"web-{n:03}", 2, "[web-001 web-002]"},
		{"{n:02}-{n}", 2, "[01-1 02-2]"},
		{"web-{n:01}", 1, "[web-1]"},
		{"web", 1, "[web]"},
		{"web", 2, "invalid"},
		{"web-{n:3}", 2, "invalid"},
		{"web-{n:00}", 1, "invalid"},
		{"web-{m}", 1, "invalid"},
		{"web-{n", 1, "invalid"},
		{"Web-{n}", 1, "invalid"},
		{"web-{n}-", 1, "invalid"},
		{"", 1, "invalid"},
		{"web-{n}", 0, "invalid"},
		{"web-{n}", -1, "invalid"},
		{"web-{n}", maxClones + 1, "invalid"},
	} {
		names, err := expand(test.pattern, test.count)
		got := fmt.Sprint(names)
		if err != nil {
			got = string(clade.KindOf(err))
		}
		if got != test.want {
			t.Errorf("expand(%q, %d) = %s, want %s", test.pattern, test.count, got, test.want)
		}
		if err != nil && !errors.Is(err, clade.Invalid) {
			t.Errorf("expand(%q, %d): %v is not of kind invalid", test.pattern, test.count, err)
		}
	}
	many, err := expand("a{n:05}", maxClones)
	if err != nil || len(many) != maxClones || many[maxClones-1] != "a10000" {
		t.Errorf("the largest number: %d names, %v", len(many), err)
	}
}
