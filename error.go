package clade

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
)

// A Kind says what sort of failure an error is. Kinds are errors themselves, so
// that errors.Is(err, clade.InUse) works through any wrapping and, as they are
// plain strings, also after an error has crossed a process or a network.
type Kind string

// The kinds. Callers branch on these and never on the text of an error.
const (
	Invalid     Kind = "invalid"     // the request itself is wrong: a bad name, flag or file
	NotFound    Kind = "not found"   // the thing named does not exist
	Exists      Kind = "exists"      // the name, address or number is taken
	InUse       Kind = "in use"      // something rests on it, or it runs
	Busy        Kind = "busy"        // another command holds it; the same call may go through later
	NotRunning  Kind = "not running" // the act needs a running machine
	NoSpace     Kind = "no space"    // the file system is full, or would be
	Denied      Kind = "denied"      // the operating system refuses: permissions, read-only
	Missing     Kind = "missing"     // a program, kernel or feature of the computer is not there
	Unsupported Kind = "unsupported" // the driver, the guest or the format cannot do this
	Corrupt     Kind = "corrupt"     // a file is not what was recorded, or not what it says it is
	Unproven    Kind = "unproven"    // generalization or another promise could not be proven
	Conflicting Kind = "conflict"    // both sides changed the same thing, and nobody said whose is taken
	Timeout     Kind = "timeout"     // the limit given for waiting has passed
	Internal    Kind = "internal"    // a bug in clade
)

// Error returns the kind's own words.
func (k Kind) Error() string { return string(k) }

// An Error is what clade says when something cannot be done: what was tried, on
// what, which sort of failure, why, and what the user can do about it.
//
// The zero values of Op, On, Err and Hint are left out of the text.
type Error struct {
	Op   string // the act, one verb: "clone", "start"
	On   string // its subject: "machine web-1", "template debian-12:1"
	Kind Kind
	Err  error  // the cause; may be nil
	Hint string // for people only: what to do; printed by faces, never tested
}

// Error returns "op on: cause" on one line, or the kind where there is no cause.
func (e *Error) Error() string {
	head := strings.TrimSpace(e.Op + " " + e.On)
	tail := string(e.Kind)
	if e.Err != nil {
		tail = strings.ReplaceAll(strings.TrimSpace(e.Err.Error()), "\n", "; ")
	}
	switch {
	case head == "":
		return tail
	case tail == "":
		return head
	}
	return head + ": " + tail
}

// Unwrap gives errors.Is and errors.As both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf returns the kind of the outermost Error in err's chain, "" for nil, and
// for an error of the operating system or of a context the kind that fits it. It
// is Internal for what nobody gave a kind.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	for _, k := range foreign {
		if slices.ContainsFunc(k.errs, func(e error) bool { return errors.Is(err, e) }) {
			return k.kind
		}
	}
	return Internal
}

// foreign says which kind of failure an error of the operating system is.
var foreign = []struct {
	kind Kind
	errs []error
}{
	{Exists, []error{fs.ErrExist}},
	{NotFound, []error{fs.ErrNotExist, syscall.ENOTDIR}},
	{NoSpace, []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}},
	{Denied, []error{fs.ErrPermission, syscall.EROFS}},
	{Corrupt, []error{syscall.EIO}},
	{Invalid, []error{syscall.ENAMETOOLONG, syscall.EISDIR, syscall.EINVAL}},
	{Busy, []error{syscall.EMFILE, syscall.ENFILE}},
	{Timeout, []error{context.DeadlineExceeded, context.Canceled}},
}

// HintOf returns the hint nearest to the user in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
