package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"time"

	"github.com/clade-vm/clade"
)

const installHint = "sudo apt-get install --no-install-recommends qemu-system-x86"

// Binary returns the path of QEMU. Kind Missing, with the command that installs it.
func (d *Driver) Binary() (string, error) {
	candidates := []string{"qemu-system-x86_64", "/usr/libexec/qemu-kvm"}
	if d.config.Binary != "" {
		candidates = []string{d.config.Binary}
	}
	for _, c := range candidates {
		if path, err := exec.LookPath(c); err == nil {
			return path, nil
		}
	}
	return "", &clade.Error{Op: "find", On: candidates[0], Kind: clade.Missing,
		Err: errors.New("no such program"), Hint: installHint}
}

var versionForm = regexp.MustCompile(`version (\d+\.\d+\.\d+)`)

// Version returns the version of QEMU, such as "7.2.22". Kind Missing.
func (d *Driver) Version(ctx context.Context) (string, error) {
	binary, err := d.Binary()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--version")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", &clade.Error{Op: "run", On: binary, Kind: clade.Missing,
			Err: fmt.Errorf("%w: %s", err, complain(complaint.Bytes())), Hint: installHint}
	}
	m := versionForm.FindSubmatch(out)
	if m == nil {
		return "", &clade.Error{Op: "run", On: binary, Kind: clade.Missing, Err: errors.New("it is not QEMU"), Hint: installHint}
	}
	return string(m[1]), nil
}
