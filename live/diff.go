package live

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/clade-vm/clade/rootfs"
)

// A change is what erasing did to one file of a double.
type change struct {
	name string
	kind changeKind
	acts []act
}

type changeKind int

const (
	added     changeKind = iota // it was not there
	rewritten                   // it holds something else
	taken                       // it is gone, or empty
)

// changes returns the difference between m and d, which was made of it: first what
// is added, then what is rewritten, then what is taken. It fails where the difference
// is not to be had by what m knows.
func (d *double) changes(m *mirror) ([]change, error) {
	if same, err := d.untouched(d.unread); err != nil || !same {
		return nil, unproven("the way of a link is not known that had to be followed (%v)", err)
	}
	found, err := d.compare(".", m.root)
	slices.SortStableFunc(found, func(a, b change) int { return int(a.kind - b.kind) })
	return found, err
}

// compare returns the changes in a directory.
func (d *double) compare(dir string, n *node) ([]change, error) {
	now, err := d.list(dir)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(now)
	for base := range n.inside {
		all[base] = true
	}
	var found []change
	for _, base := range slices.Sorted(maps.Keys(all)) {
		name, child := path.Join(dir, base), n.inside[base]
		if isHidden(name) {
			continue
		}
		if !now[base] {
			if err := n.mayLose(name, child); err != nil {
				return nil, err
			}
		}
		more, err := d.compareOne(name, child, now[base])
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// list returns the names in a directory, as keys.
func (d *double) list(dir string) (map[string]bool, error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	names := map[string]bool{}
	for _, e := range entries {
		if dir != "." || e.Name() != d.unread {
			names[e.Name()] = true
		}
	}
	return names, err
}

// mayLose refuses what cannot be removed from the directory n.
func (n *node) mayLose(name string, child *node) error {
	switch {
	case n.cut:
		return unproven("there are too many files beside /%.200q to find all that are to be removed", name)
	case child.mode.IsDir() && child.device != n.device:
		return unproven("/%.200q is to be removed, and something is mounted there", name)
	}
	return nil
}

// compareOne returns the changes of one file, which was n or was not there, and of
// what is in it.
func (d *double) compareOne(name string, n *node, is bool) ([]change, error) {
	if !is {
		return []change{{name, taken, []act{remove(name)}}}, nil
	}
	fi, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return d.added(name, fi)
	}
	type_ := fi.Mode().Type()
	switch {
	case n.mode.IsDir() && fi.IsDir():
		return d.compare(name, n)
	case n.mode.IsRegular() && fi.Mode().IsRegular():
		return d.compareFile(name, n, fi)
	case n.mode.Type() == fs.ModeSymlink && type_ == fs.ModeSymlink:
		if target, err := d.root.Readlink(name); err != nil || target == d.target(n) {
			return nil, err
		}
	case !n.mode.IsRegular() && !n.mode.IsDir() && type_ == fs.ModeNamedPipe:
		return nil, nil
	}
	more, err := d.added(name, fi)
	if err != nil {
		return nil, err
	}
	for i := range more {
		more[i].kind = rewritten
	}
	more[0].acts = append([]act{remove(name)}, more[0].acts...)
	return more, nil
}

// added returns what makes a file, and what is in it.
func (d *double) added(name string, fi fs.FileInfo) ([]change, error) {
	switch fi.Mode().Type() {
	case 0:
		data, err := d.root.ReadFile(name)
		return []change{{name, added, write(name, fi.Mode(), data)}}, err
	case fs.ModeSymlink:
		target, err := d.root.Readlink(name)
		return []change{{name, added, []act{makeLink(name, target)}}}, err
	case fs.ModeDir:
		inside, err := d.compare(name, &node{})
		return append([]change{{name, added, []act{makeDir(name, fi.Mode())}}}, inside...), err
	}
	return nil, fmt.Errorf("%.200q: %w", name, rootfs.ErrSpecial)
}

// compareFile returns the change of a regular file that is one still.
func (d *double) compareFile(name string, n *node, fi fs.FileInfo) ([]change, error) {
	if same, err := d.untouched(name); err != nil || same {
		return nil, err
	}
	data, err := d.root.ReadFile(name)
	if err != nil || (n.known && len(n.data) <= maxFile && bytes.Equal(data, n.data)) {
		return nil, err
	}
	kind := rewritten
	if len(data) == 0 {
		kind = taken
	}
	return []change{{name, kind, write(name, n.mode, data)}}, nil
}

// untouched reports whether a file is the one that was made, with all in it: a tree
// writes a new file, or truncates.
func (d *double) untouched(name string) (bool, error) {
	fi, err := d.root.Lstat(name)
	if err != nil {
		return false, err
	}
	was := d.made[name]
	return was != nil && os.SameFile(was, fi) && fi.ModTime().Equal(long), nil
}
