package live

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
)

//go:embed read.sh
var readScript string

const (
	maxNames   = 18 << 10 // bytes of names in one command: busybox passes on 32 KiB, the script among them
	maxContent = 4 << 20  // bytes of content expected of one command
	maxAsked   = 2        // how often the guest is asked for the same
)

// errSilent is what is left to say of a file that is there and that the guest does
// not tell about.
var errSilent = errors.New("the guest does not tell")

// fetch asks the guest for all that is noted.
func (m *mirror) fetch(ctx context.Context) error {
	var batch []string
	names, content := 0, int64(0)
	send := func() error {
		ask := batch
		batch, names, content = nil, 0, 0
		return m.ask(ctx, ask, true)
	}
	for _, name := range m.takeMissing() {
		n := m.at(name)
		large := n != nil && n.mode.IsRegular() && n.size > maxFile
		if large {
			if err := m.ask(ctx, []string{name}, false); err != nil {
				return err
			}
			continue
		}
		if n != nil && n.mode.IsRegular() {
			content += n.size
		}
		if names += len(name) + 3; len(batch) > 0 && (names > maxNames || content > maxContent) {
			if err := send(); err != nil {
				return err
			}
			names = len(name) + 3
		}
		batch = append(batch, name)
	}
	if len(batch) == 0 {
		return nil
	}
	return send()
}

// takeMissing returns what is noted, without what was asked for too often and what no
// program in the guest could be asked for.
func (m *mirror) takeMissing() []string {
	noted := slices.Sorted(maps.Keys(m.missing))
	m.missing = map[string]bool{}
	return slices.DeleteFunc(noted, func(name string) bool {
		n := m.at(name)
		if n == nil {
			return len(name) > maxPath
		}
		if n.asked++; n.asked > maxAsked || len(name) > maxPath {
			n.err = errSilent
		}
		return n.err != nil
	})
}

// ask asks the guest for some names; with whole for all of their content, otherwise
// for the beginning of one.
func (m *mirror) ask(ctx context.Context, names []string, whole bool) error {
	word := rand.Text()
	out, err := m.run(ctx, names, whole, word)
	if err != nil {
		return err
	}
	r, err := parseReply(out, word, names, whole)
	if lacks, is := errors.AsType[errLacks](err); is {
		return unsupported(lacks)
	}
	if err != nil {
		return unproven("what the guest's agent answers is not to be believed: %w", err)
	}
	if r.part && len(names) > 1 {
		return m.askApart(ctx, names, r.largest())
	}
	// A file that became shorter meanwhile, or of which not all arrived, is asked for again.
	if n := r.facts[names[0]]; !whole && n != nil && int64(len(r.rest)) >= min(n.size, maxFile+1) {
		r.files[names[0]] = tail{data: bytes.Clone(r.rest)}
	}
	m.absorb(names, r)
	if m.entries > maxEntries {
		return unproven("there are more than %d files to look at", maxEntries)
	}
	return nil
}

// askApart asks for names whose answer was too long: for the directory that made it
// so alone, and for the others.
func (m *mirror) askApart(ctx context.Context, names []string, large string) error {
	i := slices.Index(names, large)
	if i < 0 {
		i = 0
	}
	if err := m.ask(ctx, names[i:i+1], true); err != nil {
		return err
	}
	return m.ask(ctx, slices.Delete(slices.Clone(names), i, i+1), true)
}

// run runs read.sh in the guest. The answer is to end in word.
func (m *mirror) run(ctx context.Context, names []string, whole bool, word string) ([]byte, error) {
	how := "begin"
	if whole {
		how = "whole"
	}
	var input []byte
	for _, name := range names {
		input = append(append(input, guestPath(name)...), 0)
	}
	args := []string{"/bin/sh", "-c", `exec xargs -0 sh -c "$@"`, "sh", readScript, "clade", "/", how, word}
	exit, err := execute(ctx, m.agent, readWait, clade.Command{Args: args, Input: input})
	if err != nil {
		return nil, err
	}
	if m.bytes += len(exit.Out) + len(exit.Err); m.bytes > maxBytes {
		return nil, unproven("there are more than %v to read", clade.Bytes(maxBytes))
	}
	if c := complaint(string(exit.Err)); c != "" {
		return nil, unproven("%.200q", c)
	}
	return exit.Out, nil
}

// complaint returns what find complains of besides files that are gone: it tells of
// a directory that cannot be read, of which the answer has nothing else.
func complaint(said string) string {
	_, said, _ = strings.Cut("\n"+said, "\nfind: ")
	for c := range strings.SplitSeq(said, "\nfind: ") {
		if !strings.Contains(c, "No such file or directory") && !strings.Contains(c, "Not a directory") {
			return strings.TrimSpace(c)
		}
	}
	return ""
}

