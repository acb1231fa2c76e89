// Package pool is what a pool of machines is made of that needs no machine: what is
// to be done, given what is wanted and what is there (Plan); sizes by time of day
// (Schedule); names by number (Pattern); how long a claim still lasts on a clock that
// may jump (Clock); the roster of a class; and the declaration of a pool as a file,
// with its schema and what would change (Declaration).
//
// It is pure: no process, no network, no clock of its own. The same arguments give
// the same answer, so that a controller that dies between two steps decides the same
// again.
package pool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clade-vm/clade"
)

// MaxSize is how many machines one pool has at most.
const MaxSize = 10000

// Check fills in the defaults of s and refuses what can be no pool. Kind Invalid.
func Check(s clade.PoolSpec) (clade.PoolSpec, error) {
	bad := func(hint, format string, args ...any) (clade.PoolSpec, error) {
		return s, &clade.Error{Op: "declare", On: "pool " + string(s.Name), Kind: clade.Invalid, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	if _, err := clade.ParseName(string(s.Name)); err != nil {
		return s, err
	}
	s.Kind, s.Policy, s.Names = first(s.Kind, clade.Linked), first(s.Policy, clade.Recreate), first(s.Names, string(s.Name)+"-{n}")
	s.Patience = first(s.Patience, clade.DefaultPatience)
	if !slices.Contains([]clade.Policy{clade.Keep, clade.Reset, clade.Recreate}, s.Policy) {
		return bad("use keep, reset or recreate", "%.40q is no policy", s.Policy)
	}
	if !slices.Contains([]clade.CloneKind{clade.Linked, clade.Instant, clade.Full}, s.Kind) {
		return bad("use linked, instant or full", "%.40q is no kind of clone", s.Kind)
	}
	switch {
	case s.Template.Name == "":
		return bad("give one: --template debian-12:1", "it has no template")
	case s.Size < 0 || s.Size > MaxSize || s.Spares < 0 || s.Spares > MaxSize:
		return bad("", "sizes and spares go from 0 to %d", MaxSize)
	case s.Kind == clade.Full && s.Policy == clade.Reset:
		return bad("use --policy recreate, or linked machines", "full clones rest on nothing they could be reset to")
	case min(s.MaxUnavailable, s.MaxCPUs, s.CPUs) < 0, min(s.Memory, s.DataDisk, s.MaxMemory, s.MaxDisk) < 0, min(s.TTL, s.Patience) < 0:
		return bad("", "numbers below zero mean nothing here")
	}
	if _, err := ParseSchedule(s.Schedule); err != nil {
		return s, err
	}
	if _, err := Pattern(s.Names).name(1); err != nil {
		return s, err
	}
	if !Pattern(s.Names).numbered() {
		return bad("write the number as {n}, or {n:02} for two digits", "the names %q have no number", s.Names)
	}
	return s, nil
}

// Limits refuses a pool that could become larger than its ceilings, given the
// processors, memory and disks of one machine. Kind Invalid.
func Limits(s clade.PoolSpec, cpus int, memory, disk clade.Bytes) error {
	schedule, err := ParseSchedule(s.Schedule)
	if err != nil {
		return err
	}
	n := max(s.Size, schedule.Largest(), s.Spares)
	if most, what := Room(s, cpus, memory, disk); n > most {
		return &clade.Error{Op: "declare", On: "pool " + string(s.Name), Kind: clade.Invalid,
			Err: fmt.Errorf("%d machines are more than its %s allows: %d", n, what, most), Hint: "make it smaller, or raise the ceiling"}
	}
	return nil
}

// Room is how many machines fit below the pool's ceilings, and which is the lowest.
func Room(s clade.PoolSpec, cpus int, memory, disk clade.Bytes) (most int, what string) {
	most, what = MaxSize, "size"
	for _, c := range []struct {
		ceiling, each int64
		what          string
	}{
		{int64(s.MaxCPUs), int64(cpus), "max-cpus"}, {int64(s.MaxMemory), int64(memory), "max-memory"}, {int64(s.MaxDisk), int64(disk), "max-disk"},
	} {
		if c.ceiling > 0 && c.each > 0 && int(c.ceiling/c.each) < most {
			most, what = int(c.ceiling/c.each), c.what
		}
	}
	return most, what
}

// maxPerson bounds what a person is called.
const maxPerson = 120

// CheckPerson refuses what nobody is called: nothing, several lines, control
// characters. Kind Invalid.
func CheckPerson(person string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if person == "" || utf8.RuneCountInString(person) > maxPerson || strings.ContainsFunc(person, odd) || !utf8.ValidString(person) || strings.TrimSpace(person) != person {
		return &clade.Error{Op: "claim for", On: fmt.Sprintf("%.40q", person), Kind: clade.Invalid, Err: errors.New("nobody is called that"),
			Hint: fmt.Sprintf("a person is one line of 1 to %d printable characters", maxPerson)}
	}
	return nil
}

// first returns the first value that is not zero.
func first[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}
