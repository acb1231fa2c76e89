package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/clade-vm/clade"
)

// Export fills dst, a new and empty file, with a standalone image of a format that
// other programs read, of the content of the chain of images that ends in head:
// QCOW2 as qemu-img makes it by itself, without the subclusters of clade's own; Raw,
// with holes; or VMDK, which is stream-optimized then, as in OVAs. name is what dst
// will be called, which VMDKs hold. No image of the chain is changed; they may be
// read-only and in use for reading. On an error dst holds nothing of use.
//
// Kinds: those of Flatten; Unsupported also for the other formats.
func Export(ctx context.Context, head string, format Format, dst *os.File, name string, p clade.Progress) error {
	err := export(ctx, head, format, dst, p)
	if err == nil && format == VMDK {
		err = nameExtent(dst, name)
	}
	if err != nil {
		err = fault(err)
		return &clade.Error{Op: "export", On: head, Kind: clade.KindOf(err), Err: err}
	}
	return nil
}

func export(ctx context.Context, head string, format Format, dst *os.File, p clade.Progress) error {
	var options []string
	switch format {
	case QCOW2, Raw:
	case VMDK:
		options = []string{"-o", "subformat=streamOptimized"}
	default:
		return refusal(clade.Unsupported, "use one of qcow2, raw, vmdk", "disks are not exported as %s", format)
	}
	links, err := chain(head)
	if err != nil {
		return err
	}
	top := links[len(links)-1]
	t := tool{files: []*os.File{dst}, allow: append(readable(links), access{ours(dst), mayWrite}),
		event: clade.Event{Step: "export", Total: int64(top.virtual()), Unit: "B"}}
	t.args = append([]string{"convert", "-p", "-m", "8", "-O", string(format)}, options...)
	t.args = append(t.args, top.node.String(), handle(0))
	if _, err = t.run(ctx, p); err != nil {
		return err
	}
	t.event.Done, t.event.End = t.event.Total, true
	p.Tell(t.event)
	return nil
}

// ours is the name by which this process finds its own open file.
func ours(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// virtual is the size of the disk, 0 where only QEMU knows it.
func (l link) virtual() clade.Bytes {
	if l.info == nil {
		return 0
	}
	return l.info.Virtual
}

// nameExtent gives the one extent in a VMDK's descriptor, which holds the name under
// which qemu-img found the file, the name that the file will have.
func nameExtent(f *os.File, name string) error {
	area := make([]byte, vmdkParentArea)
	if _, err := f.ReadAt(area, vmdkDescriptor); err != nil {
		return err
	}
	text, _, _ := bytes.Cut(area, []byte{0})
	const before = ` SPARSE "`
	head, tail, found := bytes.Cut(text, []byte(before))
	_, tail, quoted := bytes.Cut(tail, []byte(`"`))
	named := fmt.Appendf(nil, "%s%s%s\"%s", head, before, name, tail)
	if !found || !quoted || len(named) > len(area) {
		return errors.New("qemu-img wrote a VMDK whose descriptor has no place for a name")
	}
	_, err := f.WriteAt(append(named, make([]byte, len(area)-len(named))...), vmdkDescriptor)
	return err
}

// Measure returns what an image of QCOW2 or Raw takes on the disk at most, of the
// content of the chain of images that ends in head. Kinds: those of Export.
func Measure(ctx context.Context, head string) (clade.Bytes, error) {
	n, err := measureChain(ctx, head)
	if err != nil {
		err = fault(err)
		return 0, &clade.Error{Op: "measure", On: head, Kind: clade.KindOf(err), Err: err}
	}
	return n, nil
}

func measureChain(ctx context.Context, head string) (clade.Bytes, error) {
	links, err := chain(head)
	if err != nil {
		return 0, err
	}
	t := tool{allow: readable(links), args: []string{"measure", "--output=json", "-O", "qcow2", links[len(links)-1].node.String()}}
	out, err := t.run(ctx, nil)
	if err != nil {
		return 0, err
	}
	var measured struct {
		Required clade.Bytes `json:"required"`
	}
	if err := json.Unmarshal(out, &measured); err != nil {
		return 0, fmt.Errorf("qemu-img measure: %w", err)
	}
	return measured.Required, nil
}
