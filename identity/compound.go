package identity

import (
	"io/fs"
	"slices"
	"strings"
)

// parts is the way of marks whose paths need different ones. The mark's own Paths
// are those of all parts.
type parts []part

type part struct {
	paths []string
	way
}

func (p parts) will() string {
	var all []string
	for _, part := range p {
		if w := part.way.will(); !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	return strings.Join(all, ", ")
}

func (p parts) depends() bool {
	return slices.ContainsFunc(p, func(part part) bool { return part.way.depends() })
}

func (p parts) read(s *search) error {
	mark := s.mark
	defer func() { s.mark = mark }()
	for _, part := range p {
		s.mark.Paths = part.paths
		if err := part.way.read(s); err != nil {
			return err
		}
	}
	return nil
}

func (p parts) erase(g *erasing, m Mark) error {
	for _, part := range p {
		m.Paths = part.paths
		if err := part.way.erase(g, m); err != nil {
			return err
		}
	}
	return nil
}

// when is a way for those guests only of which holds is true.
type when struct {
	holds func(fsys fs.FS) bool
	way
}

func (when) depends() bool { return true }

// read asks for the condition only where there is something: to know that a
// program is there, a directory of thousands is read.
func (w when) read(s *search) error {
	before := len(s.found)
	err := w.way.read(s)
	if (err != nil || len(s.found) > before) && !w.holds(s.fsys) {
		s.found = s.found[:before]
		return nil
	}
	return err
}

func (w when) erase(g *erasing, m Mark) error {
	if !w.holds(g.tree) {
		return nil
	}
	return w.way.erase(g, m)
}
