package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// run runs a program in a directory as a user, with what it says on the console.
func run(words []string) error {
	if err := os.Mkdir("/bin", 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := os.Symlink("/init", "/bin/sleep"); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	cmd := exec.Command(words[1], words[2:]...)
	cmd.Dir, cmd.Env = words[0], []string{"PATH=/bin", "TMPDIR=" + words[0]}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	return cmd.Run()
}
