package identity

import (
	"errors"
	"io/fs"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
)

// An Eraser erases marks of one guest. It works out the homes once, which no
// mark's erasing changes. Make one with NewEraser.
type Eraser struct{ guest *erasing }

// NewEraser returns an Eraser of marks in t, which stays the caller's to close.
func NewEraser(t *rootfs.Tree) *Eraser { return &Eraser{&erasing{tree: t}} }

// Erase removes the mark; on a guest that is without it, nothing changes. After
// an error the mark may be erased in part, and Erase may be called again. Kinds:
// Unproven, Denied.
func (e *Eraser) Erase(m Mark) error {
	err := m.way.erase(e.guest, m)
	if err == nil {
		return nil
	}
	kind := clade.Unproven
	if errors.Is(err, fs.ErrPermission) {
		kind = clade.Denied
	}
	return &clade.Error{Op: "erase", On: "mark " + m.Name, Kind: kind, Err: printableErr(err)}
}

// erasing is a guest's files while marks are erased. Beside the homes nothing of
// what was read is kept: the next mark meets what the last one has left.
type erasing struct {
	tree  *rootfs.Tree
	homes homeList
}

// match returns the names that pattern matches: see match.
func (g *erasing) match(pattern string) ([]string, error) {
	return matchIn(g.tree, pattern, func() ([]string, error) {
		return g.homes.of(func() ([]string, error) { return newCache(g.tree).homeDirs() })
	})
}

// A homeList is the homes of a guest, worked out once.
type homeList struct {
	known bool
	names []string
	err   error
}

func (h *homeList) of(find func() ([]string, error)) ([]string, error) {
	if !h.known {
		h.known = true
		h.names, h.err = find()
	}
	return h.names, h.err
}
