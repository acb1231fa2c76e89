package live

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// maxReply is where read.sh cuts its answer, in bytes.
const maxReply = 6 << 20

// A reply is a guest's answer to read.sh.
type reply struct {
	taken map[string]bool  // of the names asked for, those that were looked at
	facts map[string]*node // what is known of a name; those below it are other facts
	names map[string]bool  // that are there, with facts or without
	files map[string]tail  // what links and files hold
	rest  []byte           // what follows the names
	cut   bool             // the answer was too long: not all files are here
	part  bool             // and not all facts or names
}

// A tail is what a link or a regular file holds.
type tail struct {
	link   bool
	target string
	data   []byte
}

// errLacks is the answer of a guest that lacks a program.
type errLacks string

func (e errLacks) Error() string { return "the guest has no program " + string(e) }

// parseReply reads the answer to a request for some names, which ends in word and the
// count of those that were looked at. Its maps have names that were asked for and those
// of entries in them, and no others. The error says what is wrong with an answer that is
// no such thing.
func parseReply(out []byte, word string, asked []string, whole bool) (*reply, error) {
	r := &reply{taken: map[string]bool{}, facts: map[string]*node{}, names: map[string]bool{}, files: map[string]tail{}}
	wanted := map[string]bool{}
	for _, name := range asked {
		wanted[name] = true
	}
	body, count, complete := ending(out, word)
	r.cut = !complete && len(out) >= maxReply
	if !complete && !r.cut {
		body = out // for what it says at its beginning
	}
	body, err := header(body, len(asked))
	if err != nil {
		return nil, err
	}
	if !complete && !r.cut {
		return nil, errors.New("the answer has no end")
	}
	body, err = readNames(body, wanted, r.taken)
	if err == nil && complete && len(r.taken) != count {
		return nil, fmt.Errorf("the answer is about %d names, and ends with %d", len(r.taken), count)
	}
	if err == nil {
		body, err = r.readFacts(body, wanted)
	}
	if err == nil {
		r.rest, err = readNames(body, wanted, r.names)
	}
	r.part = err != nil
	if err == nil && whole {
		err = r.readFiles(r.rest, wanted)
	}
	if err != nil && !r.cut {
		return nil, err
	}
	return r, nil
}

// ending takes the last line off an answer, and returns the count in it.
func ending(out []byte, word string) (body []byte, count int, complete bool) {
	i := bytes.LastIndex(out, []byte("\nclade end "+word+" "))
	if i < 0 {
		return out, 0, false
	}
	line, whole := strings.CutSuffix(string(out[i:]), "\n")
	count, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
	if !whole || err != nil {
		return out, 0, false
	}
	return out[:i], count, true
}

// header takes the first line off an answer.
func header(body []byte, count int) ([]byte, error) {
	line, rest, found := bytes.Cut(body, []byte("\n"))
	if name, ok := bytes.CutPrefix(line, []byte("clade needs ")); ok && found {
		return nil, errLacks(fmt.Sprintf("%.20q", name))
	}
	if !found || string(line) != "clade "+strconv.Itoa(count) {
		return nil, fmt.Errorf("the answer begins with %.60q", line)
	}
	return rest, nil
}

// readFacts takes the facts off an answer.
func (r *reply) readFacts(body []byte, wanted map[string]bool) ([]byte, error) {
	for {
		if rest, ok := bytes.CutPrefix(body, []byte("//\n")); ok {
			return rest, nil
		}
		line, rest, found := bytes.Cut(body, []byte("//\n"))
		if !found {
			return nil, errors.New("the facts have no end")
		}
		body = rest
		name, n, err := parseFact(string(line))
		if err != nil {
			return nil, err
		}
		if !wanted[name] && !wanted[path.Dir(name)] {
			return nil, fmt.Errorf("an answer about %.60q, which was not asked for", name)
		}
		if r.facts[name] = n; len(r.facts) > maxEntries {
			r.cut = true
			return nil, errors.New("the facts have no end")
		}
	}
}

