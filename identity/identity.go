// Package identity is the list of marks: what twins must not share, and what must
// not travel with a template.
//
// A [Mark] is a value that says what it is, why it matters, where it lies, how it
// is read and how it is erased. [All] is the whole list, one file a family; to add
// a mark is to add a value there. Whatever works on marks (generalize, audit, the
// gate of templates, the documentation) walks this list and no other.
//
// Reading works on any fs.FS, that of a stopped guest's disk or that of a running
// guest, and has bounds everywhere: a guest's files are hostile. Erasing works on
// a rootfs.Tree. The package decides nothing about order, proof or choice.
package identity

import (
	"io/fs"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
)

// A Kind says what is wrong with a mark that two machines share.
type Kind string

// The kinds of marks.
const (
	Conflict Kind = "conflict" // must differ: two machines with the same one disturb each other
	Secret   Kind = "secret"   // must not travel, and is never printed: only its fingerprint is
	Residue  Kind = "residue"  // must not travel: traces of the master's own life
)

// A Mark is one thing that must differ between twins or must not travel.
type Mark struct {
	Name        string   `json:"name"`   // unique, as given to --enable and --disable
	Family      string   `json:"family"` // one of Families
	Kind        Kind     `json:"kind"`
	Why         string   `json:"why"`         // what goes wrong when twins share it
	Source      string   `json:"source"`      // where that can be read: a manual page, a document
	Paths       []string `json:"paths"`       // patterns below the root; "~/" stands for every home
	Where       string   `json:"where"`       // the distributions that have it: "any", "Debian, Ubuntu"
	Default     bool     `json:"default"`     // erased unless the user says otherwise
	Last        bool     `json:"last"`        // erased after all that is not Last
	Regenerates string   `json:"regenerates"` // what makes it anew at the next boot

	// Firstboot is how a guest that does not make it anew by itself is taught to.
	// The zero value is for marks that need no such help.
	Firstboot Piece `json:"-"`

	way way // how it is read and erased
}

// A Finding is one place where a guest has a mark. Path, Value and Note are
// bounded and printable, whatever the guest's files are called or hold.
type Finding struct {
	Mark  string `json:"mark"`
	Path  string `json:"path"`
	Value string `json:"value,omitempty"` // what twins are compared by; of secrets a fingerprint, of residue nothing
	Note  string `json:"note,omitempty"`  // what is odd about it
	Count int    `json:"count,omitempty"` // of files, where Path stands for several
	Size  int64  `json:"size,omitempty"`  // in bytes
}

// A way is how a mark is read and erased. What read finds must be gone after
// erase, and what erase changes must be what read finds.
type way interface {
	read(s *search) error
	erase(t *erasing, m Mark) error
	will() string  // what erase does, for plans: "remove"
	depends() bool // read looks at more of the guest than the mark's own paths
}

// Read returns where fsys has the mark: nothing for a guest that is without it. An
// error, of kind Unproven, means that it cannot be known.
func (m Mark) Read(fsys fs.FS) ([]Finding, error) { return m.read(fsys, Whole) }

func (m Mark) read(fsys fs.FS, extent Extent) ([]Finding, error) {
	s := &search{fsys: fsys, mark: m, first: extent == Outline && m.Kind == Residue}
	if err := m.way.read(s); err != nil {
		return s.found, &clade.Error{Op: "read", On: "mark " + m.Name, Kind: clade.Unproven, Err: printableErr(err)}
	}
	return s.found, nil
}

// ReadAll returns where fsys has any of marks, in their order: Read of Whole.
func ReadAll(fsys fs.FS, marks []Mark) ([]Finding, error) { return Whole.Read(fsys, marks) }

// Erase removes the mark from t; on one that is without it, nothing changes. After
// an error the mark may be erased in part, and Erase may be called again. For many
// marks see Eraser.
func (m Mark) Erase(t *rootfs.Tree) error { return NewEraser(t).Erase(m) }

// Will says in a few words what Erase does: "remove", "empty".
func (m Mark) Will() string { return m.way.will() }

// Depends reports whether it depends on other files than the mark's own whether a
// guest has it: erasing another mark may then bring it to light.
func (m Mark) Depends() bool { return m.way.depends() }

// Find returns the mark of that name.
func Find(name string) (Mark, bool) {
	for _, m := range All() {
		if m.Name == name {
			return m, true
		}
	}
	return Mark{}, false
}
