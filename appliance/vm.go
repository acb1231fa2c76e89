package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
	"golang.org/x/sys/unix"
)

// A vm is one running QEMU, a child of this process.
type vm struct {
	port    net.Conn      // to the init in the VM
	console *tail         // what the VM's kernel said
	errs    *tail         // what QEMU said
	pid     int           // of QEMU, and of its process group
	done    chan struct{} // closed when QEMU is gone and reaped
	err     error         // how QEMU ended; valid once done is closed
}

// launch starts QEMU. The caller calls end, whatever happens.
func launch(qemu string, args []string) (*vm, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	v := &vm{port: ours, console: &tail{limit: 32 << 10}, errs: &tail{limit: 8 << 10}, done: make(chan struct{})}
	cmd := exec.Command(qemu, args...)
	cmd.Stdout, cmd.Stderr = v.console, v.errs
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The death signal comes when the thread that forked ends, not the process:
		// so this thread is kept until QEMU is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		v.pid = cmd.Process.Pid
		started <- nil
		v.err = cmd.Wait()
		close(v.done)
	}()
	if err := <-started; err != nil {
		ours.Close()
		return nil, err
	}
	return v, nil
}

// end kills QEMU if it still runs, and returns once it is gone.
func (v *vm) end() {
	v.signal(syscall.SIGKILL)
	v.port.Close()
	<-v.done
}

// signal reaches QEMU while it has not been reaped: its number is not another's.
func (v *vm) signal(s syscall.Signal) {
	select {
	case <-v.done:
	default:
		_ = syscall.Kill(-v.pid, s) // gone meanwhile: nothing to do
	}
}

// gone waits for QEMU to end by itself.
func (v *vm) gone(limit time.Duration) bool {
	select {
	case <-v.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// why explains the end of a conversation by what QEMU and the kernel said. It is
// for errors of the port: a VM that works has none.
func (v *vm) why(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(cause, os.ErrDeadlineExceeded) {
		return &clade.Error{Kind: clade.Timeout, Err: fmt.Errorf("the appliance said nothing for %v; its console: %s",
			silence, v.console.last(5)), Hint: "the disk may be damaged: check it with fsck"}
	}
	if !v.gone(5 * time.Second) {
		return fmt.Errorf("the appliance cannot be understood: %w", cause)
	}
	if text := v.errs.last(3); text != "" && !strings.HasPrefix(text, "qemu: terminating") {
		return qemuError(text)
	}
	if text := v.console.telling(); text != "" {
		return fmt.Errorf("the appliance died; its console: %s", text)
	}
	return fmt.Errorf("QEMU ended without a word: %w", errors.Join(v.err, cause))
}

// socketPair returns a connection and the file that is its other end.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "port"), os.NewFile(uintptr(fds[1]), "port")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}
