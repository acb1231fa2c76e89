package image

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Idly calls do on a thread that has the processor and the disk only where nobody else
// wants them; so have the tools of this package that do runs. What the kernel refuses
// of that is not done: the work is not worth less for it.
func Idly(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		beIdle()
		do()
	}()
	<-done
}

// beIdle makes the calling thread wait for everybody else.
func beIdle() {
	const (
		who   = 1       // IOPRIO_WHO_PROCESS
		class = 3 << 13 // IOPRIO_CLASS_IDLE
	)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, who, 0, class)
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
}

// isIdle tells whether the calling thread does.
func isIdle() bool {
	a, err := unix.SchedGetAttr(0, 0)
	return err == nil && a.Policy == unix.SCHED_IDLE
}
