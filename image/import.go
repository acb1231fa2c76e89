package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// A Source is where a foreign disk image comes from: a file or a URL.
type Source struct {
	File   string
	URL    string      // http or https
	Temp   string      // with URL: the folder that takes the download; it leaves no name there
	Limit  clade.Bytes // with URL: the most that is downloaded; 0 for DefaultLimit
	Format Format      // "" to detect it; a file that is of another one is refused
	SHA256 string      // in hex; "" to not check
}

// String returns what the user calls the source, without a password in a URL.
func (s Source) String() string {
	if s.URL != "" {
		return redacted(s.URL)
	}
	return s.File
}

// Import makes dst, which must not exist, a standalone qcow2 image with the
// content of a foreign disk image, and returns the size of the disk. The source is
// not changed. On an error, also when ctx ends, neither dst nor a download remains.
//
// Kinds: Unsupported (another format, or one that names other files, or is
// encrypted), Invalid (not a disk image, not the format given), Corrupt (damaged,
// cut short, another checksum), NotFound, Exists, NoSpace, Denied, InUse (a running
// machine writes it), Missing (no qemu-img), Busy (the server says so), Timeout.
func Import(ctx context.Context, src Source, dst string, p clade.Progress) (clade.Bytes, error) {
	virtual, err := src.load(ctx, dst, p)
	if err != nil {
		err = fault(err)
		return 0, &clade.Error{Op: "import", On: src.String(), Kind: clade.KindOf(err), Err: err}
	}
	return virtual, nil
}

func (s Source) load(ctx context.Context, dst string, p clade.Progress) (clade.Bytes, error) {
	if (s.File == "") == (s.URL == "") {
		return 0, refusal(clade.Invalid, "", "give a file or a URL, and not both")
	}
	if b, err := hex.DecodeString(s.SHA256); err != nil || len(b) != 0 && len(b) != sha256.Size {
		return 0, refusal(clade.Invalid, "a SHA-256 checksum has 64 hexadecimal digits", "%.80q is not a checksum", s.SHA256)
	}
	f, size, err := s.open(ctx, p)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	format, err := s.format(f, size)
	if err != nil {
		return 0, err
	}
	if err := vet(f, size, format); err != nil {
		return 0, err
	}
	virtual, err := measure(ctx, f, format)
	if err != nil {
		return 0, err
	}
	if err := check(ctx, f, format); err != nil {
		return 0, err
	}
	return virtual, convert(ctx, f, format, virtual, dst, p)
}

// open opens the image, from the network if need be, and proves its checksum.
func (s Source) open(ctx context.Context, p clade.Progress) (*os.File, int64, error) {
	if s.URL != "" {
		return s.download(ctx, p)
	}
	f, size, err := openRegular(s.File)
	if err != nil || s.SHA256 == "" {
		return f, size, err
	}
	sum := sha256.New()
	counted := &counter{ctx: ctx, event: clade.Event{Step: "verify checksum", Total: size, Unit: "B"}, tell: p}
	_, err = io.Copy(io.MultiWriter(sum, counted), io.NewSectionReader(f, 0, size))
	if err == nil {
		err = s.prove(sum)
	}
	if err != nil {
		f.Close()
		return nil, 0, fault(err)
	}
	counted.end()
	return f, size, nil
}

// prove compares the checksum of what was read with the one that was given.
func (s Source) prove(sum hash.Hash) error {
	if got := hex.EncodeToString(sum.Sum(nil)); s.SHA256 != "" && !strings.EqualFold(got, s.SHA256) {
		return refusal(clade.Corrupt, "compare the checksum with its publisher's, and fetch the file again",
			"its sha256 is %s, not %s", got, s.SHA256)
	}
	return nil
}

// format detects the format and holds it against the one that was given. Only a
// blank raw disk needs, and gets, the user's word.
func (s Source) format(f *os.File, size int64) (Format, error) {
	got, err := detect(f, size)
	switch {
	case s.Format == Raw && errors.Is(err, errNoDisk):
		return Raw, nil
	case err != nil:
		return "", err
	case s.Format != "" && s.Format != got:
		return "", refusal(clade.Invalid, "leave the format out to have it detected", "it is a %s image, not %s", got, s.Format)
	}
	return got, nil
}

