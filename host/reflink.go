package host

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
)

// sharing is what files of the home have in common with others on a file system
// that lets them (reflink): one stretch of the disk in several files.
type sharing struct {
	of  map[string]clade.Bytes // of machines and layers by id: how much others have too
	all []stretch
}

// A stretch is a piece of the disk that a file of a machine or layer has.
type stretch struct {
	image.Extent
	id string
}

// sharing asks the file system which extents files share. Where it can share none
// no file is asked, since that takes longer than all else.
func (h *Host) sharing(l *ledger) (*sharing, error) {
	s := &sharing{of: map[string]clade.Bytes{}}
	if !image.Reflinks(h.Dir) {
		return s, nil
	}
	for kind, piles := range map[string]map[string]*pile{machinesDir: l.machines, layersDir: l.layers} {
		for id, p := range piles {
			if err := s.add(h.path(kind, id), id, p); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (s *sharing) add(dir, id string, p *pile) error {
	for _, f := range p.files {
		if f.bytes == 0 || strings.HasSuffix(f.name, "/") {
			continue
		}
		list, err := image.SharedExtents(filepath.Join(dir, f.name))
		if err = gone(err); err != nil {
			return err
		}
		for _, e := range list {
			s.all = append(s.all, stretch{e, id})
			s.of[id] += clade.Bytes(e.End - e.Start)
		}
	}
	return nil
}

// groups goes over the disk from its begin to its end and looks at each stretch who
// has it. freed is what only files of one group have, several times: it goes with
// that group, but not with one of its files. twice is how much more all files take
// together than lies on the disk.
func groups[G comparable](s *sharing, group func(id string) G) (freed map[G]clade.Bytes, twice clade.Bytes) {
	type edge struct {
		at    uint64
		by    int // 1 where a stretch begins, -1 where it ends
		group G
	}
	edges := make([]edge, 0, 2*len(s.all))
	for _, e := range s.all {
		g := group(e.id)
		edges = append(edges, edge{e.Start, 1, g}, edge{e.End, -1, g})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	freed = make(map[G]clade.Bytes)
	having, files, last := make(map[G]int), 0, uint64(0)
	for _, e := range edges {
		length := clade.Bytes(e.at - last)
		if files > 1 {
			twice += length * clade.Bytes(files-1)
		}
		// What one file alone has is shared with a file outside the home, which keeps it.
		if files > 1 && len(having) == 1 {
			for g := range having {
				freed[g] += length
			}
		}
		files, last = files+e.by, e.at
		if having[e.group] += e.by; having[e.group] == 0 {
			delete(having, e.group)
		}
	}
	return freed, twice
}