// largest returns the directory of which r has the most.
func (r *reply) largest() string {
	inside := map[string]int{}
	largest := ""
	for name := range r.facts {
		dir := path.Dir(name)
		if inside[dir]++; inside[dir] > inside[largest] || (inside[dir] == inside[largest] && dir < largest) {
			largest = dir
		}
	}
	return largest
}

// parseFact reads "MODE SIZE TIME DEVICE NAME".
func parseFact(line string) (string, *node, error) {
	fields := strings.SplitN(line, " ", 5)
	if len(fields) != 5 {
		return "", nil, fmt.Errorf("not a fact: %.80q", line)
	}
	mode, err1 := strconv.ParseUint(fields[0], 16, 32)
	size, err2 := strconv.ParseInt(fields[1], 10, 64)
	seconds, err3 := strconv.ParseInt(fields[2], 10, 64)
	device, err4 := strconv.ParseUint(fields[3], 10, 64)
	name, err5 := guestName(fields[4])
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil || size < 0 {
		return "", nil, fmt.Errorf("not a fact: %.80q", line)
	}
	return name, &node{mode: fileMode(uint32(mode)), size: size, mtime: time.Unix(seconds, 0), device: device}, nil
}

// guestName returns the name of a file as the mirror calls it.
func guestName(said string) (string, error) {
	if said == "." {
		return said, nil
	}
	name, ok := strings.CutPrefix(said, "./")
	if !ok || !valid(name) || name == "." || len(name) > maxPath {
		return "", fmt.Errorf("not a name: %.80q", said)
	}
	return name, nil
}

// fileMode is the mode that stat tells.
func fileMode(raw uint32) fs.FileMode {
	mode := fs.FileMode(raw & 0o777)
	switch raw & 0o170000 {
	case 0o100000:
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	case 0o010000:
		mode |= fs.ModeNamedPipe
	case 0o140000:
		mode |= fs.ModeSocket
	default:
		mode |= fs.ModeDevice
	}
	return mode
}

// readNames takes names off an answer, and puts them into names.
func readNames(body []byte, wanted, names map[string]bool) ([]byte, error) {
	for {
		said, rest, found := bytes.Cut(body, []byte{0})
		if !found {
			return nil, errors.New("the names have no end")
		}
		body = rest
		if len(said) == 0 {
			return rest, nil
		}
		name, err := guestName(string(said))
		if err != nil {
			return nil, err
		}
		if !wanted[name] && !wanted[path.Dir(name)] {
			return nil, fmt.Errorf("an answer about %.60q, which was not asked for", name)
		}
		names[name] = true
	}
}

// readFiles reads the tar at the end of an answer. A member that is a hard link has
// the content of an earlier one.
func (r *reply) readFiles(body []byte, wanted map[string]bool) error {
	for archive := tar.NewReader(bytes.NewReader(body)); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the files in the answer: %w", err)
		}
		name, err := guestName(h.Name)
		if err != nil || !wanted[name] {
			return fmt.Errorf("a file %.60q, which was not asked for", h.Name)
		}
		t := tail{link: h.Typeflag == tar.TypeSymlink, target: h.Linkname}
		switch h.Typeflag {
		case tar.TypeReg:
			if h.Size > maxFile { // it has grown since it was looked at
				continue
			}
			if t.data, err = io.ReadAll(archive); err != nil {
				return fmt.Errorf("the files in the answer: %w", err)
			}
		case tar.TypeLink:
			first, err := guestName(h.Linkname)
			if err != nil {
				return err
			}
			t.data = r.files[first].data
		case tar.TypeSymlink:
			if len(t.target) > maxPath {
				return fmt.Errorf("a link %.60q to a name of %d bytes", h.Name, len(t.target))
			}
		default:
			continue
		}
		r.files[name] = t
	}
}
