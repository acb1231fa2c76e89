package identity

import (
	"errors"
	"io/fs"

	"github.com/clade-vm/clade/rootfs"
)

// An Extent is how much of each mark is looked for. Its text is for the wire.
type Extent string

// The extents.
const (
	// Whole is every place that has a mark: what there is to erase.
	Whole Extent = "whole"
	// Outline is what twins are compared by, and of residue, which has nothing to
	// compare, one place of each mark: which marks a guest has, in half the work.
	Outline Extent = "outline"
)

// Read returns where fsys has any of marks, in their order. It is Mark.Read for each
// of them at the cost of far less: every directory is read once, and the homes are
// worked out once, so that a guest must not change meanwhile.
//
// An error joins those of the marks that cannot be read, each of kind Unproven;
// the findings of all others are returned with it.
func (x Extent) Read(fsys fs.FS, marks []Mark) ([]Finding, error) {
	if t, ok := fsys.(*rootfs.Tree); ok {
		still := t.Still()
		defer still.Release()
		fsys = still
	}
	c := newCache(fsys)
	var all []Finding
	var errs []error
	for _, m := range marks {
		found, err := m.read(c, x)
		all = append(all, found...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}
