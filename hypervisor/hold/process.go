package hold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// A Process was started by this process and goes on when this process ends.
type Process struct {
	PID   int
	Ended chan struct{} // closed once it ended and was reaped
	cmd   *exec.Cmd
}

// Kill ends the process by SIGKILL and returns once it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it fails only where the process is gone
	<-p.Ended
}

// Start starts cmd as the holder of the lock: in a session of its own, with no
// file of this process but the lock and what cmd names. Release the lock after
// it, at the latest when the process is known to be well.
//
// The process outlives the caller. While the caller lives it reaps the process,
// so that no zombie stays; nobody needs to wait for that.
func (l *Lock) Start(cmd *exec.Cmd) (*Process, error) {
	// Files that were passed on to this process without close-on-exec, by a shell's
	// redirection, would be passed on again: whoever waits for their end would
	// wait as long as the machine runs. Best effort: kernels before 5.11 cannot.
	_ = unix.CloseRange(3, 1<<30, unix.CLOSE_RANGE_CLOEXEC)
	cmd.ExtraFiles = append(cmd.ExtraFiles, l.file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := l.write(-os.Getpid()); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		kind := clade.KindOf(err)
		if kind == clade.NotFound {
			kind = clade.Missing
		}
		return nil, &clade.Error{Op: "run", On: cmd.Path, Kind: kind, Err: err}
	}
	p := &Process{PID: cmd.Process.Pid, Ended: make(chan struct{}), cmd: cmd}
	go func() {
		_ = cmd.Wait() // how it ended is told by its traces, to whoever asks
		close(p.Ended)
	}()
	if err := l.write(p.PID); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// write says whose the lock is, in one write that replaces the last one.
func (l *Lock) write(pid int) error {
	if _, err := l.file.WriteAt(fmt.Appendf(nil, "%-12d\n", pid), 0); err != nil {
		return &clade.Error{Op: "write", On: l.file.Name(), Kind: clade.KindOf(err), Err: err}
	}
	return nil
}

// Kill ends the holder of the lock at path by SIGKILL and returns once it holds the
// lock no more; another may, who was started at once. No other process can be hit.
// Where nobody holds the lock it does nothing; kind Busy where the holder is still
// being started.
func Kill(ctx context.Context, path string) error {
	held, err := Held(path)
	if err != nil || !held {
		return err
	}
	was, err := kill(path)
	if err != nil {
		if held, _ := Held(path); held {
			return err
		}
		return nil
	}
	return wait(ctx, path, func() bool {
		now, err := os.ReadFile(path)
		return err == nil && len(now) > 0 && !bytes.Equal(now, was)
	})
}

// kill signals the holder by a pidfd that is opened before the holder is
// verified, so that the process id cannot change hands in between. It returns what
// the lock said.
func kill(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &clade.Error{Op: "read", On: path, Kind: clade.KindOf(err), Err: err}
	}
	busy := &clade.Error{Op: "kill", On: "the holder of " + path, Kind: clade.Busy,
		Err: errors.New("another command is starting it"), Hint: "try again in a moment"}
	pid, err := holder(string(text), path)
	if err != nil {
		return nil, &clade.Error{Op: "look at", On: path, Kind: clade.KindOf(err), Err: err}
	}
	if pid == 0 {
		return nil, busy
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, busy
	}
	defer unix.Close(fd)
	open, err := hasOpen(pid, path)
	if err != nil {
		return nil, &clade.Error{Op: "read", On: path, Kind: clade.KindOf(err), Err: err}
	}
	if !open {
		return nil, busy
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return nil, &clade.Error{Op: "kill", On: fmt.Sprintf("process %d", pid), Kind: clade.Denied, Err: err}
	}
	return text, nil
}

// Wait returns once nobody holds the lock at path, or with kind Timeout when ctx
// ends first.
func Wait(ctx context.Context, path string) error {
	return wait(ctx, path, func() bool { return false })
}

// wait returns also once another holds the lock.
func wait(ctx context.Context, path string, another func() bool) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		held, err := Held(path)
		if err != nil || !held || another() {
			return err
		}
		select {
		case <-ctx.Done():
			return &clade.Error{Op: "wait for", On: path, Kind: clade.Timeout, Err: ctx.Err()}
		case <-time.After(pause):
		}
	}
}
