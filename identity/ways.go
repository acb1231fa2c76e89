package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/clade-vm/clade/rootfs"
)

// remove is the way of marks that are whole files: what the paths match goes. Of a
// path "dir/*" all that is in dir goes, however much it is.
//
// Secrets that are links take what they lead to along: a key that is kept
// elsewhere would otherwise travel.
type remove struct {
	value  func([]byte) string // of a file; nil for the kind's own, "" for one that is not compared
	except []string            // patterns of what another mark has
}

func (remove) will() string { return "remove" }

func (remove) depends() bool { return false }

func (w remove) read(s *search) error {
	value := w.value
	if value == nil {
		value = s.mark.value()
	}
	for _, pattern := range s.mark.Paths {
		if s.mark.Kind == Residue && len(w.except) == 0 && whole(pattern) != "" {
			if err := s.content(whole(pattern)); err != nil {
				return err
			}
			continue
		}
		err := s.each(pattern, func(name string) error {
			if w.spares(name) {
				return nil
			}
			return s.listed(pattern, name, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// spares reports whether another mark has the file of that name.
func (w remove) spares(name string) bool {
	return slices.ContainsFunc(w.except, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// listed records a file until pattern has many, and then only counts.
func (s *search) listed(pattern, name string, value func([]byte) string) error {
	if n := len(s.found); n >= maxListed {
		if last := &s.found[n-1]; last.Path == pattern {
			last.Count++
			return nil
		}
		s.add(Finding{Path: pattern, Count: 1, Note: "and so on"})
		return nil
	}
	return s.file(name, value)
}

// whole returns dir of a pattern "dir/*" that has nothing else to match.
func whole(pattern string) string {
	dir, ok := strings.CutSuffix(pattern, "/*")
	if !ok || strings.ContainsAny(dir, `*?[~`) {
		return ""
	}
	return dir
}

// content records all that is in dir as one finding.
func (s *search) content(dir string) error {
	if s.enough() {
		return nil
	}
	entries, err := rootfs.ReadDir(s.fsys, dir, maxMatches)
	f := Finding{Path: dir + "/*", Count: len(entries)}
	switch {
	case errors.Is(err, rootfs.ErrLimit):
		f.Note = "and more"
	case rootfs.Absent(err):
		return nil
	case err != nil:
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		if s.first {
			break // to add sizes up is to ask for each
		}
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			f.Size += fi.Size()
		}
	}
	s.add(f)
	return nil
}

func (w remove) erase(g *erasing, m Mark) error {
	for _, pattern := range m.Paths {
		if dir := whole(pattern); dir != "" && m.Kind == Residue && len(w.except) == 0 {
			if err := g.tree.Clear(dir); err != nil && !rootfs.Absent(err) {
				return err
			}
			continue
		}
		erase := func(name string) error {
			if w.spares(name) {
				return nil
			}
			return removeOne(g.tree, m, name)
		}
		if err := eachMatch(g, pattern, erase); err != nil {
			return err
		}
	}
	return nil
}

// eachMatch calls fn, which removes what it is given, until nothing matches.
func eachMatch(g *erasing, pattern string, fn func(name string) error) error {
	for {
		names, err := g.match(pattern)
		more := errors.Is(err, rootfs.ErrLimit) && len(names) > 0
		if err != nil && !more {
			return err
		}
		for _, name := range names {
			if err := fn(name); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

func removeOne(t *rootfs.Tree, m Mark, name string) error {
	fi, err := t.Lstat(name)
	if rootfs.Absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.Kind == Secret && fi.Mode()&fs.ModeSymlink != 0 {
		if err := removeTarget(t, name); err != nil {
			return err
		}
	}
	return t.RemoveAll(name)
}

// removeTarget removes the regular file that the link of that name leads to.
func removeTarget(t *rootfs.Tree, name string) error {
	real, err := t.Resolve(name)
	if rootfs.Absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	fi, err := t.Lstat(real)
	if err != nil || !fi.Mode().IsRegular() {
		return err
	}
	return t.Remove(real)
}

// empty is the way of files that must stay, with their owner and mode, and lose
// their content.
type empty struct {
	value func([]byte) string // as that of remove
}

func (empty) will() string { return "empty" }

func (empty) depends() bool { return false }

func (w empty) read(s *search) error {
	value := w.value
	if value == nil {
		value = s.mark.value()
	}
	for _, pattern := range s.mark.Paths {
		err := s.each(pattern, func(name string) error {
			if full, err := hasContent(s.fsys, name); err != nil || !full {
				return err
			}
			return s.listed(pattern, name, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (empty) erase(g *erasing, m Mark) error {
	for _, pattern := range m.Paths {
		names, err := g.match(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if full, err := hasContent(g.tree, name); err != nil {
				return err
			} else if !full {
				continue
			}
			if err := g.tree.Truncate(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasContent reports whether name leads to a regular file that is not empty.
func hasContent(fsys fs.FS, name string) (bool, error) {
	fi, err := fs.Stat(fsys, name)
	if rootfs.Absent(err) {
		return false, nil
	}
	return err == nil && fi.Mode().IsRegular() && fi.Size() > 0, err
}

// reset is the way of a file that must hold something harmless instead.
type reset struct {
	value func(text string) string // what of the text is the mark; "" for none
	to    func(fsys fs.FS) string  // the harmless text; "" for no file at all
}

func (reset) will() string { return "reset" }

func (reset) depends() bool { return false }

func (w reset) read(s *search) error {
	for _, name := range s.mark.Paths {
		fi, err := fs.Lstat(s.fsys, name)
		if rootfs.Absent(err) {
			continue
		}
		if err != nil {
			return err
		}
		data, err := rootfs.ReadFile(s.fsys, name, maxFile)
		switch {
		case errors.Is(err, rootfs.ErrSpecial):
			s.add(Finding{Path: name, Note: "not a regular file"})
		case errors.Is(err, rootfs.ErrLimit):
			s.add(Finding{Path: name, Note: "larger than such files are", Size: fi.Size()})
		case rootfs.Absent(err):
			s.add(Finding{Path: name, Note: "a link that leads nowhere"})
		case err != nil:
			return err
		default:
			if v := w.value(string(data)); v != "" {
				s.add(Finding{Path: name, Value: s.mark.told(v), Size: fi.Size()})
			}
		}
	}
	return nil
}

func (w reset) erase(g *erasing, m Mark) error {
	for _, name := range m.Paths {
		if _, err := g.tree.Lstat(name); rootfs.Absent(err) {
			continue
		} else if err != nil {
			return err
		}
		to := w.to(g.tree)
		if to == "" {
			if err := g.tree.RemoveAll(name); err != nil {
				return err
			}
			continue
		}
		if err := put(g.tree, name, to, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// put writes text to the file that name leads to; what is there and cannot be
// written to (a pipe, a directory, a broken link) goes first.
func put(t *rootfs.Tree, name, text string, perm fs.FileMode) error {
	if fi, err := t.Stat(name); err != nil || !fi.Mode().IsRegular() {
		if err := t.RemoveAll(name); err != nil {
			return err
		}
	}
	return t.WriteFile(name, []byte(text), perm)
}

// edit is the way of text files that hold a mark among other things. Files that
// no program could read as text are passed by.
type edit struct {
	limit int64                                               // bytes of a file; 0 is maxFile
	find  func(fsys fs.FS, name, text string) []string        // the values of the mark
	fix   func(fsys fs.FS, name, text string) (string, error) // the text without it; errGone for no file at all
}

// errGone is what fix says of a file that has no sense without the mark.
var errGone = errors.New("the file goes with the mark")

func (edit) will() string { return "edit" }

// depends: what is a mark in a text may be told by other files.
func (edit) depends() bool { return true }

func (w edit) read(s *search) error {
	for _, pattern := range s.mark.Paths {
		err := s.each(pattern, func(name string) error {
			body, err := textUpTo(s.fsys, name, max(w.limit, maxFile))
			if errors.Is(err, rootfs.ErrLimit) {
				s.add(Finding{Path: name, Note: "larger than such files are"})
				return nil
			}
			if err != nil {
				return err
			}
			for _, v := range w.find(s.fsys, name, body) {
				if len(s.found) < maxListed {
					s.add(Finding{Path: name, Value: s.mark.told(v)})
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w edit) erase(g *erasing, m Mark) error {
	for _, pattern := range m.Paths {
		names, err := g.match(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := w.eraseOne(g.tree, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w edit) eraseOne(t *rootfs.Tree, name string) error {
	body, err := textUpTo(t, name, max(w.limit, maxFile))
	if err != nil || len(w.find(t, name, body)) == 0 {
		return err
	}
	fixed, err := w.fix(t, name, body)
	if err == errGone {
		return t.RemoveAll(name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", printable(name), err)
	}
	return t.WriteFile(name, []byte(fixed), 0o644)
}
