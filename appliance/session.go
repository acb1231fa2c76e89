package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance/guest"
)

const (
	// silence is how long the VM may say nothing before it is given up.
	silence = 10 * time.Minute
	// parting is how long QEMU may take to end after the VM said goodbye.
	parting = 10 * time.Second
	// maxText bounds every text that comes out of the VM, in bytes.
	maxText = 4096
)

// A session is a conversation with a VM that has booted.
type session struct {
	vm     *vm
	lastID uint64
}

// run boots the VM with the disks, lets work talk to it, and powers it off. When
// it returns nil the VM's writes are on the disks' files and QEMU is gone; on an
// error, too, nothing runs any more.
func (a *Appliance) run(ctx context.Context, disks []Disk, cpus int, p clade.Progress, work func(*session) error) error {
	s, qemu, err := a.prepare(ctx, disks, p)
	if err != nil {
		return err
	}
	s.cpus = cpus
	args, err := s.args()
	if err != nil {
		return err
	}
	began := time.Now()
	v, err := launch(qemu, args)
	if err != nil {
		return &clade.Error{Op: "start", On: "the appliance", Kind: clade.Missing, Err: err}
	}
	defer v.end()
	stop := context.AfterFunc(ctx, func() { v.signal(syscall.SIGKILL) })
	defer stop()
	t := &session{vm: v}
	reply, err := t.call(ctx, guest.Request{Verb: guest.Greet, Time: time.Now().UnixNano()}, nil)
	if c, ok := errors.AsType[*complaint](err); ok && c.disk < len(disks) {
		return &clade.Error{Op: "open", On: "disk " + disks[c.disk].Path, Kind: clade.KindOf(err), Err: c, Hint: clade.HintOf(err)}
	}
	if err != nil {
		return err
	}
	a.log().Debug("appliance is up", "kernel", reply.Kernel, "accelerator", s.accel, "disks", len(disks), "took", time.Since(began))
	if err := work(t); err != nil {
		return err
	}
	if _, err := t.call(ctx, guest.Request{Verb: guest.PowerOff}, nil); err != nil {
		return err
	}
	if !v.gone(parting) {
		return &clade.Error{Op: "power off", On: "the appliance", Kind: clade.Internal,
			Err: fmt.Errorf("QEMU still runs after %v; its console: %s", parting, v.console.last(5))}
	}
	if err := flush(disks); err != nil {
		return err
	}
	a.log().Debug("appliance is done", "took", time.Since(began))
	return ctx.Err()
}

// flush forces what the VM wrote out to the host's disks. Until then nothing was:
// after an error the files are thrown away, and the guest's own flushes, of which a
// file system makes many, would each wait for the host.
func flush(disks []Disk) error {
	for _, d := range disks {
		if d.ReadOnly {
			continue
		}
		f, err := os.Open(d.Path)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return &clade.Error{Op: "write out", On: "disk " + d.Path, Kind: kindOf(err), Err: err}
		}
	}
	return nil
}

// prepare checks and makes all that QEMU needs.
func (a *Appliance) prepare(ctx context.Context, disks []Disk, p clade.Progress) (s spec, qemu string, err error) {
	if len(disks) > MaxDisks {
		return s, "", &clade.Error{Op: "start", On: "the appliance", Kind: clade.Invalid,
			Err: fmt.Errorf("%d disks are more than %d", len(disks), MaxDisks)}
	}
	name := a.QEMU
	if name == "" {
		name = "qemu-system-x86_64"
	}
	qemu, err = exec.LookPath(name)
	if err != nil {
		return s, "", &clade.Error{Op: "start", On: "the appliance", Kind: clade.Missing, Err: err,
			Hint: "sudo apt-get install qemu-system-x86"}
	}
	for _, d := range disks {
		links, err := d.chain()
		if err != nil {
			return s, "", err
		}
		s.disks, s.write = append(s.disks, links), append(s.write, !d.ReadOnly)
	}
	k, err := FindKernel(ctx, a.Dir, a.Kernel, p)
	if err != nil {
		return s, "", err
	}
	binary, err := a.init()
	if err != nil {
		return s, "", err
	}
	s.kernel, s.accel, s.memory, s.ticks = k.Image, a.Accel, a.Memory, ticks()
	if s.accel == "" {
		s.accel = "tcg"
	}
	if s.memory == 0 {
		s.memory = 384*clade.MiB + clade.Bytes(len(disks))*2*clade.MiB
	}
	s.uring = uring(qemu)
	s.initrd, err = initramfs(ctx, a.Dir, k, binary)
	if err != nil && clade.KindOf(err) == clade.Internal {
		err = &clade.Error{Op: "make", On: "the appliance's root", Kind: kindOf(err), Err: err}
	}
	return s, qemu, err
}

// call sends a request and waits for its last reply, passing on progress. An error
// with a reply is about the work; one without is the end of the conversation.
func (t *session) call(ctx context.Context, req guest.Request, p clade.Progress) (*guest.Reply, error) {
	id, err := t.send(ctx, req)
	if err != nil {
		return nil, err
	}
	reply, err := t.receive(ctx, p)
	if reply != nil && reply.ID != id {
		return nil, t.broken(ctx, fmt.Errorf("reply %d to request %d", reply.ID, id))
	}
	return reply, err
}

// send sends a request and returns its number.
func (t *session) send(ctx context.Context, req guest.Request) (uint64, error) {
	t.lastID++
	req.ID = t.lastID
	if err := guest.WriteFrame(t.vm.port, req); err != nil {
		return 0, t.broken(ctx, err)
	}
	return req.ID, nil
}

// receive waits for the next reply that is the last to its request.
func (t *session) receive(ctx context.Context, p clade.Progress) (*guest.Reply, error) {
	for {
		if err := t.vm.port.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return nil, t.broken(ctx, err)
		}
		var reply guest.Reply
		if err := guest.ReadFrame(t.vm.port, &reply); err != nil {
			return nil, t.broken(ctx, err)
		}
		for i, note := range reply.Notes {
			reply.Notes[i] = clean(note)
		}
		switch {
		case reply.Fault != nil:
			return &reply, fault(reply.Fault)
		case reply.Last:
			return &reply, nil
		case reply.Event != nil:
			e := *reply.Event
			e.Step, e.Note, e.Unit = clean(e.Step), clean(e.Note), clean(e.Unit)
			p.Tell(e)
		}
	}
}

// broken is the error of a conversation that has ended.
func (t *session) broken(ctx context.Context, err error) error {
	why := t.vm.why(ctx, err)
	return &clade.Error{Op: "use", On: "the appliance", Kind: kindOf(why), Err: why, Hint: clade.HintOf(why)}
}

// fault makes an error of what the VM says.
func fault(f *guest.Fault) error {
	e := &clade.Error{Op: clean(f.Op), On: clean(f.On), Kind: clade.Kind(clean(string(f.Kind))), Hint: clean(f.Hint)}
	if e.Kind == "" {
		e.Kind = clade.Internal
	}
	if f.Text != "" {
		e.Err = errors.New(clean(f.Text))
	}
	return e
}

// clean bounds a text from the VM and takes control characters out of it.
func clean(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
}

// Hello boots the VM, waits for its answer and ends it: the functional probe of
// an accelerator. ctx is the limit; where it ends first, kind Timeout.
func (a *Appliance) Hello(ctx context.Context, accel string) error {
	probe := *a
	probe.Accel = accel
	return probe.run(ctx, nil, 1, nil, func(*session) error { return nil })
}
