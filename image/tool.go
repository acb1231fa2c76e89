package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/clade-vm/clade"
)

// output bounds what is kept of what qemu-img prints.
const output = 64 << 10

// A tool is one run of qemu-img. A file in files is handed over open, for
// reading, and named by handle; paths in allow can be opened by name.
type tool struct {
	args  []string
	files []*os.File
	allow []access
	event clade.Event // progress goes out as this, Done in proportion to Total
}

// handle returns the name under which qemu-img finds the i-th open file.
func handle(i int) string { return fmt.Sprintf("/proc/self/fd/%d", 3+i) }

// A node is a disk image as qemu-img is to open it: with its format, and resting
// on what we say. A nil Backing becomes null: it rests on nothing, whatever its
// header says.
type node struct {
	Driver  Format  `json:"driver"`
	File    storage `json:"file"`
	Backing *node   `json:"backing"`
}

type storage struct {
	Driver   string `json:"driver"`
	Filename string `json:"filename"`
}

// stored returns the node of the file that QEMU finds under the given name.
func stored(format Format, filename string, backing *node) node {
	return node{format, storage{"file", filename}, backing}
}

// String returns the name of n for qemu-img's command line.
func (n node) String() string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings and pointers always marshal
	}
	return "json:" + string(b)
}

// run runs qemu-img and returns what it printed. Where it fails the error has a
// kind, and says in qemu-img's words, without its names for our files, why.
func (t tool) run(ctx context.Context, p clade.Progress) ([]byte, error) {
	path, err := exec.LookPath("qemu-img")
	if err != nil {
		return nil, &clade.Error{Op: "run", On: "qemu-img", Kind: clade.Missing, Err: errors.New("not installed"),
			Hint: "apt-get install qemu-utils"}
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	allow := append([]access{{path, mayRun}}, t.allow...)
	for _, f := range t.files {
		allow = append(allow, access{fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mayRead})
	}
	var stdout, stderr head
	cmd := exec.CommandContext(ctx, path, t.args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.ExtraFiles = t.files
	cmd.Stdout = io.MultiWriter(&stdout, &percent{event: t.event, tell: p})
	cmd.Stderr = &stderr
	cmd.WaitDelay = 5 * time.Second
	err = runConfined(cmd, allow)
	switch exit, ended := errors.AsType[*exec.ExitError](err); {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, &clade.Error{Kind: clade.Timeout, Err: context.Cause(ctx)}
	case !ended:
		return nil, fault(err)
	default:
		kind, text := explain(stderr.String())
		if text == "" {
			text = "qemu-img: " + exit.Error()
		}
		return stdout.Bytes(), &failure{exit.ExitCode(), &clade.Error{Kind: kind, Err: errors.New(text)}}
	}
}

// A failure is qemu-img's exit status and what we make of it.
type failure struct {
	status int
	error
}

func (f *failure) Unwrap() error { return f.error }

// cause returns what qemu-img said, without its kind.
func (f *failure) cause() error {
	if e, ok := errors.AsType[*clade.Error](f.error); ok {
		return e.Err
	}
	return f.error
}

// explain makes one line of what qemu-img said, and finds its kind. The words are
// those of the C library in the C locale and of QEMU.
func explain(stderr string) (clade.Kind, string) {
	kind := clade.Corrupt
	for _, sign := range []struct {
		words string
		kind  clade.Kind
	}{
		{"No space left on device", clade.NoSpace},
		{"File too large", clade.NoSpace},
		{"Disk quota exceeded", clade.NoSpace},
		{"Too many open files", clade.Busy},
		{"Permission denied", clade.Denied},
		{"Read-only file system", clade.Denied},
		{"Is another process using the image", clade.InUse},
		{"not supported", clade.Unsupported},
		{"unsupported", clade.Unsupported},
		{"nknown driver", clade.Missing},
	} {
		if strings.Contains(stderr, sign.words) {
			kind = sign.kind
			break
		}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	line = strings.TrimPrefix(line, "qemu-img: ")
	if rest, found := strings.CutPrefix(line, "Could not open 'json:"); found {
		if _, reason, found := strings.Cut(rest, "}': "); found {
			line = reason
		}
	}
	return kind, strings.ToValidUTF8(line[:min(len(line), 300)], "?")
}

// A head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(b []byte) (int, error) {
	h.Buffer.Write(b[:min(len(b), output-h.Len())])
	return len(b), nil
}

// A percent turns qemu-img's "(12.34/100%)" into events.
type percent struct {
	event clade.Event
	tell  clade.Progress
	line  []byte
}

func (w *percent) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c == '(':
			w.line = w.line[:0]
		case c == '/':
			if f, err := strconv.ParseFloat(string(w.line), 64); err == nil && f >= 0 && f <= 100 {
				w.event.Done = int64(f / 100 * float64(w.event.Total))
				w.tell.Tell(w.event)
			}
		case len(w.line) < 16:
			w.line = append(w.line, c)
		}
	}
	return len(b), nil
}
