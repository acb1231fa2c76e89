package lab

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/clade-vm/clade"
)

// cleaning is how long the removal of what a run made may take.
const cleaning = 2 * time.Minute

// clean removes what the run made, also when ctx has ended.
func (r *run) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning)
	defer cancel()
	var errs []error
	want := func(err error, except ...clade.Kind) {
		if err != nil && !slices.Contains(except, clade.KindOf(err)) {
			errs = append(errs, err)
		}
	}
	for _, name := range slices.Backward(r.names()) {
		want(r.s.Kill(ctx, name), clade.NotRunning, clade.NotFound)
		_, err := r.s.Remove(ctx, name)
		want(err, clade.NotFound)
	}
	if r.template != (clade.Ref{}) {
		_, err := r.s.RemoveTemplate(ctx, r.template)
		want(err, clade.NotFound)
	}
	if r.network {
		want(r.s.RemoveNetwork(ctx, Network), clade.NotFound)
	}
	return errors.Join(errs...)
}
