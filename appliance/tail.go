package appliance

import (
	"strings"
	"sync"
	"unicode"
)

// A tail keeps the last limit bytes written to it, at times twice as many. It never
// blocks and never fails. Safe for concurrent use.
type tail struct {
	limit int
	mu    sync.Mutex
	buf   []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - t.limit; over > t.limit {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// last returns the last n lines that hold something, as one line without control
// characters: what a guest writes must not reach a terminal as it is.
func (t *tail) last(n int) string {
	lines := t.lines(func(string) bool { return true })
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// telling returns the lines that tell why a kernel died, or else the last ones.
func (t *tail) telling() string {
	lines := t.lines(func(line string) bool {
		return strings.Contains(line, "panic") || strings.Contains(line, "BUG") || strings.Contains(line, "Oops") ||
			strings.Contains(line, "ut of memory") || strings.HasPrefix(line, "clade")
	})
	if len(lines) == 0 {
		return t.last(6)
	}
	return strings.Join(lines[max(0, len(lines)-6):], " | ")
}

func (t *tail) lines(want func(string) bool) []string {
	var lines []string
	for line := range strings.Lines(t.String()) {
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return -1
		}, line))
		if line != "" && want(line) {
			lines = append(lines, line)
		}
	}
	return lines
}
