// Package live is the marks of a running guest: read and renewed through its agent.
//
// A command in a guest costs a tenth of a second, whatever it does, so that nothing
// here is asked for file by file. The marks are read in a mirror: a tree of files
// in memory that notes what it is asked for and does not know. What is noted is
// fetched with one command, and the marks are read again, until the mirror misses
// nothing. [Read] writes not a byte in the guest.
//
// [Mend] erases marks in a copy of the mirror, by the code that erases them on a
// disk, and carries the difference into the guest. It makes anew at once what a
// boot would make, reads everything again, and fails closed where a value is what
// it was.
//
// What a boot makes (/dev, /proc, /run, /sys) is seen empty: it is on no disk and is
// lost at the next boot. What a program of the guest holds in memory stays there
// until that program starts again.
//
// The guest needs /bin/sh, and find, xargs, stat, tar and head: GNU's, or busybox. Its
// answers are hostile: bounded, and never more than what was asked for.
package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

// An Agent runs commands in a guest; hypervisor.Guest is one.
type Agent interface {
	Exec(ctx context.Context, c clade.Command) (*clade.Exit, error)
}

// The bounds of one guest.
const (
	maxRounds  = 60              // of asking, each with a few commands; each goes one directory deeper at least
	maxEntries = 120_000         // files that are known by name
	maxBytes   = 64 << 20        // of answers
	maxFile    = 1 << 20         // bytes of one file
	readWait   = 2 * time.Minute // for one command that reads
)

// Read reads marks in the running guest. Not a byte of it is written. The findings
// are in the order of the marks.
//
// Kinds: Unproven (a mark cannot be read, or the guest's answers are not to be
// believed), Unsupported (the guest lacks a program that is needed), Timeout, and
// those of the agent.
func Read(ctx context.Context, g Agent, marks []identity.Mark) ([]identity.Finding, error) {
	found, err := readMarks(ctx, newMirror(g), marks)
	if err != nil {
		return nil, explained("read the marks of", err)
	}
	return found, nil
}

// readMarks reads marks in m until it misses nothing.
func readMarks(ctx context.Context, m *mirror, marks []identity.Mark) ([]identity.Finding, error) {
	m.want(likely(marks)...)
	var found []identity.Finding
	err := m.settle(ctx, func() error {
		found = nil
		var errs []error
		for _, mark := range marks { // one by one: the cache of identity.ReadAll would ask a directory at a time
			f, err := mark.Read(m)
			found = append(found, f...)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	return found, err
}

// settle calls look until it finds all that it asks m for. What look does and
// returns before that is of no meaning.
func (m *mirror) settle(ctx context.Context, look func() error) error {
	for range maxRounds {
		if len(m.missing) > 0 {
			if err := m.fetch(ctx); err != nil {
				return err
			}
		}
		err := look()
		if len(m.missing) == 0 {
			return err
		}
	}
	return unproven("it is asked for ever more files: %d so far", m.entries)
}

// explained gives err its op, and a kind where it has none.
func explained(op string, err error) error {
	e := &clade.Error{Op: op, On: "the running guest", Kind: clade.KindOf(err), Err: err}
	if e.Kind == clade.Internal {
		e.Kind = clade.Unproven
	}
	return e
}

func unproven(format string, args ...any) error {
	return &clade.Error{Kind: clade.Unproven, Err: fmt.Errorf(format, args...)}
}
