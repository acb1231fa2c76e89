// Package undo is the stack of what an operation would have to take back: each
// change to the world is followed by the line that undoes it.
//
// Build aside, Add after each change, and either Keep what was made or let the
// deferred Unwind take it back, newest first. The stack lives in memory: what a
// killed process leaves behind is found by the rules in docs/architecture.md.
package undo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// limit bounds all the undoing of one stack, whose own context may have ended.
const limit = 30 * time.Second

// A Stack collects undoings. The zero value is ready. Not safe for concurrent use.
type Stack struct {
	steps []step
}

type step struct {
	what string
	undo func(context.Context) error
}

// Add puts an undoing on the stack; what names it in errors: "remove machines/x".
func (s *Stack) Add(what string, undo func(context.Context) error) {
	s.steps = append(s.steps, step{what, undo})
}

// Keep forgets all undoings: the operation happened.
func (s *Stack) Keep() { s.steps = nil }

// Unwind runs the undoings, newest first, all of them even if some fail, also
// when ctx has ended. It joins their errors to *err, if any. After Keep it does
// nothing, so that it can be deferred:
//
//	var u undo.Stack
//	defer u.Unwind(ctx, &err)
func (s *Stack) Unwind(ctx context.Context, err *error) {
	if len(s.steps) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	for i := len(s.steps) - 1; i >= 0; i-- {
		if e := s.steps[i].undo(ctx); e != nil {
			*err = errors.Join(*err, fmt.Errorf("undo %s: %w", s.steps[i].what, e))
		}
	}
	s.steps = nil
}
