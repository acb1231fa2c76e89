package merge

import (
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
	"golang.org/x/sys/unix"
)

// A carrier is one run of Apply.
type carrier struct {
	from, to *rootfs.Handle   // the roots
	links    map[inode]string // files of the clone with several names, and one that they have in the new tree
	buf      []byte
	tell     clade.Progress
	done     clade.Event
}

// Apply does what the plan says to the new tree, which can be written now. After an
// error it is done in part. Kinds: NoSpace, Unsupported.
func (p *Plan) Apply(mine, next Tree, tell clade.Progress) (err error) {
	c := &carrier{links: p.links, buf: make([]byte, block), tell: tell,
		done: clade.Event{Step: "merge", Note: "carry over", Unit: "files", Total: int64(p.Report.Carried)}}
	if c.from, err = rootfs.OpenHandle(mine.Dir); err != nil {
		return err
	}
	defer c.from.Close()
	if c.to, err = rootfs.OpenHandle(next.Dir); err != nil {
		return err
	}
	defer c.to.Close()
	for _, a := range p.actions {
		if a.do != dress {
			err = c.act(a)
		}
		if err != nil {
			return told(a.path, err)
		}
	}
	for _, a := range slices.Backward(p.actions) { // what is in a directory comes before its owner, mode and flags
		if a.do == dress {
			err = c.act(a)
		}
		if err != nil {
			return told(a.path, err)
		}
	}
	return nil
}

// told says on what an error is, and gives it its kind.
func told(name string, err error) error {
	if _, is := errors.AsType[*clade.Error](err); is {
		return err
	}
	return &clade.Error{Op: "carry over", On: shown(name), Kind: clade.KindOf(err), Err: err}
}

// act does one action.
func (c *carrier) act(a action) error {
	from, base, err := reach(c.from, a.path)
	if err != nil {
		return err
	}
	defer leave(c.from, from)
	to, _, err := reach(c.to, a.path)
	if err != nil {
		return err
	}
	defer leave(c.to, to)
	if base != "." {
		defer c.loosen(to)()
	}
	if a.do == remove {
		c.step()
		return to.Remove(base)
	}
	is, err := look(from, base)
	if err != nil {
		return err
	}
	switch a.do {
	case dress:
		c.step()
		return dressAs(is, to, base)
	case rewrite:
		c.step()
		return rewriteAs(is, to, base, a.text)
	}
	if err := to.Remove(base); err != nil {
		return err
	}
	return c.copy(is, to, a.path)
}

// rewriteAs gives a file other content, and the owner, mode and attributes of a
// place; its time is now.
func rewriteAs(is place, to *rootfs.Handle, base, text string) error {
	if err := to.Remove(base); err != nil {
		return err
	}
	f, err := to.Create(base)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	is.st.Mtim = unix.NsecToTimespec(time.Now().UnixNano())
	return dressAs(is, to, base)
}

// loosen lets a directory that is immutable be changed until the returned function
// is called.
func (c *carrier) loosen(dir *rootfs.Handle) func() {
	flags, err := dir.Flags(".")
	if err != nil || flags&(rootfs.FlagImmutable|rootfs.FlagAppend) == 0 || dir.SetFlags(".", 0) != nil {
		return func() {} // what is then refused is an error of its own
	}
	return func() { _ = dir.SetFlags(".", flags) } // Verify sees it
}

// reach opens the directory that a path lies in, step by step and through no link,
// and returns the name in it. The root is "." in itself.
func reach(root *rootfs.Handle, name string) (*rootfs.Handle, string, error) {
	if name == "" {
		return root, ".", nil
	}
	dir, base := path.Split(name)
	at := root
	for step := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
		if step == "" {
			continue
		}
		below, err := at.Dir(step)
		leave(root, at)
		if err != nil {
			return nil, "", err
		}
		at = below
	}
	return at, base, nil
}

func leave(root, dir *rootfs.Handle) {
	if dir != root {
		dir.Close()
	}
}

// step tells how far it is, now and then.
func (c *carrier) step() {
	if c.done.Done++; c.done.Done%500 == 1 {
		c.tell.Tell(c.done)
	}
}

// copy makes what lies at a place, with all below it, anew at a path of the new
// tree, whose directory is open and where nothing lies.
func (c *carrier) copy(is place, to *rootfs.Handle, name string) error {
	c.step()
	base := path.Base(name)
	switch is.kind() {
	case unix.S_IFDIR:
		return c.copyDir(is, to, name)
	case unix.S_IFREG:
		return c.copyFile(is, to, name)
	case unix.S_IFLNK:
		target, err := is.dir.ReadLink(is.name)
		if err != nil {
			return err
		}
		if err := to.Symlink(target, base); err != nil {
			return err
		}
	default:
		if err := to.Mknod(base, is.st.Mode, is.st.Rdev); err != nil {
			return err
		}
	}
	return dressAs(is, to, base)
}

