package cli

import (
	"context"
	"errors"
	"sync"

	"github.com/clade-vm/clade"
)

// atOnce is how many machines one command works on at the same time.
const atOnce = 8

// parseNames reads names from a command line.
func parseNames(args []string) ([]clade.Name, error) {
	names := make([]clade.Name, len(args))
	var errs []error
	for i, arg := range args {
		var err error
		names[i], err = clade.ParseName(arg)
		errs = append(errs, err)
	}
	return names, errors.Join(errs...)
}

// each does one thing for several names at once, all of them whatever happens
// to the others, and returns their errors in the order of the names.
func each(ctx context.Context, names []clade.Name, do func(context.Context, clade.Name) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(names))
	slots := make(chan struct{}, atOnce)
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(ctx, name)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
