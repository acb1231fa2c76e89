package undo_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/clade-vm/clade/undo"
)

func TestUnwindRunsNewestFirstDespiteErrorsAndEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	broken, cause := errors.New("broken"), errors.New("cause")
	var order []int
	var s undo.Stack
	for i := range 3 {
		s.Add("step", func(ctx context.Context) error {
			order = append(order, i)
			if ctx.Err() != nil {
				t.Errorf("undoing %d got an ended context", i)
			}
			if i == 1 {
				return broken
			}
			return nil
		})
	}
	err := cause
	s.Unwind(ctx, &err)
	if want := []int{2, 1, 0}; !reflect.DeepEqual(order, want) {
		t.Errorf("order = %v, want %v", order, want)
	}
	if !errors.Is(err, broken) || !errors.Is(err, cause) {
		t.Errorf("Unwind left err = %v, want both the cause and the failed undoing", err)
	}
}

func TestKeepForgets(t *testing.T) {
	var s undo.Stack
	s.Add("never", func(context.Context) error { t.Error("undone after Keep"); return nil })
	s.Keep()
	var err error
	s.Unwind(t.Context(), &err)
	if err != nil {
		t.Errorf("Unwind after Keep = %v, want nil", err)
	}
}