// guestPath is a name as the scripts take it.
func guestPath(name string) string {
	if name == "." {
		return name
	}
	return "./" + name
}

// execute runs a command in the guest, and knows a failure for what it is.
func execute(ctx context.Context, g Agent, wait time.Duration, c clade.Command) (*clade.Exit, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	exit, err := g.Exec(ctx, c)
	switch {
	case errors.Is(err, clade.NotFound):
		return nil, unsupported(err)
	case err != nil:
		return nil, err
	case exit.Status == 127:
		return nil, unsupported(fmt.Errorf("%.200q", firstLine(exit.Err)))
	case exit.Status != 0 || exit.Signal != 0:
		return nil, unproven("the command in the guest ended with status %d, signal %d: %.200q %.200q", exit.Status, exit.Signal, firstLine(exit.Out), firstLine(exit.Err))
	case exit.Truncated:
		return nil, unproven("the guest's agent cut the answer short")
	}
	return exit, nil
}

func unsupported(err error) error {
	return &clade.Error{Kind: clade.Unsupported, Err: err,
		Hint: "the guest needs sh, find, xargs, stat, tar and head; machines without them are read and mended stopped"}
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}

// absorb adds a reply about names to what is known.
func (m *mirror) absorb(names []string, r *reply) {
	parentsFirst := func(a, b string) int {
		if d := strings.Count(a, "/") - strings.Count(b, "/"); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	}
	asked := map[string]bool{}
	for _, name := range names {
		asked[name] = true
	}
	for _, name := range slices.SortedFunc(maps.Keys(r.facts), parentsFirst) {
		m.insert(name, r.facts[name], asked[name])
	}
	for name := range r.names {
		if r.facts[name] == nil { // it is there, and more cannot be told; or it has just come
			m.insert(name, &node{mode: fs.ModeIrregular}, asked[name])
		}
	}
	for _, name := range names {
		switch n := m.at(name); {
		case n != nil && r.taken[name] && r.facts[name] != nil:
			n.learn(name, r)
		case !r.taken[name] || !r.names[name] && !r.part:
			m.silent(name)
		}
	}
}

// insert adds a file to its directory, which must be there. What is known well
// stays as it is. Of a huge directory no more is kept than is asked for by name.
func (m *mirror) insert(name string, n *node, asked bool) {
	if name == "." {
		m.root.mode, m.root.mtime, m.root.device = fs.ModeDir|n.mode.Perm(), n.mtime, n.device
		return
	}
	dir := m.at(path.Dir(name))
	if dir == nil || !dir.mode.IsDir() || (isHidden(name) && dir != m.root) {
		return
	}
	base := path.Base(name)
	old := dir.inside[base]
	switch {
	case old != nil && (old.complete() || n.mode.Type() == fs.ModeIrregular):
		return
	case old != nil:
		n.asked = old.asked
		if old.mode.IsDir() && n.mode.IsDir() {
			n.inside = old.inside
		}
	case len(dir.inside) > rootfs.MaxEntries && !asked:
		dir.cut = true
		return
	}
	n.known = n.mode.IsRegular() && n.size == 0
	n.listed = n.mode.IsDir() && isHidden(name)
	if dir.inside == nil {
		dir.inside = map[string]*node{}
	}
	if old == nil {
		m.entries++
	}
	dir.inside[base], dir.ordered = n, nil
}

// learn takes from a reply what n, that was asked for, holds.
func (n *node) learn(name string, r *reply) {
	held, is := r.files[name]
	switch {
	case n.mode.IsDir():
		n.cut = n.cut || r.part
		if n.listed = !n.cut; n.cut {
			return
		}
		for base := range n.inside {
			if at := path.Join(name, base); r.facts[at] == nil && !r.names[at] {
				delete(n.inside, base)
				n.ordered = nil
			}
		}
	case is && n.mode.Type() == fs.ModeSymlink && held.link:
		n.known, n.target = true, held.target
	case is && n.mode.IsRegular() && !held.link:
		n.known, n.data = true, held.data
		if len(held.data) <= maxFile {
			n.size = int64(len(held.data))
		}
	}
}

// silent draws the conclusion from an answer that does not tell of name: it is gone,
// if its directory, asked again, says so too.
func (m *mirror) silent(name string) {
	dir := m.at(path.Dir(name))
	switch {
	case dir == nil || name == ".":
	case dir.cut:
		if dir.absent == nil {
			dir.absent = map[string]bool{}
		}
		dir.absent[path.Base(name)] = true
	case dir.inside[path.Base(name)] != nil:
		dir.listed, dir.asked = false, 0
		m.miss(path.Dir(name))
		m.miss(name)
	}
}
