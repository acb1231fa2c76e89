package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// Export makes dst, which must not exist, a standalone image of a format that
// other programs read, with the content of the chain of images that ends in head:
// QCOW2, Raw, or VMDK, which is stream-optimized then, as in OVAs. No image of the
// chain is changed; they may be read-only and in use for reading. On an error, also
// when ctx ends, dst does not remain.
//
// Kinds: those of Flatten; Unsupported also for the other formats.
func Export(ctx context.Context, head string, format Format, dst string, p clade.Progress) error {
	err := export(ctx, head, format, dst, p)
	if err != nil {
		err = fault(err)
		return &clade.Error{Op: "export", On: head, Kind: clade.KindOf(err), Err: err}
	}
	return nil
}

func export(ctx context.Context, head string, format Format, dst string, p clade.Progress) error {
	dst, err := filepath.Abs(dst)
	if err != nil {
		return err
	}
	var options []string
	switch format {
	case QCOW2:
		_, err := flatten(ctx, head, dst, p)
		return err
	case Raw:
	case VMDK:
		options = []string{"-o", "subformat=streamOptimized"}
	default:
		return refusal(clade.Unsupported, "use one of qcow2, raw, vmdk", "disks are not exported as %s", format)
	}
	links, err := chain(head)
	if err != nil {
		return err
	}
	// Made here, so that it is new for certain: qemu-img may open this one and make none.
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	top := links[len(links)-1]
	t := tool{allow: append(readable(links), access{dst, mayWrite}), event: clade.Event{Step: "export", Total: int64(top.info.Virtual), Unit: "B"}}
	t.args = append([]string{"convert", "-p", "-m", "8", "-O", string(format)}, options...)
	t.args = append(t.args, top.node.String(), dst)
	if err = f.Close(); err == nil {
		_, err = t.run(ctx, p)
	}
	if err != nil {
		return errors.Join(err, os.Remove(dst))
	}
	t.event.Done, t.event.End = t.event.Total, true
	p.Tell(t.event)
	return nil
}
