// Package image brings disk images in and hands them out, copies them, makes
// chains of them one file, and measures them.
//
// It adapts qemu-img, which is always told the format: nothing is probed. Foreign
// images, which are hostile, it is handed open, by no name that could change: what
// names another file is refused before qemu-img sees it, qemu-img is told to
// ignore such names, and, where the kernel has Landlock, it can open no other
// file at all. A destination must not exist, is made with mode 0600, and is
// removed again on any failure. Nothing is synced to the disk: that is for the
// caller, who knows what else must be there first.
package image

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// A Format is how the content of a disk lies in a file, named as qemu-img does.
type Format string

// The formats that can be imported.
const (
	QCOW2 Format = "qcow2"
	Raw   Format = "raw"
	VMDK  Format = "vmdk" // one file that holds its own descriptor: sparse or stream-optimized
	VDI   Format = "vdi"
	VHDX  Format = "vhdx"
	VHD   Format = "vpc"
)

// ParseFormat reads the name of a format: qemu-img's, or vhd and img for vpc and
// raw. The empty name gives the empty Format. Its error is of kind Unsupported.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "", QCOW2, Raw, VMDK, VDI, VHDX, VHD:
		return f, nil
	case "vhd":
		return VHD, nil
	case "img":
		return Raw, nil
	}
	return "", &clade.Error{Op: "read", On: fmt.Sprintf("format %.40q", s), Kind: clade.Unsupported,
		Hint: "use one of qcow2, raw, vmdk, vdi, vhdx, vhd"}
}

// Allocated returns how much of the host's disk a file takes.
func Allocated(path string) (clade.Bytes, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &clade.Error{Op: "measure", On: path, Kind: clade.KindOf(err), Err: err}
	}
	return clade.Bytes(st.Blocks * 512), nil
}

// Space returns how much the file system of the folder dir can still take from
// this user.
func Space(dir string) (clade.Bytes, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &clade.Error{Op: "measure", On: dir, Kind: clade.KindOf(err), Err: err}
	}
	return clade.Bytes(int64(st.Bavail) * st.Frsize), nil
}

// Check has qemu-img verify the structure of one qcow2 image, not of what it
// rests on. Leaked clusters, which waste space and harm nothing, are no error.
// Kinds: Corrupt, InUse (a running machine writes it), Missing (no qemu-img).
func Check(ctx context.Context, path string) error {
	f, _, err := openRegular(path)
	if err != nil {
		return &clade.Error{Op: "check", On: path, Kind: clade.KindOf(err), Err: err}
	}
	defer f.Close()
	if err := check(ctx, f, QCOW2); err != nil {
		return &clade.Error{Op: "check", On: path, Kind: clade.KindOf(err), Err: err}
	}
	return nil
}

// openRegular opens a regular file for reading and returns its size. A named
// pipe does not hold it up, a device is refused.
func openRegular(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fault(err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &clade.Error{Kind: clade.Invalid, Err: fmt.Errorf("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, 0, fault(err)
	}
	return f, st.Size(), nil
}
