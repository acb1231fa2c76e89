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
	of  map[string]clade.Bytes // of machines and layers by id, others have none: how much others have too
	all []stretch
}

// A stretch is a piece of the disk that a file of a machine or layer has.
type stretch struct {
	image.Extent
	id      string
	outside bool // not of the home: du does not count it
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
	// Other files may have the same blocks, those of built masters in the cache first
	// of all. They are nobody's who goes.
	for kind, piles := range map[string]map[string]*pile{tmpDir: l.building, arrivedDir: l.arrived} {
		for id, p := range piles {
			if err := s.add(h.path(kind, id), "", p); err != nil {
				return nil, err
			}
		}
	}
	if err := s.add(h.Dir, "", &l.rest); err != nil {
		return nil, err
	}
	inside := len(s.all)
	masters, _ := filepath.Glob(filepath.Join(h.Cache, mastersDir, "*"+qcow2Ext))
	for _, path := range masters {
		if strings.HasPrefix(path, h.Dir+"/") {
			continue
		}
		if err := s.add(filepath.Dir(path), "", &pile{files: []item{{filepath.Base(path), 1}}}); err != nil {
			return nil, err
		}
	}
	for i := range s.all[inside:] {
		s.all[inside+i].outside = true
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
			s.all = append(s.all, stretch{Extent: e, id: id})
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
		at      uint64
		by      int // 1 where a stretch begins, -1 where it ends
		group   G
		outside bool
	}
	edges := make([]edge, 0, 2*len(s.all))
	for _, e := range s.all {
		g := group(e.id)
		edges = append(edges, edge{e.Start, 1, g, e.outside}, edge{e.End, -1, g, e.outside})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	freed = make(map[G]clade.Bytes)
	having, files, strangers, last := make(map[G]int), 0, 0, uint64(0)
	for _, e := range edges {
		length := clade.Bytes(e.at - last)
		if files > 1 {
			twice += length * clade.Bytes(files-1)
		}
		// What one file alone has is shared with a file outside the home, which keeps it.
		if files > 1 && strangers == 0 && len(having) == 1 {
			for g := range having {
				freed[g] += length
			}
		}
		if last = e.at; e.outside {
			strangers += e.by
			continue
		}
		files += e.by
		if having[e.group] += e.by; having[e.group] == 0 {
			delete(having, e.group)
		}
	}
	return freed, twice
}
