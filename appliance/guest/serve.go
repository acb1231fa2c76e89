package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
	"golang.org/x/sys/unix"
)

// A server answers the host's requests. Those to read are answered as they are
// done, several at a time; all others wait until nothing else is at work.
type server struct {
	port    io.ReadWriter
	writing sync.Mutex // one frame at a time
	mods    *modules
	disks   disks
	looping sync.Mutex   // held while a loop is made
	btrfs   sync.Mutex   // held while btrfs knows the volumes of a machine
	devices atomic.Int64 // how many device-mapper devices were made
	marks   func() []identity.Mark
}

func newServer(port io.ReadWriter, mods *modules) *server {
	return &server{port: port, mods: mods, disks: disks{mods: mods}, marks: sync.OnceValue(identity.All)}
}

// serve returns io.EOF once the host wants no more.
func (s *server) serve() error {
	var reading sync.WaitGroup
	defer reading.Wait()
	for {
		var req Request
		if err := ReadFrame(s.port, &req); err != nil {
			return err
		}
		if req.Verb == Read {
			// A port that fails here fails at the next request too.
			reading.Go(func() { _ = s.send(s.answer(req)) })
			continue
		}
		reading.Wait()
		if err := s.send(s.answer(req)); err != nil {
			return err
		}
		if req.Verb == PowerOff {
			return io.EOF
		}
	}
}

func (s *server) send(reply Reply) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return WriteFrame(s.port, reply)
}

// answer does what is asked. A panic is a fault of this request, not the end.
func (s *server) answer(req Request) (reply Reply) {
	defer func() {
		if r := recover(); r != nil {
			fault := fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			reply = Reply{Fault: faultOf(fault)}
		}
		reply.ID, reply.Last = req.ID, true
	}()
	tell := func(e clade.Event) {
		// A port that fails here fails at the answer too.
		_ = s.send(Reply{ID: req.ID, Event: &e})
	}
	var result any
	var err error
	switch req.Verb {
	case Greet:
		reply.Kernel, err = greet(req)
	case Generalize:
		result, reply.Notes, err = s.generalize(req, tell)
	case Read:
		result, reply.Notes, err = s.read(req)
	case Merge:
		result, reply.Notes, err = s.merge(req, tell)
	case PowerOff:
		unix.Sync()
	default:
		err = fmt.Errorf("unknown verb %.40q", req.Verb)
	}
	if result != nil {
		text, merr := json.Marshal(result)
		reply.Result = text
		err = errors.Join(err, merr)
	}
	if err != nil {
		reply.Fault = faultOf(err)
	}
	return reply
}

// greet sets the clock, which starts at 1970 here, and names the kernel.
func greet(req Request) (string, error) {
	tv := unix.NsecToTimeval(req.Time)
	if req.Time > 0 {
		if err := unix.Settimeofday(&tv); err != nil {
			return "", fmt.Errorf("set the clock to %v: %w", time.Unix(0, req.Time), err)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// faultOf flattens an error, keeping what faces need.
func faultOf(err error) *Fault {
	f := &Fault{Kind: clade.KindOf(err), Hint: clade.HintOf(err), Text: err.Error()}
	if e, ok := errors.AsType[*clade.Error](err); ok && e == err {
		f.Op, f.On, f.Text = e.Op, e.On, ""
		if e.Err != nil {
			f.Text = e.Err.Error()
		}
	}
	f.Text = strings.ToValidUTF8(f.Text, "?")
	return f
}
