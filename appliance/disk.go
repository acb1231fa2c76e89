package appliance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/clade-vm/clade"
)

// A Format is how a disk lies in its file. It is never guessed.
type Format string

// The formats the appliance opens.
const (
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// A Disk is one disk for the VM. A Backed one may rest on other files: its header
// is believed about them, so that only files clade made may be given so.
type Disk struct {
	Path     string
	Format   Format
	ReadOnly bool
	Backed   bool
}

const (
	qcowMagic    = 0x514649fb // "QFI" and 0xfb
	externalData = 1 << 2     // incompatible feature: the data lies in another file
	formatTag    = 0xe2792aca // header extension: the format of the backing file
	maxDepth     = 256
)

// A link is one file of the chain that a disk rests on.
type link struct {
	path   string
	format Format
}

// chain returns the files of a disk from the top, each with the format that is
// written above it. Kinds: NotFound, Denied, Invalid (not that format, or rests
// on what it may not), Corrupt (ends before its header says).
func (d Disk) chain() ([]link, error) {
	refuse := func(path string, err error) ([]link, error) {
		kind := kindOf(err)
		if kind == clade.Internal {
			kind = clade.Invalid
		}
		return nil, &clade.Error{Op: "open", On: "disk " + path, Kind: kind, Err: err, Hint: clade.HintOf(err)}
	}
	if d.Format != Raw && d.Format != Qcow2 {
		return refuse(d.Path, fmt.Errorf("format %.20q is not raw or qcow2", d.Format))
	}
	path, err := filepath.Abs(d.Path)
	if err != nil {
		return refuse(d.Path, err)
	}
	links := []link{{path, d.Format}}
	for {
		top := links[len(links)-1]
		below, err := under(top)
		if err != nil {
			return refuse(top.path, err)
		}
		if below == nil {
			return links, nil
		}
		if !d.Backed {
			return refuse(top.path, &clade.Error{Kind: clade.Invalid,
				Err:  fmt.Errorf("it rests on another file, %.200q", below.path),
				Hint: "flatten it first: qemu-img convert -O qcow2 " + top.path + " flat.qcow2"})
		}
		if len(links) == maxDepth {
			return refuse(d.Path, fmt.Errorf("it rests on more than %d files", maxDepth))
		}
		links = append(links, *below)
	}
}

// under returns what a file rests on, or nil.
func under(l link) (*link, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() && st.Mode()&os.ModeDevice == 0 {
		return nil, errors.New("not a file")
	}
	if l.format == Raw {
		return nil, nil
	}
	h, err := readHeader(f, st.Size())
	if err != nil || h.backing == "" {
		return nil, err
	}
	below := &link{path: h.backing, format: h.format}
	switch {
	case below.format != Raw && below.format != Qcow2:
		return nil, fmt.Errorf("the format of its backing file is not given as raw or qcow2")
	case strings.ContainsAny(below.path, ":\x00"):
		return nil, fmt.Errorf("its backing file %.200q is not a plain path", below.path)
	case !filepath.IsAbs(below.path):
		below.path = filepath.Join(filepath.Dir(l.path), below.path)
	}
	return below, nil
}

// A header is what the appliance wants to know of a qcow2 file.
type header struct {
	backing string
	format  Format // of the backing file
}

// readHeader reads the header of a qcow2 file of the given length.
func readHeader(r io.ReaderAt, length int64) (h header, err error) {
	buf := make([]byte, 4096)
	n, err := r.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return h, err
	}
	buf = buf[:n]
	if n < 72 || binary.BigEndian.Uint32(buf) != qcowMagic {
		return h, &clade.Error{Kind: clade.Corrupt, Err: errors.New("not a qcow2 file")}
	}
	version, size := binary.BigEndian.Uint32(buf[4:]), uint32(72)
	if version == 3 && n >= 104 {
		size = binary.BigEndian.Uint32(buf[100:])
		if binary.BigEndian.Uint64(buf[72:])&externalData != 0 {
			return h, errors.New("its data lies in another file")
		}
	} else if version != 2 {
		return h, fmt.Errorf("qcow2 version %d is not known", version)
	}
	if bits := binary.BigEndian.Uint32(buf[20:]); bits < 9 || bits > 21 {
		return h, &clade.Error{Kind: clade.Corrupt, Err: errors.New("its clusters have an impossible size")}
	}
	tables := int64(binary.BigEndian.Uint64(buf[40:])) + 8*int64(binary.BigEndian.Uint32(buf[36:]))
	if tables < 0 || tables > length || int64(binary.BigEndian.Uint64(buf[48:])) >= length {
		return h, &clade.Error{Kind: clade.Corrupt, Err: fmt.Errorf("its tables lie beyond its end at %d bytes: it is cut off", length)}
	}
	at, count := binary.BigEndian.Uint64(buf[8:]), binary.BigEndian.Uint32(buf[16:])
	if at == 0 {
		return h, nil
	}
	if count == 0 || count > 1023 || at > uint64(length) {
		return h, &clade.Error{Kind: clade.Corrupt, Err: errors.New("the name of its backing file is out of bounds")}
	}
	name := make([]byte, count)
	if _, err := r.ReadAt(name, int64(at)); err != nil {
		return h, err
	}
	h.backing, h.format = string(name), backingFormat(buf, size)
	return h, nil
}

// backingFormat finds the header extension that names the backing file's format.
func backingFormat(buf []byte, at uint32) Format {
	for int(at)+8 <= len(buf) {
		tag, n := binary.BigEndian.Uint32(buf[at:]), binary.BigEndian.Uint32(buf[at+4:])
		end := uint64(at) + 8 + uint64(n)
		if tag == 0 || end > uint64(len(buf)) {
			break
		}
		if tag == formatTag {
			return Format(bytes.TrimRight(buf[at+8:end], "\x00"))
		}
		at = uint32((end + 7) &^ 7)
	}
	return ""
}