// measure asks qemu-img how large the disk in an image is.
func measure(ctx context.Context, f *os.File, format Format) (clade.Bytes, error) {
	t := tool{args: []string{"info", "--output=json", stored(format, handle(0), nil).String()}, files: []*os.File{f}}
	out, err := t.run(ctx, nil)
	if err != nil {
		return 0, err
	}
	var info struct {
		Virtual   clade.Bytes `json:"virtual-size"`
		Backing   string      `json:"backing-filename"`
		Encrypted bool        `json:"encrypted"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return 0, fmt.Errorf("qemu-img info: %w", err)
	}
	switch {
	case info.Backing != "": // package qcow2 and vet have looked before; QEMU has the last word
		return 0, refusal(clade.Unsupported, differencing, "it rests on another file, %.200q", info.Backing)
	case info.Encrypted:
		return 0, refusal(clade.Unsupported, "decrypt it where its key is", "it is encrypted")
	case info.Virtual <= 0 || info.Virtual > qcow2.MaxVirtual || info.Virtual%512 != 0:
		return 0, refusal(clade.Corrupt, "", "its disk would have %d bytes", info.Virtual)
	}
	return info.Virtual, nil
}

// check has qemu-img verify the structure of an image, where it can. Without this
// a qcow2 file that was cut short reads as zeros, and would pass.
func check(ctx context.Context, f *os.File, format Format) error {
	if format == Raw || format == VHD {
		return nil // QEMU has no check for these
	}
	t := tool{args: []string{"check", "-q", stored(format, handle(0), nil).String()}, files: []*os.File{f}}
	_, err := t.run(ctx, nil)
	const damaged, leaks, unable = 2, 3, 63
	exit, ended := errors.AsType[*failure](err)
	switch {
	case ended && (exit.status == leaks || exit.status == unable):
		return nil
	case ended && exit.status == damaged:
		return refusal(clade.Corrupt, "fetch or copy it again", "the image is damaged or cut short: %w", exit.cause())
	}
	return err
}

// convert writes the content of f to dst, which it makes.
func convert(ctx context.Context, f *os.File, format Format, virtual clade.Bytes, dst string, p clade.Progress) error {
	t := tool{files: []*os.File{f}, event: clade.Event{Step: "convert", Total: int64(virtual), Unit: "B"}}
	return t.convertInto(ctx, stored(format, handle(0), nil), virtual, dst, p)
}

// convertInto makes dst an empty image and has qemu-img write src to it. The image
// is ours and not qemu-img's so that it is new for certain, and the same as all.
func (t tool) convertInto(ctx context.Context, src node, virtual clade.Bytes, dst string, p clade.Progress) error {
	dst, err := filepath.Abs(dst)
	if err != nil {
		return err
	}
	if err := qcow2.WriteOverlay(dst, qcow2.Overlay{Virtual: virtual}); err != nil {
		return err
	}
	// Eight requests at once unpack compressed images 1.5 times as fast as one, on
	// two cores. Writing out of order (-W) gained nothing and would scatter the file.
	t.args = []string{"convert", "-p", "-n", "--target-is-zero", "-m", "8", "-O", "qcow2", src.String(), dst}
	t.allow = append(t.allow, access{dst, mayWrite})
	if _, err := t.run(ctx, p); err != nil {
		return errors.Join(err, os.Remove(dst))
	}
	t.event.Done, t.event.End = t.event.Total, true
	p.Tell(t.event)
	return nil
}

// A counter counts what is written to it and tells of every MiB. It ends with ctx.
type counter struct {
	ctx   context.Context
	event clade.Event
	tell  clade.Progress
	told  int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.event.Done += int64(len(b))
	if c.event.Done-c.told >= int64(clade.MiB) {
		c.told = c.event.Done
		c.tell.Tell(c.event)
	}
	return len(b), context.Cause(c.ctx)
}

func (c *counter) end() {
	c.event.End = true
	c.tell.Tell(c.event)
}
