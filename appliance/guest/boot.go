package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the VM waits for a device that the host promised.
const patience = 30 * time.Second

// mountKernel mounts the kernel's own file systems.
func mountKernel() error {
	for _, m := range []struct{ kind, dir string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}} {
		flags := uintptr(unix.MS_NOSUID | unix.MS_NOEXEC)
		if err := unix.Mount(m.kind, m.dir, m.kind, flags, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return nil
}

// openPort opens the port that the host listens on.
func openPort() (io.ReadWriteCloser, error) {
	var path string
	err := await(patience, func() bool {
		path = findPort("/sys/class/virtio-ports")
		if path == "" {
			return false
		}
		_, err := os.Stat(path)
		return err == nil
	})
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", PortName, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	// Before the kernel has heard that the host is there, reading is the end.
	if err := await(patience, func() bool { return connected(fd) }); err != nil {
		return nil, fmt.Errorf("the host at %s: %w", path, errors.Join(err, unix.Close(fd)))
	}
	return os.NewFile(uintptr(fd), path), nil
}

func connected(port int) bool {
	fds := []unix.PollFd{{Fd: int32(port), Events: unix.POLLIN | unix.POLLOUT}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&unix.POLLHUP == 0
}

// findPort returns the device of the port with our name, or "".
func findPort(class string) string {
	names, _ := filepath.Glob(filepath.Join(class, "*", "name"))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil && strings.TrimSpace(string(text)) == PortName {
			return "/dev/" + filepath.Base(filepath.Dir(name))
		}
	}
	return ""
}

// await returns once ready does, or an error when the limit has passed.
func await(limit time.Duration, ready func() bool) error {
	for end := time.Now().Add(limit); ; time.Sleep(3 * time.Millisecond) {
		if ready() {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not there after %v", limit)
		}
	}
}
