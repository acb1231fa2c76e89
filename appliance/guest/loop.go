package guest

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A loop is a device that passes all on to another one, but for one thing: what a
// file system says it has no more use for (discard) it overwrites with zeroes. A
// disk may ignore the first, in part or altogether; the second it must do, and a
// virtual one does it without writing. See block_fallocate and lo_fallocate in
// the kernel's drivers.
type loop struct {
	device string
	f      *os.File
}

// newLoop puts a loop over a device or a file. The caller closes it.
func (s *server) newLoop(over string) (*loop, error) {
	if err := s.mods.load("loop"); err != nil {
		return nil, err
	}
	s.looping.Lock() // a number is free until a loop has it
	defer s.looping.Unlock()
	below, err := os.OpenFile(over, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer below.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, err
	}
	l := &loop{device: fmt.Sprintf("/dev/loop%d", n)}
	if l.f, err = openSoon(l.device, os.O_RDWR); err != nil {
		return nil, err
	}
	if err := unix.IoctlLoopConfigure(int(l.f.Fd()), &unix.LoopConfig{Fd: uint32(below.Fd())}); err != nil {
		return nil, errors.Join(fmt.Errorf("put a loop over %s: %w", over, err), l.f.Close())
	}
	return l, nil
}

// close takes the loop away. What was written to it is then in the cache of the
// device below, see volume.settle.
func (l *loop) close() error {
	err := unix.IoctlSetInt(int(l.f.Fd()), unix.LOOP_CLR_FD, 0)
	return errors.Join(err, l.f.Close())
}
