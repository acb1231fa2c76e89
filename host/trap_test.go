//go:build integration

package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"golang.org/x/sys/unix"
)

// A trap is a process that does acts on a home as commands do, each of whose system
// calls on files of that home is shown to this one before the kernel does it, also
// those of the programs it starts. It is let go, or answered with an error: to the
// process there is no difference to a disk that fails. (seccomp_unotify(2).)
type trap struct {
	in     io.Writer
	out    *bufio.Reader
	judges sync.WaitGroup

	mu    sync.Mutex // guards dir and judge
	dir   string     // the home
	judge func(call) syscall.Errno
}

// A call is one system call on a file of the home.
type call struct {
	name   string
	path   string // relative to the home; of a rename or link, the new name is in to
	to     string
	create bool   // the file is made if it is not there
	write  bool   // it is opened for writing
	tool   string // the program that does it, where it is not clade itself
}

// sign is the call with the ids left out, which are others each time.
func (c call) sign() string {
	return ids.ReplaceAllString(strings.TrimSpace(c.tool+" "+c.name)+" "+c.path, "ID")
}

var ids = regexp.MustCompile(`\b[a-z2-7]{10}\b`)

// How a call names its files: by the arguments that hold a path (and the directory
// it is relative to) or an open file.
type shape struct {
	name string
	dir  int // the argument with the directory; -1: the working directory
	path int // the argument with the path; -1: none
	fd   int // the argument with the open file; -1: none
	to   int // the argument with the second path, before which its directory is, if dir is not -1
}

const none = -1

var trapped = map[int32]shape{
	unix.SYS_OPEN: {"open", none, 0, none, none}, unix.SYS_OPENAT: {"open", 0, 1, none, none},
	unix.SYS_MKDIR: {"mkdir", none, 0, none, none}, unix.SYS_MKDIRAT: {"mkdir", 0, 1, none, none},
	unix.SYS_RENAME: {"rename", none, 0, none, 1}, unix.SYS_RENAMEAT: {"rename", 0, 1, none, 3}, unix.SYS_RENAMEAT2: {"rename", 0, 1, none, 3},
	unix.SYS_LINK: {"link", none, 0, none, 1}, unix.SYS_LINKAT: {"link", 0, 1, none, 3}, unix.SYS_SYMLINKAT: {"symlink", 1, 2, none, none},
	unix.SYS_UNLINK: {"unlink", none, 0, none, none}, unix.SYS_UNLINKAT: {"unlink", 0, 1, none, none}, unix.SYS_RMDIR: {"unlink", none, 0, none, none},
	unix.SYS_STAT: {"stat", none, 0, none, none}, unix.SYS_LSTAT: {"stat", none, 0, none, none}, unix.SYS_NEWFSTATAT: {"stat", 0, 1, none, none},
	unix.SYS_FCHMODAT: {"chmod", 0, 1, none, none}, unix.SYS_FCHMOD: {"chmod", none, none, 0, none},
	unix.SYS_WRITE: {"write", none, none, 0, none}, unix.SYS_PWRITE64: {"write", none, none, 0, none}, unix.SYS_PWRITEV: {"write", none, none, 0, none},
	unix.SYS_READ: {"read", none, none, 0, none}, unix.SYS_PREAD64: {"read", none, none, 0, none}, unix.SYS_PREADV: {"read", none, none, 0, none},
	unix.SYS_GETDENTS64: {"readdir", none, none, 0, none},
	unix.SYS_FSYNC:      {"sync", none, none, 0, none}, unix.SYS_FDATASYNC: {"sync", none, none, 0, none}, unix.SYS_SYNCFS: {"syncfs", none, none, 0, none},
	unix.SYS_FTRUNCATE: {"truncate", none, none, 0, none}, unix.SYS_FALLOCATE: {"truncate", none, none, 0, none},
	unix.SYS_COPY_FILE_RANGE: {"write", none, none, 2, none}, unix.SYS_IOCTL: {"clone", none, none, 0, none},
}

// newTrap starts the process. It ends with the test.
func newTrap(t *testing.T, dir string) *trap {
	t.Helper()
	ours, theirs, err := socketpair()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "as-trapped")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start(), theirs.Close()); err != nil {
		t.Fatal(err)
	}
	listener, err := receive(ours)
	if err != nil {
		t.Fatalf("no listener of seccomp: %v", err)
	}
	x := &trap{dir: dir, in: in, out: bufio.NewReader(out)}
	x.judges.Go(func() { x.watch(listener) })
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Errorf("the trapped process: %v", err)
		}
		x.judges.Wait()
	})
	return x
}

func socketpair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	file := os.NewFile(uintptr(fds[0]), "ours")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, nil, err
	}
	return c.(*net.UnixConn), os.NewFile(uintptr(fds[1]), "theirs"), nil
}

