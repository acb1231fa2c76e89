package image

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a confined program may do with the files it is handed, and with the
// folders that programs and libraries are installed in.
const (
	mayRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE
	mayWrite = mayRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	mayRun   = mayRead | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_EXECUTE
)

// programPlaces are where a program and its libraries come from, on the usual
// distributions, NixOS and Guix. The files are what the loader and libgcrypt read.
var programPlaces = []string{"/usr", "/bin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/gnu/store",
	"/etc/ld.so.cache", "/etc/ld.so.preload", "/proc/sys/crypto/fips_enabled"}

// An access is a file, or what lies beneath a folder, and what may be done to it.
type access struct {
	path string
	may  uint64
}

// runConfined runs cmd to its end so that it, and what it starts, can open
// nothing but programs, libraries and the given files, and make no TCP
// connection. It dies with this process, and is idle where the calling thread is. Kernels without Landlock (before 5.13,
// or built or booted without) run it unconfined: Landlock is the last of several
// walls, never the only one.
func runConfined(cmd *exec.Cmd, allow []access) error {
	result := make(chan error, 1)
	idle := isIdle()
	go onDoomedThread(func() {
		if idle {
			beIdle()
		}
		if err := confineThread(allow); err != nil {
			result <- fmt.Errorf("confine %s: %w", cmd.Path, err)
			return
		}
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // watches the thread, which waits
		result <- cmd.Run()
	})
	return <-result
}

// onDoomedThread calls do, once, on a thread that ends with it: a goroutine that
// returns without unlocking takes its thread along. The main thread is the one
// that Go only puts to sleep. It would hold on to what Landlock was told of, and
// a file removed after a failure would fill the disk as long as clade runs; so
// where the main thread it is, it waits here and lets another one do the work.
func onDoomedThread(do func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		do()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		do()
	}()
	<-done
	runtime.UnlockOSThread()
}

// confineThread restricts the calling thread for the rest of its life.
func confineThread(allow []access) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi < 1 {
		return nil
	}
	attr := handled(int(abi))
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return errno
	}
	ruleset := int(fd)
	defer unix.Close(ruleset)
	for _, place := range programPlaces {
		if err := permit(ruleset, access{place, mayRun & attr.Handled_access_fs}); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for _, a := range append([]access{{os.DevNull, mayWrite}}, allow...) { // package exec opens it for stdin
		a.may &= attr.Handled_access_fs
		if err := permit(ruleset, a); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// handled is everything that the kernel's version of Landlock can forbid.
func handled(abi int) unix.LandlockRulesetAttr {
	var a unix.LandlockRulesetAttr
	a.Handled_access_fs = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1
	if abi >= 2 {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		a.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 6 {
		a.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return a
}

// permit adds one access to the ruleset. On a file, rights of folders are void
// and would be an error.
func permit(ruleset int, a access) error {
	fd, err := unix.Open(a.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: a.path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		a.may &^= unix.LANDLOCK_ACCESS_FS_READ_DIR
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: a.may, Parent_fd: int32(fd)}
	// The kernel's struct is packed: 12 bytes, without Go's padding, which it does not read.
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("permit %s: %w", a.path, errno)
	}
	return nil
}
