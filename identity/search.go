package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clade-vm/clade/rootfs"
)

// The bounds of reading.
const (
	maxFile    = 1 << 20 // bytes of one file that are looked at
	maxMatches = 10_000  // files that one pattern may match
	maxListed  = 200     // findings that are told one by one, for one pattern
	maxShown   = 200     // characters of a value or a path that are shown
)

// A search is the reading of one mark.
type search struct {
	fsys  fs.FS
	mark  Mark
	first bool // one place is enough
	found []Finding
}

// enough reports whether no more places need to be found.
func (s *search) enough() bool { return s.first && len(s.found) > 0 }

// add records a finding; its texts may be as the guest has them.
func (s *search) add(f Finding) {
	f.Mark, f.Path, f.Value = s.mark.Name, printable(f.Path), printable(f.Value)
	s.found = append(s.found, f)
}

// each calls fn for every name that pattern matches. Beyond maxMatches it records
// one finding for those it does not look at. It ends where the search has enough.
func (s *search) each(pattern string, fn func(name string) error) error {
	if s.enough() {
		return nil
	}
	names, err := match(s.fsys, pattern)
	if err != nil && (len(names) == 0 || !errors.Is(err, rootfs.ErrLimit)) {
		return err
	}
	for _, name := range names {
		if err := fn(name); err != nil || s.enough() {
			return err
		}
	}
	if err != nil {
		s.add(Finding{Path: pattern, Note: fmt.Sprintf("more than %d files", len(names))})
	}
	return nil
}

// match returns the names that pattern matches, that of every home if it begins
// with "~/".
func match(fsys fs.FS, pattern string) ([]string, error) {
	return matchIn(fsys, pattern, func() ([]string, error) { return newCache(fsys).homeDirs() })
}

func matchIn(fsys fs.FS, pattern string, homes func() ([]string, error)) ([]string, error) {
	rest, ok := strings.CutPrefix(pattern, "~/")
	if !ok {
		return glob(fsys, ".", pattern, maxMatches)
	}
	dirs, err := homes()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, home := range dirs {
		names, err := glob(fsys, home, rest, maxMatches)
		all = append(all, names...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// literal returns a pattern that matches name only.
func literal(name string) string { return patternEscapes.Replace(name) }

var patternEscapes = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// file records the file of that name, with what value makes of its content where
// the mark is not residue.
func (s *search) file(name string, value func([]byte) string) error {
	fi, err := fs.Stat(s.fsys, name)
	switch {
	case rootfs.Absent(err):
		s.add(Finding{Path: name, Note: "a link that leads nowhere"})
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		s.add(Finding{Path: name, Note: "a directory"})
		return nil
	case !fi.Mode().IsRegular():
		s.add(Finding{Path: name, Note: "not a regular file"})
		return nil
	}
	f := Finding{Path: name, Size: fi.Size()}
	if s.mark.Kind == Residue {
		s.add(f)
		return nil
	}
	data, err := rootfs.ReadFile(s.fsys, name, maxFile)
	switch {
	case errors.Is(err, rootfs.ErrLimit):
		f.Note, f.Value = "larger than such files are", fingerprint(data)
	case err != nil:
		return err
	case len(data) == 0:
		f.Note = "empty"
	default:
		f.Value = value(data)
	}
	s.add(f)
	return nil
}

// text returns what of the file of that name can be read as text: "" if there is
// none that a program in the guest could read either.
func text(fsys fs.FS, name string) (string, error) { return textUpTo(fsys, name, maxFile) }

func textUpTo(fsys fs.FS, name string, limit int64) (string, error) {
	data, err := rootfs.ReadFile(fsys, name, limit)
	if rootfs.Absent(err) || errors.Is(err, rootfs.ErrSpecial) {
		return "", nil
	}
	return string(data), err
}

// exists reports whether a guest has any of names, links followed.
func exists(fsys fs.FS, names ...string) bool {
	for _, name := range names {
		if _, err := fs.Stat(fsys, name); err == nil {
			return true
		}
	}
	return false
}

// plain is the value of a small text: the text itself, or a fingerprint.
func plain(data []byte) string {
	line := bytes.TrimSpace(data)
	if len(line) == 0 || len(line) > maxShown || printable(string(line)) != string(line) {
		return fingerprint(data)
	}
	return string(line)
}

// value is how the mark's kind tells a content: secrets never as they are.
func (m Mark) value() func([]byte) string {
	if m.Kind == Conflict {
		return plain
	}
	return fingerprint
}

// told is what a finding says of the text v: nothing of residue, and of secrets
// only what tells two of them apart.
func (m Mark) told(v string) string {
	if m.Kind == Residue {
		return ""
	}
	return m.value()([]byte(v))
}

// fingerprint tells contents apart without telling them.
func fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// printable returns s as it can be shown on a terminal and kept in JSON: quoted
// like a Go string where it holds anything else than graphic characters, and cut
// where it is long.
func printable(s string) string {
	clean := utf8.ValidString(s)
	for _, r := range s {
		clean = clean && unicode.IsPrint(r)
	}
	if !clean {
		s = strings.Trim(strconv.QuoteToASCII(s[:min(len(s), 4*maxShown)]), `"`)
	}
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown]) + "..."
	}
	return s
}

// printableErr makes an error about a guest's file fit to be shown.
func printableErr(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: e.Op, Path: printable(e.Path), Err: e.Err}
	}
	return err
}
