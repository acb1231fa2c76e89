// Package debian builds golden masters: from a recipe to a disk image that boots
// by itself, on BIOS and on UEFI.
//
// mmdebstrap installs the packages, as root or as an ordinary user in a user
// namespace; the new system's own tools make its file system and boot loader, so
// that the computer needs no more than mmdebstrap and qemu-img. What is built has
// no identity yet (no machine-id, no host keys) and, on its own, talks to nobody
// but its DHCP server.
//
// The package keeps no cache: the caller names the file by the recipe's digest.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/recipe"
)

// Options say what to build and where.
type Options struct {
	Recipe *recipe.Recipe
	Dst    string // the qcow2 file to make; one that is there is replaced at the end
	Work   string // a directory on Dst's file system, for all that is made on the way
	Log    string // where the output of the tools is kept; empty: Dst with .log, gone after success
}

// A build is one run of Build.
type build struct {
	Options
	dir    string    // inside Work, for this build alone, mode 0700
	raw    string    // the disk while it is made
	root   uuid.UUID // of the root file system
	layout layout
}

// Build makes the disk of a recipe. It takes one to three minutes and some 2 GiB
// of disk space on the way, half of it in the directory for temporary files.
//
// Kinds: Invalid (the recipe, a package that does not exist), Missing (a program,
// or the mirror does not answer), Denied, NoSpace, Unsupported. On any error, and
// when ctx ends, nothing remains but the log, whose last lines the error quotes.
func Build(ctx context.Context, o Options, p clade.Progress) error {
	if err := o.Recipe.Validate(); err != nil {
		return err
	}
	if err := ready(ctx); err != nil {
		return err
	}
	if err := room(o.Work, temp()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.Work, "debian-")
	if err != nil {
		return o.failed(err)
	}
	defer os.RemoveAll(dir)
	b := &build{Options: o, dir: dir, raw: filepath.Join(dir, "disk.raw"), layout: plan(o.Recipe)}
	b.root = uuid.New()
	if b.Log == "" {
		b.Log = o.Dst + ".log"
	}
	if err := b.run(ctx, p); err != nil {
		return o.failed(err)
	}
	if o.Log == "" {
		os.Remove(b.Log)
	}
	return nil
}

// run does the steps in their order.
func (b *build) run(ctx context.Context, p clade.Progress) error {
	if err := b.bootstrap(ctx, p); err != nil {
		return err
	}
	p.Tell(clade.Event{Step: "write boot loader"})
	if err := b.writeBoot(); err != nil {
		return fmt.Errorf("boot loader: %w", err)
	}
	p.Tell(clade.Event{Step: "write boot loader", End: true})
	return b.convert(ctx, p)
}

// failed gives an error its operation and, where it has none, its kind.
func (o *Options) failed(err error) error {
	kind := clade.Internal
	var known *clade.Error
	switch {
	case errors.As(err, &known):
		kind = known.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = clade.Timeout
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = clade.NoSpace
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		kind = clade.Denied
	case errors.Is(err, os.ErrNotExist):
		kind = clade.NotFound
	}
	return &clade.Error{Op: "build", On: string(o.Recipe.Name), Kind: kind, Err: err}
}