// dressAs gives an entry the owner, mode, attributes, time and flags of a place.
func dressAs(is place, to *rootfs.Handle, base string) error {
	attributes, err := is.dir.Xattrs(is.name)
	if err != nil {
		return err
	}
	if err := to.Dress(base, &is.st, attributes); err != nil {
		return err
	}
	if kind := is.kind(); kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil
	}
	flags, err := is.dir.Flags(is.name)
	if err != nil {
		return err
	}
	return to.SetFlags(base, flags)
}

func (c *carrier) copyDir(is place, to *rootfs.Handle, name string) error {
	if err := to.Mkdir(path.Base(name)); err != nil {
		return err
	}
	from, err := is.open()
	if err != nil {
		return err
	}
	defer is.close(from)
	into, err := to.Dir(path.Base(name))
	if err != nil {
		return err
	}
	defer into.Close()
	names, err := from.Names(maxNames)
	if err != nil {
		return err
	}
	for _, below := range names {
		there, err := look(from, below)
		if err != nil {
			return err
		}
		if err := c.copy(there, into, join(name, below)); err != nil {
			return err
		}
	}
	return dressAs(is, to, path.Base(name))
}

// copyFile copies a regular file, holes as holes, or makes it another name of a
// file that was copied or stays.
func (c *carrier) copyFile(is place, to *rootfs.Handle, name string) error {
	base := path.Base(name)
	if is.st.Nlink > 1 {
		if old, ok := c.links[inodeOf(is)]; ok {
			dir, called, err := reach(c.to, old)
			if err != nil {
				return err
			}
			defer leave(c.to, dir)
			return to.Link(dir, called, base)
		}
	}
	flags, err := is.dir.Flags(is.name)
	if err != nil {
		return err
	}
	if flags&(rootfs.FlagEncrypted|rootfs.FlagVerity) != 0 {
		return refuse(name, clade.Unsupported, "it is encrypted or sealed by its file system, and cannot be copied")
	}
	in, err := is.dir.Open(is.name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := to.Create(base)
	if err != nil {
		return err
	}
	if flags&rootfs.FlagNoCopy != 0 { // takes effect on empty files only
		err = to.SetFlags(base, rootfs.FlagNoCopy)
	}
	if err == nil {
		err = c.fill(out, in, is.st.Size)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if is.st.Nlink > 1 && len(c.links) < maxLinks {
		c.links[inodeOf(is)] = name
	}
	return dressAs(is, to, base)
}

// fill copies the data of a file, and makes it as long as the other.
func (c *carrier) fill(out, in *os.File, size int64) error {
	for at, told := int64(0), int64(0); at < size; {
		if at-told > spell {
			c.tell.Tell(c.done)
			told = at
		}
		from := data(in, at, size)
		n := min(int64(len(c.buf)), size-from)
		if n <= 0 {
			break
		}
		if _, err := io.ReadFull(io.NewSectionReader(in, from, n), c.buf[:n]); err != nil {
			return err
		}
		if _, err := out.WriteAt(c.buf[:n], from); err != nil {
			return err
		}
		at = from + n
	}
	return out.Truncate(size)
}

// Verify reads all that Apply wrote, after the new tree was mounted again, and
// compares it with the clone. Kind Unproven where it is not the same.
func (p *Plan) Verify(mine, next Tree, tell clade.Progress) error {
	j := &judge{strict: true, tell: tell}
	from, err := rootfs.OpenHandle(mine.Dir)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := rootfs.OpenHandle(next.Dir)
	if err != nil {
		return err
	}
	defer to.Close()
	for i, a := range p.actions {
		if i%500 == 0 {
			tell.Tell(clade.Event{Step: "merge", Note: "verify", Done: int64(i), Total: int64(len(p.actions)), Unit: "files"})
		}
		same, err := j.verify(from, to, a)
		if err != nil {
			return told(a.path, err)
		}
		if !same {
			return refuse(a.path, clade.Unproven, "it was carried over, and is not what it is in the clone")
		}
	}
	return nil
}

func (j *judge) verify(from, to *rootfs.Handle, a action) (bool, error) {
	dir, base, err := reach(to, a.path)
	if err != nil {
		return false, err
	}
	defer leave(to, dir)
	is, err := look(dir, base)
	if err != nil || a.do == remove {
		return !is.is, err
	}
	dir, base, err = reach(from, a.path)
	if err != nil {
		return false, err
	}
	defer leave(from, dir)
	was, err := look(dir, base)
	if err != nil {
		return false, err
	}
	switch a.do {
	case dress:
		return j.attributes(was, is, mine, next)
	case rewrite:
		return j.reads(was, is, a.text)
	}
	return j.alike(a.path, was, is, mine, next, 0)
}

// reads reports whether a file holds a text, with the attributes of another.
func (j *judge) reads(was, is place, text string) (bool, error) {
	if is.kind() != unix.S_IFREG || is.st.Size != int64(len(text)) {
		return false, nil
	}
	if same, err := j.attributes(was, is, mine, next); err != nil || !same {
		return false, err
	}
	f, err := is.dir.Open(is.name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	return string(data) == text, err
}
