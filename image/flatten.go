package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// maxChain bounds the chains that are followed; a longer one is likely a circle.
const maxChain = 256

// A link is one image of a chain and the node that QEMU opens for it.
type link struct {
	path string
	node node
	info *qcow2.Info // nil for a raw image
}

// Flatten makes dst, which must not exist, a standalone qcow2 image with the
// content of the chain of images that ends in head. No image of the chain is
// changed; they may be read-only and in use for reading. On an error, also when
// ctx ends, dst does not remain. reflinked says that dst shares blocks with the
// lowest image of the chain.
//
// The lowest image is copied as a file and each image above it is then written
// over it, only what it holds itself. For 470 MiB below a small overlay on
// ext4 this took 0.2 s, qemu-img convert (-W -m 16) of the whole chain 0.6 s; on
// XFS, which can reflink, 0.03 s and 0.35 s.
//
// Kinds: those of Copy, and InUse (a running machine writes one of the images),
// Corrupt, Unsupported (an image of the chain is of a kind clade does not write),
// Missing (no qemu-img).
func Flatten(ctx context.Context, head, dst string, p clade.Progress) (reflinked bool, err error) {
	if dst, err = filepath.Abs(dst); err == nil {
		reflinked, err = flatten(ctx, head, dst, p)
	}
	if err != nil {
		err = fault(err)
		return false, &clade.Error{Op: "flatten", On: head, Kind: clade.KindOf(err), Err: err}
	}
	return reflinked, nil
}

func flatten(ctx context.Context, head, dst string, p clade.Progress) (reflinked bool, err error) {
	links, err := chain(head)
	if err != nil {
		return false, err
	}
	if links[0].info == nil {
		return false, flattenRaw(ctx, links, dst, p)
	}
	if reflinked, err = Copy(ctx, links[0].path, dst, p); err != nil {
		return false, err
	}
	size := links[0].info.Virtual
	for i := 1; i < len(links) && err == nil; i++ {
		err = merge(ctx, links[:i+1], size, dst, p)
		size = links[i].info.Virtual
	}
	if err != nil {
		return false, errors.Join(err, os.Remove(dst))
	}
	return reflinked, nil
}

// merge writes what the last of links holds itself over dst, a disk of size bytes
// with the content of those before.
func merge(ctx context.Context, links []link, size clade.Bytes, dst string, p clade.Progress) error {
	top, below := links[len(links)-1], links[len(links)-2]
	allow := append(readable(links), access{dst, mayWrite})
	if err := resize(ctx, dst, size, top.info.Virtual, allow); err != nil {
		return err
	}
	// With -n, -B opens nothing. It says that what the source does not hold itself
	// is right in the target already.
	t := tool{allow: allow, args: []string{"convert", "-p", "-n", "-B", below.path, "-F", "qcow2", "-m", "8",
		"--target-image-opts", top.node.String(), thrifty(dst)}}
	t.event = clade.Event{Step: "flatten", Total: int64(top.info.Virtual), Unit: "B"}
	t.event.Note = fmt.Sprintf("image %d", len(links))
	if _, err := t.run(ctx, p); err != nil {
		return err
	}
	t.event.Done, t.event.End = t.event.Total, true
	p.Tell(t.event)
	return nil
}

// thrifty names a qcow2 image to write to that gives back what it no longer needs.
func thrifty(path string) string {
	return "driver=qcow2,discard=unmap,file.driver=file,file.filename=" + strings.ReplaceAll(path, ",", ",,")
}

// flattenRaw converts a chain that rests on a raw image as a whole: a raw file is
// no start for a qcow2 one.
func flattenRaw(ctx context.Context, links []link, dst string, p clade.Progress) error {
	top := links[len(links)-1]
	t := tool{allow: readable(links), event: clade.Event{Step: "flatten", Total: int64(top.info.Virtual), Unit: "B"}}
	return t.convertInto(ctx, top.node, top.info.Virtual, dst, p)
}

func readable(links []link) []access {
	var all []access
	for _, l := range links {
		all = append(all, access{l.path, mayRead})
	}
	return all
}

// chain returns the images from the lowest up to head.
func chain(head string) ([]link, error) {
	head, err := filepath.Abs(head)
	if err != nil {
		return nil, err
	}
	var down []link
	for path, format := head, string(QCOW2); path != ""; {
		if len(down) == maxChain {
			return nil, refusal(clade.Corrupt, "", "%s rests on more than %d images, or on itself", head, maxChain)
		}
		l, next, nextFormat, err := follow(path, Format(format))
		if err != nil {
			return nil, err
		}
		down = append(down, l)
		path, format = next, nextFormat
	}
	links := make([]link, 0, len(down))
	var below *node
	for i := len(down) - 1; i >= 0; i-- {
		l := down[i]
		l.node.Backing = below
		below = &l.node
		links = append(links, l)
	}
	return links, nil
}

// follow reads one image of a chain, and says what it rests on.
func follow(path string, format Format) (l link, next, nextFormat string, err error) {
	fail := func(err error) (link, string, string, error) {
		return link{}, "", "", fmt.Errorf("%s: %w", path, err)
	}
	l = link{path: path, node: stored(format, path, nil)}
	switch format {
	case Raw:
		f, _, err := openRegular(path)
		if err != nil {
			return fail(err)
		}
		return l, "", "", f.Close()
	case QCOW2:
	default:
		return fail(refusal(clade.Unsupported, "", "resting on an image of the format %.40q; it must be said, and qcow2 or raw", format))
	}
	if l.info, err = qcow2.InspectFile(path); err != nil {
		return fail(err)
	}
	alone := *l.info
	alone.Backing = ""
	if err := alone.Safe(); err != nil {
		return fail(err)
	}
	if next = l.info.Backing; next != "" && !filepath.IsAbs(next) {
		next = filepath.Dir(path) + "/" + next // not Join: ".." after a link is the kernel's to resolve
	}
	return l, next, l.info.BackingFormat, nil
}
