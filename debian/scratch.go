package debian

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// A scratch is the directory that mmdebstrap unpacks the system in. It lies where
// other users may pass, as the namespace's users are others; its owner is known
// by its name, and whether its build still lives by a lock on it.
type scratch struct {
	dir  string
	lock *os.File
}

// temp returns the directory for large temporary files.
func temp() string {
	if dir := os.Getenv("TMPDIR"); dir != "" {
		return dir
	}
	return "/var/tmp"
}

// newScratch makes a scratch directory, and removes those that builds of this
// user left behind when they were killed.
func newScratch() (*scratch, error) {
	prefix := "clade-build-" + strconv.Itoa(os.Getuid()) + "-"
	old, err := filepath.Glob(filepath.Join(temp(), prefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range old {
		if s, err := hold(dir); err == nil {
			s.remove()
		}
	}
	dir, err := os.MkdirTemp(temp(), prefix)
	if err != nil {
		return nil, err
	}
	s, err := hold(dir)
	if err != nil {
		os.Remove(dir)
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

// hold takes the lock of a scratch directory that is this user's own. The child
// inherits it not: a lock says that clade lives, not mmdebstrap.
func hold(dir string) (*scratch, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		err = os.ErrPermission
	}
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &scratch{dir, f}, nil
}

// remove takes the directory away, with what other users of this user's namespace
// own in it.
func (s *scratch) remove() error {
	defer s.lock.Close()
	err := os.RemoveAll(s.dir)
	if err == nil || !errors.Is(err, os.ErrPermission) {
		return err
	}
	cmd := exec.Command(find("unshare"), "--user", "--map-auto", "--map-root-user", "rm", "-rf", "--one-file-system", "--", s.dir)
	cmd.Env = plainEnv()
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("remove %s: %w: %.200q", s.dir, err, text)
	}
	return nil
}
