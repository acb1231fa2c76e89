package clade_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
)

func TestErrorText(t *testing.T) {
	cause := errors.New("2 clones rest on it")
	for want, err := range map[string]*clade.Error{
		"remove template t:1: 2 clones rest on it": {Op: "remove", On: "template t:1", Kind: clade.InUse, Err: cause},
		"clone machine a: not found":               {Op: "clone", On: "machine a", Kind: clade.NotFound},
		"in use":                                   {Kind: clade.InUse},
		"start x: one; two":                        {Op: "start", On: "x", Err: errors.New("one\ntwo\n")},
	} {
		if got := err.Error(); got != want {
			t.Errorf("Error() = %q, want %q", got, want)
		}
	}
}

func TestKindOf(t *testing.T) {
	_, notThere := os.Open("/not/there")
	for _, test := range []struct {
		err  error
		want clade.Kind
	}{
		{nil, ""},
		{errors.New("x"), clade.Internal},
		{clade.Busy, clade.Busy},
		{notThere, clade.NotFound},
		{syscall.ENOSPC, clade.NoSpace},
		{fmt.Errorf("write: %w", syscall.EROFS), clade.Denied},
		{context.Canceled, clade.Timeout},
		{fmt.Errorf("a: %w", &clade.Error{Kind: clade.Exists, Err: syscall.ENOENT}), clade.Exists},
	} {
		if got := clade.KindOf(test.err); got != test.want {
			t.Errorf("KindOf(%v) = %q, want %q", test.err, got, test.want)
		}
	}
}

func TestHintOf(t *testing.T) {
	inner := &clade.Error{Kind: clade.Missing, Hint: "inner"}
	outer := &clade.Error{Op: "x", Kind: clade.Missing, Err: fmt.Errorf("wrapped: %w", inner)}
	if got := clade.HintOf(outer); got != "inner" {
		t.Errorf("HintOf = %q, want the only hint there is", got)
	}
	outer.Hint = "outer"
	if got := clade.HintOf(outer); got != "outer" {
		t.Errorf("HintOf = %q, want the one nearest to the user", got)
	}
	if got := clade.HintOf(errors.New("x")); got != "" {
		t.Errorf("HintOf of another error = %q", got)
	}
}
