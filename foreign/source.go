package foreign

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// A Source is a machine elsewhere: its description and where its disks are.
type Source struct {
	Machine *Machine

	path    string
	archive *archive  // nil where the description is a file of its own
	sums    checksums // nil for none
}

// headBytes are enough to tell XML from an archive.
const headBytes = 1 << 10

// Open reads the description in the file path: libvirt's XML, an OVF, or an OVA.
// The caller closes the Source.
//
// Kinds: those of Libvirt and OVF; Corrupt also for an archive that is cut off,
// damaged, holds members that are no plain files, or is not what its checksums say;
// NotFound, Denied.
func Open(path string) (*Source, error) {
	s := &Source{path: path}
	if err := s.open(); err != nil {
		s.Close()
		return nil, about("read", path, err)
	}
	return s, nil
}

func (s *Source) open() error {
	f, err := openRegular(s.path, 0)
	if err != nil {
		return err
	}
	head := make([]byte, headBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return errors.Join(err, f.Close())
	}
	head = bytes.TrimSpace(bytes.TrimPrefix(head[:n], []byte("\xef\xbb\xbf")))
	if !bytes.HasPrefix(head, []byte("<")) {
		s.archive, err = openArchive(f)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		s.sums = s.archive.sums
		s.Machine, err = OVF(bytes.NewReader(s.archive.description))
		if err == nil {
			err = s.archive.proveDescription(s.Machine)
		}
		return err
	}
	defer f.Close()
	if s.Machine, err = describe(f); err != nil || filepath.IsAbs(s.Machine.Disks[0].File) {
		return err
	}
	return s.readSums()
}

// describe reads the description that has the right root element.
func describe(f *os.File) (*Machine, error) {
	data, err := io.ReadAll(io.LimitReader(f, int64(MaxDescription)+1))
	if err != nil {
		return nil, err
	}
	switch name := rootName(data); name {
	case "domain":
		return Libvirt(bytes.NewReader(data))
	case "Envelope":
		return OVF(bytes.NewReader(data))
	default:
		return nil, hinted(clade.Invalid, "virsh dumpxml NAME writes the one, an export of VirtualBox or VMware the other",
			"it is neither a libvirt domain nor an OVF description: its root is %.40q", name)
	}
}

// rootName is the name of the root element.
func rootName(data []byte) string {
	for d := xml.NewDecoder(bytes.NewReader(data)); ; {
		token, err := d.Token()
		if err != nil {
			return ""
		}
		if start, ok := token.(xml.StartElement); ok {
			return start.Name.Local
		}
	}
}

// Close closes the archive. It may be called twice.
func (s *Source) Close() error {
	if s.archive == nil {
		return nil
	}
	a := s.archive
	s.archive = nil
	return a.f.Close()
}

// Size tells how long the file of a disk is, without a look into it; 0 for a blank
// disk. Kinds: those of Fetch.
func (s *Source) Size(d Disk) (clade.Bytes, error) {
	size, err := s.size(d)
	return clade.Bytes(size), about("find", "disk "+text(d.File), err)
}

func (s *Source) size(d Disk) (int64, error) {
	path := d.File
	switch {
	case d.File == "":
		return 0, nil
	case s.archive != nil:
		size, there := s.archive.members[d.File]
		if !there {
			return 0, refusal(clade.Corrupt, "it is not in the archive")
		}
		return size, nil
	case filepath.IsAbs(d.File):
	case !plainName(d.File):
		return 0, refusal(clade.Invalid, "it is no file beside the description")
	default:
		path = filepath.Join(filepath.Dir(s.path), d.File)
	}
	f, err := openRegular(path, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Fetch returns the path of the file of a disk, to be read by package image and no
// other way: what it holds is hostile. Out of an archive it is copied to the folder
// dir, under a name of its own, for the caller to remove. Where there is a checksum it
// is proven. On an error, also when ctx ends, nothing remains in dir.
//
// Kinds: NotFound, Invalid (no regular file, a blank disk), Corrupt (another checksum,
// cut off), NoSpace, Denied, Timeout.
func (s *Source) Fetch(ctx context.Context, d Disk, dir string, p clade.Progress) (string, error) {
	path, err := s.fetch(ctx, d, dir, p)
	return path, about("fetch", "disk "+text(d.File), err)
}

func (s *Source) fetch(ctx context.Context, d Disk, dir string, p clade.Progress) (string, error) {
	switch {
	case d.File == "":
		return "", refusal(clade.Invalid, "it is blank")
	case s.archive != nil:
		return s.archive.extract(ctx, d.File, dir, p)
	case filepath.IsAbs(d.File):
		return d.File, nil
	case !plainName(d.File):
		return "", refusal(clade.Invalid, "it is no file beside the description")
	}
	path := filepath.Join(filepath.Dir(s.path), d.File)
	f, err := openRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if s.sums == nil {
		return path, nil
	}
	proof, err := s.sums.proof(d.File)
	if err != nil {
		return "", err
	}
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if err := transfer(ctx, proof, f, clade.Event{Step: "verify checksum", Note: d.File, Total: st.Size(), Unit: "B"}, p); err != nil {
		return "", err
	}
	return path, proof.prove()
}

// readSums reads the checksums beside an OVF, where there are any, and proves the
// description.
func (s *Source) readSums() error {
	base := strings.TrimSuffix(s.path, filepath.Ext(s.path))
	f, err := openRegular(base+".mf", unix.O_NOFOLLOW)
	if errors.Is(err, os.ErrNotExist) {
		s.Machine.note("there are no checksums")
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if s.sums, err = readChecksums(f); err != nil {
		return err
	}
	description, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	return s.sums.prove(filepath.Base(s.path), description)
}

// openRegular opens a regular file for reading. A named pipe does not hold it up.
func openRegular(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|flags, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, refusal(clade.Invalid, "it is a link")
	}
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		if err == nil {
			err = refusal(clade.Invalid, "it is not a regular file")
		}
		return nil, err
	}
	return f, nil
}

// transfer copies r to w and tells of every MiB. It ends with ctx.
func transfer(ctx context.Context, w io.Writer, r io.Reader, e clade.Event, p clade.Progress) error {
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, e := w.Write(buf[:n]); e != nil {
				return e
			}
			e.Done += int64(n)
			p.Tell(e)
		}
		switch {
		case err == io.EOF:
			e.End = true
			p.Tell(e)
			return nil
		case err != nil:
			return err
		}
	}
}
