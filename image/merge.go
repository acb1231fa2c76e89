package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/clade-vm/clade"
)

// Merge writes what the chain of images that ends in head holds above base, which is
// one of them, or "" for all of it, into dst: an empty qcow2 image that rests on base.
// No image of the chain is changed. What is zeroes takes no room in dst. On an error
// dst is of no use. Kinds: those of Flatten.
func Merge(ctx context.Context, head, base, dst string, p clade.Progress) error {
	dst, err := filepath.Abs(dst)
	if err == nil {
		err = mergeAbove(ctx, head, base, dst, p)
	}
	if err != nil {
		err = fault(err)
		return &clade.Error{Op: "merge", On: head, Kind: clade.KindOf(err), Err: err}
	}
	return nil
}

func mergeAbove(ctx context.Context, head, base, dst string, p clade.Progress) error {
	links, err := chain(head)
	if err != nil {
		return err
	}
	from, err := above(links, base)
	if err != nil {
		return err
	}
	size := links[len(links)-1].info.Virtual
	for i := from; i < len(links); i++ {
		if i == 0 {
			err = convertLowest(ctx, links[0], size, dst, p)
		} else {
			err = merge(ctx, links[:i+1], size, dst, p)
		}
		if err != nil {
			return err
		}
		size = links[i].info.Virtual
	}
	return nil
}

// above returns the place in a chain of the image that rests on base.
func above(links []link, base string) (int, error) {
	if links[len(links)-1].info == nil || links[0].info == nil {
		return 0, refusal(clade.Unsupported, "", "raw images cannot be merged")
	}
	if base == "" {
		return 0, nil
	}
	want, err := os.Stat(base)
	if err != nil {
		return 0, err
	}
	for i, l := range links[:len(links)-1] {
		is, err := os.Stat(l.path)
		if err != nil {
			return 0, err
		}
		if os.SameFile(want, is) {
			return i + 1, nil
		}
	}
	return 0, refusal(clade.Invalid, "", "%s does not lie below it", base)
}

// convertLowest writes an image that rests on nothing into dst, an empty one of size bytes.
func convertLowest(ctx context.Context, l link, size clade.Bytes, dst string, p clade.Progress) error {
	allow := []access{{l.path, mayRead}, {dst, mayWrite}}
	if err := resize(ctx, dst, size, l.info.Virtual, allow); err != nil {
		return err
	}
	t := tool{allow: allow, args: []string{"convert", "-p", "-n", "--target-is-zero", "-m", "8", "--target-image-opts", l.node.String(), thrifty(dst)}}
	t.event = clade.Event{Step: "merge", Total: int64(l.info.Virtual), Unit: "B"}
	if _, err := t.run(ctx, p); err != nil {
		return err
	}
	t.event.Done, t.event.End = t.event.Total, true
	p.Tell(t.event)
	return nil
}

// resize makes the disk of dst, of size bytes, one of virtual.
func resize(ctx context.Context, dst string, size, virtual clade.Bytes, allow []access) error {
	if virtual == size {
		return nil
	}
	t := tool{args: []string{"resize", "-q", "--shrink", "-f", "qcow2", dst, strconv.FormatInt(int64(virtual), 10)}, allow: allow}
	if _, err := t.run(ctx, nil); err != nil {
		return errors.Join(fmt.Errorf("to %v", virtual), err)
	}
	return nil
}
