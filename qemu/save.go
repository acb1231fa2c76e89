package qemu

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qmp"
)

// moveSocket, in Place.Run, is where a state goes in or out. QEMU's own ways to a
// file need a program (exec:, which its sandbox forbids) or a newer QEMU (file:).
const moveSocket = "mv"

// moveLimit bounds the saving or loading of a state, which is a fraction of a megabyte
// where the memory is not in it; keepLimit of one that it is in.
const (
	moveLimit = 60 * time.Second
	keepLimit = 20 * time.Minute
)

// Bind implements hypervisor.Saver.
func (d *Driver) Bind(ctx context.Context, accelerator string, known clade.Bound) (clade.Bound, error) {
	binary, err := d.Binary()
	if err != nil {
		return clade.Bound{}, err
	}
	b := clade.Bound{Accelerator: accelerator, CPU: "max"}
	if accelerator == "kvm" {
		if b.CPU, err = hostCPU("/proc/cpuinfo"); err != nil {
			return b, fileError("read", "/proc/cpuinfo", err)
		}
	}
	if b.Binary, err = digest(binary); err != nil {
		return b, fileError("read", binary, err)
	}
	if b.Binary == known.Binary { // the same program gives the same answers
		b.Version, b.Machine = known.Version, known.Machine
		return b, nil
	}
	if b.Version, err = d.Version(ctx); err != nil {
		return b, err
	}
	out, err := exec.CommandContext(ctx, binary, "-machine", "help").Output()
	if err != nil {
		return b, &clade.Error{Op: "ask", On: binary, Kind: clade.KindOf(err), Err: err}
	}
	m := q35Alias.FindSubmatch(out)
	if m == nil {
		return b, &clade.Error{Op: "ask", On: binary, Kind: clade.Unsupported, Err: errors.New("it names no version of its machine type q35")}
	}
	b.Machine = string(m[1])
	return b, nil
}

// q35Alias is the line of "-machine help" that says which version q35 stands for.
var q35Alias = regexp.MustCompile(`(?m)^q35 .*\(alias of (pc-q35-[0-9.]+)\)`)

// hostCPU names the processor that "-cpu host" passes through, with its features.
func hostCPU(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(text), "\n\n")
	var name string
	hash := sha256.New()
	for line := range strings.SplitSeq(first, "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name", "Processor":
			name = strings.TrimSpace(value)
		case "flags", "vmx flags", "bugs", "Features", "stepping", "model", "cpu family":
			hash.Write([]byte(line + "\n"))
		}
	}
	return fmt.Sprintf("%s (%s)", name, hex.EncodeToString(hash.Sum(nil)[:4])), nil
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), err
}

// Save implements hypervisor.Saver. The memory is left out of the state: it is in
// its file already, which QEMU maps and the guest writes to.
func (d *Driver) Save(ctx context.Context, p hypervisor.Place, state string) error {
	if err := running(p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return talkError(p, "ask", "QEMU", err)
	}
	defer c.Close()
	if shared, err := sharesMemory(ctx, c); err != nil || !shared {
		if err == nil {
			err = &clade.Error{Op: "save", On: "machine", Kind: clade.Unsupported, Err: errors.New("its memory is no file of its own")}
		}
		return talkError(p, "save", "machine", err)
	}
	if err := c.Execute(ctx, "stop", nil, nil); err != nil {
		return talkError(p, "stop", "machine", err)
	}
	if err := withoutMemory(ctx, c); err != nil {
		return talkError(p, "save", "machine", err)
	}
	return talkError(p, "save", "machine", pour(ctx, c, filepath.Join(p.Run, moveSocket), state))
}

// sharesMemory tells whether what the guest writes to its memory is in a file.
func sharesMemory(ctx context.Context, c *qmp.Client) (bool, error) {
	var backends []struct {
		ID    string `json:"id"`
		Share bool   `json:"share"`
	}
	if err := c.Execute(ctx, "query-memdev", nil, &backends); err != nil {
		return false, err
	}
	for _, b := range backends {
		if b.ID == memoryID && b.Share {
			return true, nil
		}
	}
	return false, nil
}

// pour writes the state of a machine that stands still to the new file state. Whoever
// seals that makes it last: the machine need not wait for the disk.
func pour(ctx context.Context, c *qmp.Client, socket, state string) (err error) {
	out, err := os.OpenFile(state, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = os.Remove(state)
		}
	}()
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) { // of a caller that died
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer l.Close()
	took := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			abort := context.AfterFunc(ctx, func() { conn.Close() })
			_, err = io.Copy(out, conn)
			abort()
			conn.Close()
		}
		took <- err
	}()
	err = c.Execute(ctx, "migrate", object{"uri": "unix:" + socket}, nil)
	if err == nil {
		err = moved(ctx, c)
	}
	if err == nil {
		return <-took
	}
	l.Close()
	if written := <-took; clade.KindOf(written) == clade.NoSpace {
		return written // QEMU only knows that nobody takes what it writes
	}
	return err
}

// withoutMemory tells QEMU that memory in files is not part of a state.
func withoutMemory(ctx context.Context, c *qmp.Client) error {
	return c.Execute(ctx, "migrate-set-capabilities", object{"capabilities": []object{
		{"capability": "x-ignore-shared", "state": true}}}, nil)
}

// moved returns once a state is out or in.
func moved(ctx context.Context, c *qmp.Client) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		var said struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := c.Execute(ctx, "query-migrate", nil, &said); err != nil {
			return err
		}
		switch said.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return &clade.Error{Kind: clade.Corrupt, Err: fmt.Errorf("the state could not be moved: %s", said.Error)}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// resume gives a QEMU that waits for it the state in a file, and lets its
// processors run. A state that is none makes QEMU end, or say so.
func resume(ctx context.Context, p hypervisor.Place, m hypervisor.Memory) error {
	limit := moveLimit
	if m.File == "" {
		limit = keepLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	in, err := os.Open(m.State)
	if err != nil {
		return err
	}
	defer in.Close()
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return err
	}
	defer c.Close()
	if m.File != "" {
		if err := withoutMemory(ctx, c); err != nil {
			return err
		}
	}
	socket := filepath.Join(p.Run, moveSocket)
	defer os.Remove(socket)
	if err := c.Execute(ctx, "migrate-incoming", object{"uri": "unix:" + socket}, nil); err != nil {
		return err
	}
	conn, err := connect(ctx, p, moveSocket)
	if err != nil {
		return err
	}
	_, err = io.Copy(conn, bufio.NewReaderSize(in, 1<<20))
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	if err := moved(ctx, c); err != nil {
		return err
	}
	return c.Execute(ctx, "cont", nil, nil)
}
