package qcow2

import (
	"errors"
	"fmt"

	"github.com/clade-vm/clade"
)

// Safe returns nil if the image can be taken over from a stranger: it is whole
// by itself, names no other file, hides nothing and has a size that can be true.
//
// Kinds: Unsupported for what is legal but not taken (a backing file, an external
// data file, encryption, internal snapshots, unknown features), Corrupt for what
// cannot be right. A Dirty image is safe: its data is whole, its counts are not.
func (i *Info) Safe() error {
	refuse := func(kind clade.Kind, hint string, err error) error {
		return &clade.Error{Op: "accept", On: "qcow2 image", Kind: kind, Err: err, Hint: hint}
	}
	const standalone = "make it standalone where it comes from: qemu-img convert -O qcow2 OLD NEW"
	switch {
	case i.Backing != "":
		return refuse(clade.Unsupported, standalone, fmt.Errorf("it rests on another file, %.200q", i.Backing))
	case i.External || i.DataFile != "":
		return refuse(clade.Unsupported, standalone, fmt.Errorf("its data lies in another file, %.200q", i.DataFile))
	case i.Encrypted:
		return refuse(clade.Unsupported, "decrypt it where its key is: qemu-img convert", errors.New("it is encrypted"))
	case i.Unknown != 0:
		return refuse(clade.Unsupported, standalone, fmt.Errorf("it uses unknown features (bits %#x)", i.Unknown))
	case i.Corrupt:
		return refuse(clade.Corrupt, "repair it first, on a copy: qemu-img check -r all COPY", errors.New("it is marked as corrupt"))
	case i.Virtual == 0 || i.Virtual > MaxVirtual:
		return refuse(clade.Corrupt, "", fmt.Errorf("its disk would have %d bytes; possible are 1 to %d", i.Virtual, MaxVirtual))
	case i.Virtual%512 != 0:
		return refuse(clade.Corrupt, "", fmt.Errorf("its disk would have %d bytes, not a multiple of 512", i.Virtual))
	case i.Snapshots != 0:
		return refuse(clade.Unsupported, standalone+" (keeps the current state only)",
			fmt.Errorf("it holds %d internal snapshots, which would be lost", i.Snapshots))
	}
	return nil
}
