package qemu

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

const (
	maxTail      = 64 << 10 // bytes read from the end of a log
	maxComplaint = 300      // bytes quoted from it
)

const kvmHint = "KVM is not usable here: clade doctor says why; the accelerator tcg does without"

// failures gives QEMU's words at a start their kinds; the first that fits counts.
var failures = []struct {
	words string
	kind  clade.Kind
	hint  string
}{
	{"another process using the image", clade.Busy, "stop what uses the disk"},
	{`"write" lock`, clade.Busy, "stop what uses the disk"},
	{"kvm kernel module", clade.Unsupported, kvmHint},
	{"failed to initialize kvm", clade.Unsupported, kvmHint},
	{"accelerator kvm", clade.Unsupported, kvmHint},
	{"cannot set up guest memory", clade.NoSpace, "give the machine less memory, or stop others"},
	{"no space left", clade.NoSpace, ""},
	{"no such file or directory", clade.NotFound, ""},
	{"permission denied", clade.Denied, ""},
	{"operation not permitted", clade.Denied, ""},
}

// startFailure says why QEMU ended before it ran the machine, in QEMU's words.
func startFailure(p hypervisor.Place) error {
	said := tail(filepath.Join(p.Dir, qemuLog), maxTail)
	line := complain(said)
	if line == "" {
		line = "it ended without a word"
	}
	e := &clade.Error{Op: "run", On: "QEMU", Kind: clade.Internal, Err: errors.New(line)}
	lower := strings.ToLower(string(said))
	for _, f := range failures {
		if strings.Contains(lower, f.words) {
			e.Kind, e.Hint = f.kind, f.hint
			break
		}
	}
	return e
}

// optionPrefix is what QEMU puts before a complaint about an option: its own
// name, and the option with its value.
var optionPrefix = regexp.MustCompile(`^\S*qemu[^:\s]*: (-[a-z]+ (\{.*\}|\S+): )?`)

// complain returns QEMU's last complaint in one printable line of bounded length:
// the last line that begins with QEMU's name, and what follows it.
func complain(said []byte) string {
	var words []string
	for line := range strings.Lines(string(said)) {
		line = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(line, "")))
		if prefix := optionPrefix.FindString(line); prefix != "" {
			words, line = nil, strings.TrimPrefix(line, prefix)
		}
		if line != "" {
			words = append(words, line)
		}
	}
	text := strings.Join(words, "; ")
	if len(text) > maxComplaint {
		text = strings.ToValidUTF8(text[:maxComplaint], "") + "..."
	}
	return text
}

func printable(r rune) rune {
	if unicode.IsPrint(r) || r == '\t' {
		return r
	}
	return -1
}

// tail returns at most limit bytes from the end of a file, nothing where it
// cannot be read.
func tail(path string, limit int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		if _, err := f.Seek(-limit, io.SeekEnd); err != nil {
			return nil
		}
	}
	data, _ := io.ReadAll(io.LimitReader(f, limit))
	return data
}
