package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/image"
	"golang.org/x/sys/unix"
)

// generalizeImage generalizes a copy of an image file, which is then at spec.Out,
// or takes the image's place. Until all is proven nothing is seen of it.
func (h *Host) generalizeImage(ctx context.Context, spec clade.GeneralizeSpec, p clade.Progress) (*clade.Generalization, error) {
	on := "image " + spec.Image
	format, err := diskFormat(spec.Image)
	if err != nil {
		return nil, retitle("generalize", err)
	}
	if spec.DryRun {
		return h.planned(ctx, on, []appliance.Disk{{Path: spec.Image, Format: format, ReadOnly: true}}, spec.Marks, p)
	}
	out, err := imageResult(spec)
	if err != nil {
		return nil, err
	}
	op, err := h.begin(ctx, "image")
	if err != nil {
		return nil, err
	}
	defer op.end()
	built := filepath.Join(op.dir, "image")
	if _, err := image.Copy(ctx, spec.Image, built, p); err != nil {
		return nil, fileError("copy", on, err)
	}
	report, err := h.generalizeCopy(ctx, appliance.Disk{Path: built, Format: format}, spec, p)
	if err != nil {
		return nil, fileError("generalize", on, err)
	}
	if err := moveTo(ctx, built, out, spec.InPlace, p); err != nil {
		return nil, fileError("write", "image "+out, err)
	}
	return generalization(on, "image "+out, report)
}

// imageResult is the file that the generalized copy becomes.
func imageResult(spec clade.GeneralizeSpec) (string, error) {
	refuse := func(kind clade.Kind, text, hint string) (string, error) {
		return "", &clade.Error{Op: "generalize", On: "image " + spec.Image, Kind: kind, Err: errors.New(text), Hint: hint}
	}
	if spec.InPlace == (spec.Out != "") {
		return refuse(clade.Invalid, "it is generalized in a copy, or in its place", "name the copy's file with --out, or say --in-place")
	}
	if !spec.InPlace {
		if _, err := os.Lstat(spec.Out); !errors.Is(err, fs.ErrNotExist) {
			return refuse(clade.Exists, fmt.Sprintf("there is a file %s already", spec.Out), "choose another name for the copy")
		}
		return spec.Out, nil
	}
	used, err := inUse(spec.Image)
	if err != nil {
		return "", fileError("generalize", "image "+spec.Image, err)
	}
	if used {
		return refuse(clade.InUse, "a running QEMU has it open", "stop the machine it belongs to, or generalize a copy: --out FILE")
	}
	// A link keeps leading to the file.
	return filepath.EvalSymlinks(spec.Image)
}

// QEMU holds a lock on one byte of this range of every image it has open
// (docs/system/images.rst, image locking).
const lockedFrom, lockedBytes = 100, 200

// inUse reports whether a QEMU has the image open.
func inUse(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: lockedFrom, Len: lockedBytes}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, err
	}
	return lock.Type != unix.F_UNLCK, nil
}

// generalizeCopy erases the marks of one disk in place, and proves it.
func (h *Host) generalizeCopy(ctx context.Context, disk appliance.Disk, spec clade.GeneralizeSpec, p clade.Progress) (*generalize.Report, error) {
	if err := os.Chmod(disk.Path, 0o600); err != nil {
		return nil, err
	}
	report, err := h.Appliance.Generalize(ctx, []appliance.Disk{disk}, appliance.Options(spec.Marks), p)
	if err == nil && !report.Verified {
		err = &clade.Error{Kind: clade.Unproven, Err: fmt.Errorf("%d marks are left", len(report.Left))}
	}
	return report, err
}

// moveTo puts the file built at out, with the mode of what is there, if it may be
// replaced. Where the two are on different file systems it is copied next to out
// first, so that out is there whole or not at all.
func moveTo(ctx context.Context, built, out string, replace bool, p clade.Progress) error {
	if replace {
		fi, err := os.Stat(out)
		if err != nil {
			return err
		}
		if err := os.Chmod(built, fi.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := syncDir(built); err != nil { // a file is synced like a directory
		return err
	}
	place := os.Rename
	if !replace {
		place = func(from, to string) error { // never over a file that came meanwhile
			return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		}
	}
	err := place(built, out)
	if errors.Is(err, unix.EXDEV) {
		part := out + ".part"
		if _, err = image.Copy(ctx, built, part, p); err == nil {
			err = syncDir(part)
		}
		if err == nil {
			err = place(part, out)
		}
		if err != nil {
			return errors.Join(err, ignoreAbsent(os.Remove(part)))
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(out))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
