package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
)

func TestHarmless(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"plain\ttext\n", "plain\ttext\n"},
		{"\x1b[32mgreen\x1b[0m", "green"},
		{"\x1b]0;title\aafter", "after"},
		{"\x1b]52;c;aGk=\x1b\\after", "after"},
		{"\x1b]never ends", ""},
		{"\x1bcreset", "reset"},
		{"\x1b", ""},
		{"over\rwrite\b\x00\x7f", "overwrite"},
		{"c1 \u009b31m", "c1 31m"},
		{"bad \xff\xfe utf-8", "bad ? utf-8"},
		{"grüße ✓", "grüße ✓"},
	} {
		if got := harmless(test.text); got != test.want {
			t.Errorf("harmless(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestPlainProgressTellsEachStepOnce(t *testing.T) {
	var out strings.Builder
	b := newBars(&out)
	for _, e := range []clade.Event{{Step: "copy", Done: 1, Total: 9}, {Step: "boot web-1"}, {Step: "copy", Done: 2, Total: 9},
		{Step: "boot web-2\x1b[2J"}, {Step: "copy", End: true}, {Step: "boot web-1", Note: "kernel"}, {Step: "copy", Done: 1}} {
		b.tell(e)
	}
	b.stop()
	if got, want := out.String(), "copy\nboot web-1\nboot web-2\ncopy\n"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestLiveProgress draws several steps at once and leaves a clean screen.
func TestLiveProgress(t *testing.T) {
	var out strings.Builder
	b := newBars(&out)
	b.live = true
	for _, name := range []string{"a", "b", "c"} {
		b.tell(clade.Event{Step: "boot " + name, Note: "wait\x1b[2J\nfor it"})
	}
	b.tell(clade.Event{Step: "copy", Done: int64(clade.GiB), Total: int64(2 * clade.GiB), Unit: "B"})
	b.mu.Lock()
	b.paint()
	b.mu.Unlock()
	b.println("web-1 runs")
	b.tell(clade.Event{Step: "boot a", End: true})
	b.stop()
	b.stop()
	screen := emulate(out.String())
	if screen != "web-1 runs\n" {
		t.Errorf("left on the screen: %q", screen)
	}
	for _, want := range []string{"boot a  wait for it", "boot c", "━━━━━━━━━━━━────────────  50 %  1.00 GiB of 2.00 GiB"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q was never drawn in %q", want, out.String())
		}
	}
}

// emulate is as much of a terminal as bars uses: up, carriage return, erase below.
func emulate(s string) string {
	var lines []string
	for s != "" {
		switch {
		case strings.HasPrefix(s, "\x1b["):
			var up int
			n := strings.IndexAny(s, "AJ")
			for _, c := range s[2:n] {
				up = up*10 + int(c-'0')
			}
			if s[n] == 'A' {
				lines = lines[:len(lines)-up] // erased right after
			}
			s = s[n+1:]
		case s[0] == '\r':
			s = s[1:]
		default:
			line, rest, _ := strings.Cut(s, "\n")
			lines, s = append(lines, line+"\n"), rest
		}
	}
	return strings.Join(lines, "")
}

func TestLinesFitTheScreen(t *testing.T) {
	s := &step{Event: clade.Event{Step: strings.Repeat("long ", 50), Done: 1, Total: 3, Note: "note"}, began: time.Now()}
	if n := len([]rune(s.line(0, 40))); n > 40 {
		t.Errorf("a line has %d columns, want at most 40", n)
	}
}

func TestManyStepsAreCounted(t *testing.T) {
	var out strings.Builder
	b := newBars(&out)
	b.live = true
	for i := range 30 {
		b.tell(clade.Event{Step: "boot " + strings.Repeat("x", i+1)})
	}
	b.mu.Lock()
	b.paint()
	drawn := b.drawn
	b.mu.Unlock()
	b.stop()
	if drawn != maxLines+1 || !strings.Contains(out.String(), "and 22 more") {
		t.Errorf("%d lines drawn: %q", drawn, out.String())
	}
}
