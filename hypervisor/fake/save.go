package fake

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

var _ interface {
	hypervisor.Saver
	hypervisor.Keeper
	hypervisor.Plugger
} = (*Driver)(nil)

// Bind implements hypervisor.Saver. A Driver with a Version is another hypervisor.
func (d *Driver) Bind(_ context.Context, accelerator string, _ clade.Bound) (clade.Bound, error) {
	return clade.Bound{Version: "fake" + d.Version, Binary: "sha256:0", Machine: "fake-1", CPU: "none", Accelerator: accelerator}, nil
}

// memory makes the file that is to be the guest's memory, or looks whether what
// is to be resumed is there.
func memory(s hypervisor.Spec) error {
	if s.Memory == nil || s.Memory.File == "" {
		return nil
	}
	if s.Memory.State != "" {
		_, err := os.Stat(s.Memory.File)
		return err
	}
	if err := os.WriteFile(s.Memory.File, []byte("the memory of "+s.UUID), 0o600); err != nil {
		return err
	}
	return os.Truncate(s.Memory.File, int64(s.Hardware.Memory))
}

// Save implements hypervisor.Saver. The state is all that the guest is.
func (d *Driver) Save(_ context.Context, p hypervisor.Place, state string) error {
	r, err := d.running(p)
	if err != nil {
		return err
	}
	if r.Spec.Memory == nil || r.Spec.Memory.State != "" {
		return &clade.Error{Op: "save", On: "machine " + string(r.Spec.Name), Kind: clade.Unsupported, Err: errors.New("its memory is no file of its own")}
	}
	return write(filepath.Join(p.Dir, guestDir), state)
}

// write writes all that the guest in dir is to the file state.
func write(dir, state string) error {
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(files)
	if err != nil {
		return err
	}
	return os.WriteFile(state, text, 0o600)
}

// resume makes the guest in dir what it was when it was saved: the twin of all
// others that are resumed from there.
func resume(dir, state string) error {
	text, err := os.ReadFile(state)
	if err != nil {
		return err
	}
	var files map[string]string
	if err := json.Unmarshal(text, &files); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, text := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Plug implements hypervisor.Plugger.
func (d *Driver) Plug(_ context.Context, p hypervisor.Place, n hypervisor.NIC) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.running(p)
	if err != nil {
		return err
	}
	r.Spec.NIC = &n
	return r.write(p)
}