func receive(c *net.UnixConn) (int, error) {
	defer c.Close()
	data, control := make([]byte, 1), make([]byte, 64)
	_, n, _, _, err := c.ReadMsgUnix(data, control)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) == 0 {
		return -1, fmt.Errorf("%d messages, %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// asTrapped has its system calls reported from now on, hands over the file on which
// they are, and becomes the process that does acts.
func asTrapped() int {
	runtime.LockOSThread()
	listener, err := filter()
	if err == nil {
		err = unix.Sendmsg(3, []byte{0}, unix.UnixRights(listener), nil, 0)
	}
	if err == nil {
		err = unix.Exec(os.Args[0], []string{os.Args[0], "as-actor"}, os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// filter installs the filter that reports the calls in trapped.
func filter() (int, error) {
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	program := []unix.SockFilter{{Code: load}}
	for nr := range trapped {
		program = append(program, unix.SockFilter{Code: equal, K: uint32(nr), Jf: 1}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	program = append(program, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// asDeed is before an act that is said in the words of perform, not of the model.
const asDeed = "deed "

// asActor does the acts it reads from standard input, each as a command of its own,
// and says the kind of its error, how many files are open after it, and the error.
func asActor() int {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		dir, act, _ := strings.Cut(lines.Text(), "\t")
		c, do := attacked(dir), enact
		if deed, is := strings.CutPrefix(act, asDeed); is {
			c, do, act = config(dir), perform, deed
		}
		h, err := host.Open(context.Background(), c)
		if err == nil {
			err = do(context.Background(), h, act)
			err = errors.Join(err, h.Close())
		}
		text := ""
		if err != nil {
			text = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Printf("%s\t%d\t%s\n", clade.KindOf(err), len(listed("/proc/self/fd")), text)
	}
	return 0
}

// do has an act done whose calls judge decides on: 0 lets one go.
func (x *trap) do(act string, judge func(call) syscall.Errno) (clade.Kind, string, error) {
	x.mu.Lock()
	x.judge = judge
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		x.judge = nil
		x.mu.Unlock()
	}()
	if _, err := fmt.Fprintf(x.in, "%s\t%s\n", x.dir, act); err != nil {
		return "", "", err
	}
	line, err := x.out.ReadString('\n')
	if err != nil {
		return "", "", err
	}
	parts := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
	return clade.Kind(parts[0]), parts[2], nil
}

// A notification and its answer, as the kernel has them.
type notification struct {
	id         uint64
	pid, flags uint32
	nr, arch   int32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id        uint64
	val       int64
	errno     int32
	continue_ uint32
}

// watch answers until no process has the filter any more.
func (x *trap) watch(listener int) {
	defer unix.Close(listener)
	for {
		poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); errors.Is(err, unix.EINTR) {
			continue
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			return
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // it died meanwhile
		}
		a := answer{id: n.id}
		if errno := x.decide(n); errno != 0 {
			a.errno = -int32(errno)
		} else {
			a.continue_ = 1
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a)))
	}
}

func (x *trap) decide(n notification) syscall.Errno {
	x.mu.Lock()
	defer x.mu.Unlock()
	c, ok := x.read(n)
	if !ok || x.judge == nil {
		return 0
	}
	return x.judge(c)
}

// read makes a call of a notification, if it is about a file of the home.
func (x *trap) read(n notification) (c call, ok bool) {
	s := trapped[n.nr]
	c.name = s.name
	if n.nr == unix.SYS_IOCTL && n.args[1] != unix.FICLONE {
		return c, false
	}
	var err error
	if s.fd != none {
		c.path, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[s.fd])))
	} else {
		c.path, err = path(n, s.dir, s.path)
	}
	if err == nil && s.to != none {
		dir := none
		if s.dir != none {
			dir = s.to - 1
		}
		c.to, err = path(n, dir, s.to)
	}
	if err != nil {
		return c, false
	}
	if c.path, ok = x.inside(c.path); !ok {
		if c.path, ok = x.inside(c.to); !ok { // a file without a name gets one
			return c, false
		}
	}
	c.to, _ = x.inside(c.to)
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", n.pid)); err == nil && strings.HasPrefix(string(comm), "qemu-") {
		c.tool = strings.TrimSpace(string(comm))
	}
	if c.name == "open" {
		flags := n.args[s.path+1]
		c.create, c.write = flags&unix.O_CREAT != 0, flags&(unix.O_WRONLY|unix.O_RDWR) != 0
	}
	return c, true
}

func (x *trap) inside(path string) (string, bool) {
	rel, is := strings.CutPrefix(path, x.dir+"/")
	return strings.TrimSuffix(rel, " (deleted)"), is
}

// path reads a path out of the memory of the process that waits.
func path(n notification, dir, arg int) (string, error) {
	b := make([]byte, 4096)
	at := uintptr(n.args[arg])
	length := min(len(b), 4096-int(at%4096)) // not beyond the page, which may be the last
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	remote := []unix.RemoteIovec{{Base: at, Len: length}}
	got, err := unix.ProcessVMReadv(int(n.pid), local, remote, 0)
	if err != nil {
		return "", err
	}
	end := slices.Index(b[:got], 0)
	if end < 0 {
		remote[0].Len = len(b)
		if got, err = unix.ProcessVMReadv(int(n.pid), local, remote, 0); err != nil {
			return "", err
		}
		end = max(slices.Index(b[:got], 0), 0)
	}
	name := string(b[:end])
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil
	}
	base := fmt.Sprintf("/proc/%d/cwd", n.pid)
	if dir != none && int32(n.args[dir]) != unix.AT_FDCWD {
		base = fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[dir]))
	}
	if base, err = os.Readlink(base); err != nil {
		return "", err
	}
	return filepath.Join(base, name), nil
}
