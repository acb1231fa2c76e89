package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/clade-vm/clade"
)

const (
	maxLine = 4096 // bytes of a line that are looked at
	maxTail = 12   // lines kept for the error
)

// The lines of mmdebstrap, apt and dpkg that tell how far the work has come.
var (
	steps = []struct{ line, step string }{
		{"I: running apt-get update", "read package lists"},
		{"I: downloading packages with apt", "install base system"},
		{"I: installing remaining packages", "install packages"},
		{"I: running special hook: tar-in", "configure"},
		{"I: running special hook: tar-out", "make file system"},
	}
	planned = regexp.MustCompile(`^\d+ upgraded, (\d+) newly installed`)
	fetched = regexp.MustCompile(`^Get:\d+ \S+ \S+ \S+ ([a-z0-9][a-z0-9+.-]*) `)
	doing   = regexp.MustCompile(`^(Unpacking|Setting up) ([a-z0-9][a-z0-9+.-]*)`)
)

// An output reads what mmdebstrap prints: it keeps it in the log, tells the
// progress, and remembers the last lines. It may be written from two goroutines.
type output struct {
	mu    sync.Mutex
	log   io.Writer
	p     clade.Progress
	line  []byte
	tail  []string
	bad   []string // the lines that say an error
	now   clade.Event
	began bool
}

func newOutput(log io.Writer, p clade.Progress) *output { return &output{log: log, p: p} }

// Write takes any piece of the output. A log that cannot be written ends the build.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.log.Write(b); err != nil {
		return 0, err
	}
	for piece := range bytes.SplitAfterSeq(b, []byte("\n")) {
		o.line = append(o.line, piece[:min(len(piece), max(0, maxLine-len(o.line)))]...)
		if bytes.HasSuffix(piece, []byte("\n")) {
			o.take(strings.ToValidUTF8(strings.TrimRight(string(o.line), "\r\n"), "?"))
			o.line = o.line[:0]
		}
	}
	return len(b), nil
}

// take looks at one line.
func (o *output) take(line string) {
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	if len(o.tail) == maxTail {
		o.tail = o.tail[1:]
	}
	o.tail = append(o.tail, line)
	if strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "Err:") || strings.Contains(line, "No space left") {
		if len(o.bad) < maxTail {
			o.bad = append(o.bad, line)
		}
	}
	for _, s := range steps {
		if strings.HasPrefix(line, s.line) {
			o.step(s.step)
			return
		}
	}
	if m := planned.FindStringSubmatch(line); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 64) // digits, or too many: then 0, unknown
		o.now.Done, o.now.Total, o.now.Unit = 0, 2*n, "steps"
	} else if m := fetched.FindStringSubmatch(line); m != nil && o.now.Total > 0 {
		o.tell("download "+m[1], 0)
	} else if m := doing.FindStringSubmatch(line); m != nil {
		o.tell(strings.ToLower(m[1])+" "+m[2], 1)
	}
}

// step ends the step that was, if any, and begins the next.
func (o *output) step(name string) {
	if o.began {
		o.p.Tell(clade.Event{Step: o.now.Step, End: true})
	}
	o.began, o.now = true, clade.Event{Step: name}
	o.p.Tell(o.now)
}

func (o *output) tell(note string, more int64) {
	if !o.began {
		return
	}
	o.now.Note = note
	o.now.Done = min(o.now.Done+more, max(o.now.Total, 0))
	o.p.Tell(o.now)
}

// close ends the last step.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.began {
		o.p.Tell(clade.Event{Step: o.now.Step, End: true})
		o.began = false
	}
}

// explain makes one error out of a failed run.
func (o *output) explain(err error, log string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.bad
	if len(lines) == 0 {
		lines = o.tail
	}
	text := strings.Join(slices.Concat(o.bad, o.tail), "\n")
	known := classify(fmt.Errorf("mmdebstrap: %w: %s", err, strings.Join(lines[:min(len(lines), 4)], "; ")), text)
	if e, ok := errors.AsType[*clade.Error](known); ok && e.Hint == "" {
		e.Hint = "read " + log
	}
	return known
}

// classify gives a tool's error the kind and the hint that its text speaks of.
func classify(err error, text string) error {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("No space left on device", "Disk quota exceeded"):
		return &clade.Error{Kind: clade.NoSpace, Err: err, Hint: "free some space, or set TMPDIR to a directory with more of it"}
	case has("Unable to locate package", "has no installation candidate"):
		return &clade.Error{Kind: clade.Invalid, Err: err, Hint: "correct the packages of the recipe"}
	case has("Could not resolve", "Temporary failure resolving", "Could not connect", "Unable to connect",
		"Connection failed", "Connection refused", "Network is unreachable", "Failed to fetch"):
		return &clade.Error{Kind: clade.Missing, Err: err,
			Hint: "the package mirror does not answer: check the network and http_proxy, or name a mirror in the recipe"}
	case has("NO_PUBKEY", "is not signed", "signatures couldn't be verified", "signatures were invalid"):
		return &clade.Error{Kind: clade.Missing, Err: err, Hint: "sudo apt-get install debian-archive-keyring"}
	case has("Operation not permitted", "Permission denied"):
		return &clade.Error{Kind: clade.Denied, Err: err}
	}
	return &clade.Error{Kind: clade.Internal, Err: err}
}
