package image

import (
	"errors"
	"io/fs"

	"github.com/clade-vm/clade"
)

// fault gives an error of the operating system its kind. An error that has one
// keeps it. The path is dropped: callers name the file as the user did.
func fault(err error) error {
	if _, ok := errors.AsType[*clade.Error](err); ok || err == nil {
		return err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &clade.Error{Kind: clade.KindOf(err), Err: e.Err}
	}
	return &clade.Error{Kind: clade.KindOf(err), Err: err}
}
