package debian

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

const transcript = `I: running apt-get update...
Get:1 http://mirror bookworm InRelease [151 kB]
I: downloading packages with apt...
I: installing remaining packages inside the chroot...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://mirror bookworm/main amd64 libfoo1 amd64 1.0-1 [10 kB]
Unpacking libfoo1:amd64 (1.0-1) ...
Unpacking web (2.0) ...
Setting up libfoo1:amd64 (1.0-1) ...
Setting up web (2.0) ...
I: running special hook: tar-in '/x' /
`

func TestOutputTellsProgress(t *testing.T) {
	var log strings.Builder
	var events []clade.Event
	o := newOutput(&log, func(e clade.Event) { events = append(events, e) })
	for i := 0; i < len(transcript); i += 7 { // lines come in pieces
		if _, err := o.Write([]byte(transcript[i:min(i+7, len(transcript))])); err != nil {
			t.Fatal(err)
		}
	}
	o.close()
	if log.String() != transcript {
		t.Errorf("log = %q", log.String())
	}
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprintf("%s|%s|%d/%d|%v", e.Step, e.Note, e.Done, e.Total, e.End))
	}
	want := []string{
		"read package lists||0/0|false",
		"read package lists||0/0|true",
		"install base system||0/0|false",
		"install base system||0/0|true",
		"install packages||0/0|false",
		"install packages|download libfoo1|0/4|false",
		"install packages|unpacking libfoo1|1/4|false",
		"install packages|unpacking web|2/4|false",
		"install packages|setting up libfoo1|3/4|false",
		"install packages|setting up web|4/4|false",
		"install packages||0/0|true",
		"configure||0/0|false",
		"configure||0/0|true",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOutputIsBounded(t *testing.T) {
	var log strings.Builder
	o := newOutput(&log, nil)
	fmt.Fprint(o, strings.Repeat("x", 1<<20))
	if len(o.line) > maxLine {
		t.Errorf("%d bytes of a line are kept, want at most %d", len(o.line), maxLine)
	}
	for range 1000 {
		fmt.Fprintln(o, "\nE: bad\xff")
	}
	if len(o.tail) > maxTail || len(o.bad) > maxTail {
		t.Errorf("%d and %d lines are kept", len(o.tail), len(o.bad))
	}
}

func TestExplain(t *testing.T) {
	exit := errors.New("exit status 1")
	for _, tt := range []struct {
		line, quoted string
		kind         clade.Kind
		hint         string
	}{
		{"E: Unable to locate package vmi", "vmi", clade.Invalid, "recipe"},
		{"Err:1 http://mirror bookworm InRelease\n  Could not resolve 'mirror'", "Err:1", clade.Missing, "network"},
		{"E: Failed to fetch http://mirror/  Connection refused", "refused", clade.Missing, "network"},
		{"tar: x: Cannot write: No space left on device", "No space", clade.NoSpace, "TMPDIR"},
		{"E: The repository 'http://mirror bookworm' is not signed.", "not signed", clade.Missing, "debian-archive-keyring"},
		{"something odd", "something odd", clade.Internal, "/the/log"},
	} {
		var log strings.Builder
		o := newOutput(&log, nil)
		fmt.Fprintln(o, tt.line)
		err := o.explain(exit, "/the/log")
		if clade.KindOf(err) != tt.kind || !errors.Is(err, exit) {
			t.Errorf("%q: kind = %v, want %v", tt.line, clade.KindOf(err), tt.kind)
		}
		if !strings.Contains(err.Error(), tt.quoted) || !strings.Contains(clade.HintOf(err), tt.hint) {
			t.Errorf("%q: error = %q, hint %q", tt.line, err, clade.HintOf(err))
		}
	}
}
