package host

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/clade-vm/clade"
)

// verifyNotes is what an interrupted verification leaves, so that the next one of
// the same layers goes on: when it began, and in the middle of which layer it was.
// Layers that came before have the time of it in their records.
type verifyNotes struct {
	path    string
	resumed bool

	Names  []string  `json:"names"` // what is verified; none: all
	Began  time.Time `json:"began"`
	Layer  string    `json:"layer,omitempty"`
	Facts  [4]int64  `json:"facts"`  // of its file: they must not have changed
	Offset int64     `json:"offset"` // how much of it is hashed
	Hash   []byte    `json:"hash,omitempty"`
}

// verifyNotes reads the notes, or begins new ones where there are none of the same
// layers, or from the start is asked for. Notes that cannot be read are none: they
// are not synced, and a lost one costs time only.
func (h *Host) verifyNotes(spec clade.VerifySpec) *verifyNotes {
	names := slices.Sorted(slices.Values(spec.Names))
	n := &verifyNotes{path: h.path(verifyFile)}
	data, err := os.ReadFile(n.path)
	if err == nil && !spec.Again && json.Unmarshal(data, n) == nil && slices.Equal(n.Names, names) && !n.Began.IsZero() {
		n.resumed = true
		return n
	}
	n = &verifyNotes{path: n.path, Names: names, Began: time.Now().UTC()}
	n.save()
	return n
}

func (n *verifyNotes) save() {
	if data, err := json.Marshal(n); err == nil {
		_ = os.WriteFile(n.path, data, 0o600)
	}
}

func (n *verifyNotes) remove() error {
	if err := os.Remove(n.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// in notes how far the hash of a layer is.
func (n *verifyNotes) in(l *clade.Layer, offset int64, hash []byte) {
	n.Layer, n.Facts, n.Offset, n.Hash = l.ID, factsOf(l), offset, hash
	n.save()
}

func factsOf(l *clade.Layer) [4]int64 {
	return [4]int64{int64(l.Size), int64(l.Inode), l.Modified, l.Changed}
}
