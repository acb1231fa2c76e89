package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/live"
)

// A shell is the agent of a guest whose root is a directory: it runs what is run in
// the guest on the host, with that directory for "/".
type shell struct {
	root   string
	path   string // of programs
	sh     string
	notes  string // the program that is given the commands that act on the guest
	said   string // the file it writes them to
	execs  int
	in     int
	out    int
	before func(c *clade.Command) error // may change each command, which does not run on an error
	after  func(e *clade.Exit) error    // may change its answer
}

var _ live.Agent = (*shell)(nil)

// notes writes down what is to be run in the guest, and does what ssh-keygen and
// make-ssl-cert would do there.
const notes = `#!/bin/sh
printf '%s\n' "$*" >>"$0.said"
case $* in
*keygen*) cat /proc/sys/kernel/random/uuid >ROOT/etc/ssh/ssh_host_ed25519_key ;;
*dropbearkey*) cat /proc/sys/kernel/random/uuid >ROOT/etc/dropbear/dropbear_ed25519_host_key ;;
*ssl-cert*) cat /proc/sys/kernel/random/uuid >ROOT/etc/ssl/private/ssl-cert-snakeoil.key ;;
esac
`

// newShell returns the agent of the guest in root. Commands that would act on a
// guest are noted, and not run.
func newShell(t *testing.T, root string) *shell {
	t.Helper()
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(notes, "ROOT", real)), 0o755); err != nil {
		t.Fatal(err)
	}
	return &shell{root: real, path: "/usr/sbin:/usr/bin:/sbin:/bin", sh: "/bin/sh", notes: file, said: file + ".said"}
}

// ran returns the commands that were to act on the guest.
func (s *shell) ran(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(s.said)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// mends reports whether a command is one that changes the guest.
func mends(c *clade.Command) bool { return len(c.Args) == 6 }

func (s *shell) Exec(ctx context.Context, c clade.Command) (*clade.Exit, error) {
	s.execs++
	root := slices.Index(c.Args, "clade") + 1
	if c.Args[0] != "/bin/sh" || root == 0 || c.Args[root] != "/" {
		return nil, errors.New("not a command of the scripts")
	}
	if s.before != nil {
		if err := s.before(&c); err != nil {
			return nil, err
		}
	}
	args := slices.Clone(c.Args)
	args[root] = s.root
	if mends(&c) {
		args[root+1] = s.notes
	}
	cmd := exec.CommandContext(ctx, s.sh, args[1:]...)
	cmd.Dir = s.root
	cmd.Stdin = bytes.NewReader(c.Input)
	cmd.Env = []string{"PATH=" + s.path}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return nil, err
	}
	s.in, s.out = s.in+len(c.Input), s.out+stdout.Len()
	exit := &clade.Exit{Status: cmd.ProcessState.ExitCode(), Out: stdout.Bytes(), Err: stderr.Bytes()}
	if s.after != nil {
		if err := s.after(exit); err != nil {
			return nil, err
		}
	}
	return exit, nil
}

// script runs a command of the guest's own, in its root directory.
func script(s *shell, command string) error {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Dir = s.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s: %w", command, out, err)
	}
	return nil
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// plant writes a file of the guest, in a directory that is there.
func plant(t *testing.T, s *shell, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.root, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
