//go:build integration

package host_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A drive is QEMU's own reader and writer of disk images: one qemu-io that is told
// on its standard input what to do, so that a look at a disk costs no process.
type drive struct {
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

func newDrive(t testing.TB) *drive {
	t.Helper()
	d := &drive{cmd: exec.Command("qemu-io")}
	in, err1 := d.cmd.StdinPipe()
	out, err2 := d.cmd.StdoutPipe()
	d.cmd.Stderr = d.cmd.Stdout
	if err := errors.Join(err1, err2, d.cmd.Start()); err != nil {
		t.Fatalf("%v (apt-get install qemu-utils)", err)
	}
	d.in, d.out = in, bufio.NewReader(out)
	if said, err := d.answer(); err != nil {
		t.Fatalf("qemu-io: %v, said %q", err, said)
	}
	t.Cleanup(func() {
		_ = d.in.Close()
		_ = d.cmd.Wait() // its status says whether all reads were as wanted, which we know
	})
	return d
}

// answer returns what qemu-io says until it asks for the next command.
func (d *drive) answer() (string, error) {
	const prompt = "qemu-io> "
	var said bytes.Buffer
	for !bytes.HasSuffix(said.Bytes(), []byte(prompt)) {
		b, err := d.out.ReadByte()
		if err != nil {
			return said.String(), err
		}
		said.WriteByte(b)
	}
	return strings.TrimSuffix(said.String(), prompt), nil
}

// do has one command done, and takes whatever qemu-io complains of for an error.
func (d *drive) do(format string, args ...any) error {
	command := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(d.in, command); err != nil {
		return err
	}
	said, err := d.answer()
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(said, "\n")
	if done := strings.HasPrefix(first, "wrote ") || strings.HasPrefix(first, "read ") || first == ""; !done {
		return fmt.Errorf("qemu-io: %s: %s", command, first)
	}
	return nil
}

// open opens an image for do and returns what closes it.
func (d *drive) open(path, mode string) (func() error, error) {
	err := d.do("open %s -o driver=qcow2 %s", mode, path)
	return func() error { return d.do("close") }, err
}

// write writes blocks from block on, one value into all of them.
func (d *drive) write(path string, block, count int, value byte) error {
	done, err := d.open(path, "")
	if err != nil {
		return err
	}
	for _, e := range (content{}).with(block, count, value).extents(block, count) {
		err = errors.Join(err, d.do("write -P %d %d %d", value, e.at, e.length))
	}
	return errors.Join(err, done())
}

// holds checks that the disk in the image has this content.
func (d *drive) holds(path string, want content) error {
	done, err := d.open(path, "-r")
	if err != nil {
		return err
	}
	for _, e := range want.extents(0, len(want)) {
		err = errors.Join(err, d.do("read -P %d %d %d", e.value, e.at, e.length))
	}
	// Nobody writes between the regions.
	err = errors.Join(err, d.do("read -P 0 %d 64k", regionSize), d.do("read -P 0 %d 64k", regionStride-64<<10))
	if err = errors.Join(err, done()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// A content is what machines have written to a disk: a value for each block of
// 2 KiB, half a subcluster, in regions far apart. The rest of the disk is zeroes.
type content []byte

const (
	blockSize    = 2 << 10
	regionBlocks = 24
	regionSize   = regionBlocks * blockSize
	regionStride = 300 << 20 // another cluster, another entry of the tables
	smallDisk    = 4         // regions, within 1 GiB
	largeDisk    = 6         // regions, within 2 GiB
)

type extent struct {
	at, length int64
	value      byte
}

// with returns a content of at least that many blocks, in which some have a value.
func (c content) with(block, count int, value byte) content {
	c = c.of(max(len(c), block+count))
	for i := range count {
		c[block+i] = value
	}
	return c
}

// of returns a copy with that many blocks.
func (c content) of(blocks int) content {
	return append(slices.Clone(c[:min(len(c), blocks)]), make(content, max(0, blocks-len(c)))...)
}

// extents are the stretches of one value, within a region each.
func (c content) extents(from, count int) (list []extent) {
	for i := from; i < from+count; {
		j := i + 1
		for j < from+count && c[j] == c[i] && j%regionBlocks != 0 {
			j++
		}
		at := int64(i/regionBlocks)*regionStride + int64(i%regionBlocks)*blockSize
		list = append(list, extent{at, int64(j-i) * blockSize, c[i]})
		i = j
	}
	return list
}

// check has qemu-img look for damage in images.
func check(paths ...string) error {
	var errs []error
	for _, path := range paths {
		if out, err := exec.Command("qemu-img", "check", "-q", "-f", "qcow2", path).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("qemu-img check %s: %w: %s", filepath.Base(filepath.Dir(path)), err, out))
		}
	}
	return errors.Join(errs...)
}
