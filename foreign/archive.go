package foreign

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/clade-vm/clade"
)

const maxMembers = 512

// An archive is an OVA: a tar of a description, checksums and disks.
type archive struct {
	f           *os.File
	name        string // of the description's member
	description []byte
	sums        checksums        // nil for none
	members     map[string]int64 // lengths, by name
}

// openArchive looks through an OVA and keeps its description and checksums. It
// takes over f where it succeeds.
func openArchive(f *os.File) (*archive, error) {
	a := &archive{f: f, members: make(map[string]int64)}
	var sums []byte
	err := a.each(func(name string, r *tar.Reader, size int64) (err error) {
		if _, twice := a.members[name]; twice {
			return refusal(clade.Corrupt, "it has the member %.100q twice", name)
		}
		if a.members[name] = size; len(a.members) > maxMembers {
			return refusal(clade.Corrupt, "it has more than %d members", maxMembers)
		}
		switch strings.ToLower(path.Ext(name)) {
		case ".ovf":
			if a.description != nil {
				return refusal(clade.Unsupported, "it has two descriptions, %.100q and %.100q", a.name, name)
			}
			a.name = name
			a.description, err = io.ReadAll(io.LimitReader(r, int64(MaxDescription)+1))
		case ".mf":
			if sums != nil {
				return refusal(clade.Corrupt, "it has checksums twice")
			}
			sums, err = io.ReadAll(io.LimitReader(r, maxChecksums+1))
		}
		return err
	})
	switch {
	case err != nil && len(a.members) == 0 && clade.KindOf(err) == clade.Internal, err == nil && a.description == nil:
		return nil, refusal(clade.Invalid, "it is neither XML nor an OVA: there is no description in it")
	case err != nil:
		return nil, damage(err)
	case sums != nil:
		a.sums, err = readChecksums(bytes.NewReader(sums))
	}
	return a, err
}

// proveDescription proves the description, and says where nothing proves anything.
func (a *archive) proveDescription(m *Machine) error {
	if a.sums == nil {
		m.note("there are no checksums")
		return nil
	}
	if err := a.sums.prove(a.name, a.description); err != nil {
		return err
	}
	for name := range a.members {
		if strings.EqualFold(path.Ext(name), ".cert") {
			m.note("the signature in it is not checked")
		}
	}
	return nil
}

// each calls do for every member, all of which must be plain files that lie beside
// each other. What is not read is passed over by seeking.
func (a *archive) each(do func(name string, r *tar.Reader, size int64) error) error {
	if _, err := a.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for r := tar.NewReader(a.f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeDir && name == "" {
			continue // what tar makes of "."
		}
		if !plainName(name) {
			return refusal(clade.Corrupt, "the member %.200q lies elsewhere", h.Name)
		}
		if h.Typeflag != tar.TypeReg || sparse(h) {
			return refusal(clade.Corrupt, "the member %.200q is no plain file", h.Name)
		}
		if err := do(name, r, h.Size); err != nil {
			return err
		}
	}
}

// sparse says whether a member is longer than what the archive holds of it.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// damage gives an error of reading the archive its kind.
func damage(err error) error {
	switch {
	case clade.KindOf(err) != clade.Internal:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return hinted(clade.Corrupt, "fetch or copy it again", "it is cut off")
	}
	return refusal(clade.Corrupt, "its archive is damaged: %s", text(err.Error()))
}

// extract copies a member to a new file in dir and proves it.
func (a *archive) extract(ctx context.Context, name, dir string, p clade.Progress) (file string, err error) {
	size, there := a.members[name]
	if !there {
		return "", refusal(clade.Corrupt, "it is not in the archive")
	}
	w, err := os.CreateTemp(dir, "disk-*"+strings.ToLower(filepath.Ext(name)))
	if err != nil {
		return "", err
	}
	defer func() {
		if e := w.Close(); err == nil {
			err = e
		}
		if err != nil {
			err = errors.Join(err, os.Remove(w.Name()))
		}
	}()
	check, to := (*proof)(nil), io.Writer(w)
	if a.sums != nil {
		if check, err = a.sums.proof(name); err != nil {
			return "", err
		}
		to = io.MultiWriter(w, check)
	}
	err = a.each(func(member string, r *tar.Reader, _ int64) error {
		if member != name {
			return nil
		}
		return transfer(ctx, to, r, clade.Event{Step: "unpack", Note: name, Total: size, Unit: "B"}, p)
	})
	if err != nil {
		return "", damage(err)
	}
	if check != nil {
		err = check.prove()
	}
	return w.Name(), err
}
