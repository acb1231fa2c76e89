package fake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// install puts the guest's identity in place, as a first boot does: what is there
// already stays, so that a test can plant a twin before the first start.
func install(dir string, s hypervisor.Spec) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	hostname, instance := string(s.Name), "iid-"+s.UUID
	if s.Seed != "" {
		seed, err := os.ReadFile(s.Seed)
		if err != nil {
			return err
		}
		hostname = metadata(seed, "local-hostname", hostname)
		instance = metadata(seed, "instance-id", instance)
	}
	sum := sha256.Sum256([]byte(s.UUID))
	blob := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), sum[:]...)
	files := map[string]string{
		"etc/hostname":                         hostname + "\n",
		"etc/machine-id":                       fmt.Sprintf("%x\n", sum[:16]),
		"etc/ssh/ssh_host_ed25519_key.pub":     "ssh-ed25519 " + base64.StdEncoding.EncodeToString(blob) + " root@" + hostname + "\n",
		"proc/sys/kernel/hostname":             hostname + "\n",
		"sys/class/dmi/id/product_uuid":        s.UUID + "\n",
		"var/lib/cloud/data/instance-id":       instance + "\n",
		"var/lib/cloud/instance/boot-finished": "",
		"run/cloud-init/result.json":           `{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}` + "\n",
		"tmp/.keep":                            "",
	}
	for name, text := range files {
		kernel := strings.HasPrefix(name, "sys/") || strings.HasPrefix(name, "proc/")
		if _, err := root.Stat(name); err == nil && !kernel {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// metadata finds a value in a NoCloud volume, whose small files lie in it in one piece.
func metadata(seed []byte, key, otherwise string) string {
	m := regexp.MustCompile(`(?:^|[\n\x00])"?` + key + `"?: *"?([A-Za-z0-9._-]+)`).FindSubmatch(seed)
	if m == nil {
		return otherwise
	}
	return string(m[1])
}

// Guest implements hypervisor.Guester. A mute guest never answers.
func (d *Driver) Guest(ctx context.Context, p hypervisor.Place) (hypervisor.Guest, error) {
	r, err := d.running(p)
	if err != nil {
		return nil, err
	}
	if d.Mute {
		<-ctx.Done()
		return nil, &clade.Error{Op: "reach", On: "the guest agent", Kind: clade.Timeout, Err: ctx.Err()}
	}
	root, err := os.OpenRoot(filepath.Join(p.Dir, guestDir))
	if err != nil {
		return nil, err
	}
	return &guest{driver: d, place: p, spec: r.Spec, root: root}, nil
}

// guest is a simulated guest. What runs in it runs in this process and touches
// nothing but the files below root.
type guest struct {
	driver *Driver
	place  hypervisor.Place
	spec   hypervisor.Spec
	root   *os.Root
}

func (g *guest) Close() error { return g.root.Close() }

// ReadFile implements hypervisor.Guest.
func (g *guest) ReadFile(_ context.Context, path string, limit int) ([]byte, error) {
	if _, err := g.driver.running(g.place); err != nil {
		return nil, err
	}
	data, err := g.root.ReadFile(inside(path))
	if err != nil {
		return nil, &clade.Error{Op: "read", On: "guest file " + path, Kind: clade.KindOf(err), Err: err}
	}
	return data[:min(limit, len(data))], nil
}

// Interfaces implements hypervisor.Guest.
func (g *guest) Interfaces(context.Context) ([]hypervisor.Interface, error) {
	if _, err := g.driver.running(g.place); err != nil {
		return nil, err
	}
	found := []hypervisor.Interface{{Name: "lo", MAC: "00:00:00:00:00:00", IPs: []string{"127.0.0.1", "::1"}}}
	if g.spec.NIC == nil {
		return found, nil
	}
	nic := hypervisor.Interface{Name: "enp0s2", MAC: g.spec.NIC.MAC}
	if g.driver.Address != nil {
		nic.IPs = g.driver.Address(nic.MAC)
	}
	return append(found, nic), nil
}

// Exec implements hypervisor.Guest for cat, cloud-init, echo, false, hostname,
// ls, rm, sh -c 'exit N', sync, tee, test -e, touch and true. Others are not
// found: status 127.
func (g *guest) Exec(_ context.Context, c clade.Command) (*clade.Exit, error) {
	if _, err := g.driver.running(g.place); err != nil {
		return nil, err
	}
	if len(c.Args) == 0 {
		return nil, &clade.Error{Op: "run", On: "guest command", Kind: clade.Invalid, Err: errors.New("no command")}
	}
	args := c.Args[1:]
	switch filepath.Base(c.Args[0]) {
	case "true", "sync", "cloud-init":
		return &clade.Exit{}, nil
	case "false":
		return &clade.Exit{Status: 1}, nil
	case "echo":
		return &clade.Exit{Out: []byte(strings.Join(args, " ") + "\n")}, nil
	case "hostname":
		return g.each([]string{"/etc/hostname"}, g.cat)
	case "cat":
		if len(args) == 0 {
			return &clade.Exit{Out: c.Input}, nil
		}
		return g.each(args, g.cat)
	case "ls":
		return g.each(args, g.list)
	case "rm":
		return g.each(flagless(args), func(name string, _ *clade.Exit) error { return g.root.RemoveAll(name) })
	case "touch":
		return g.each(args, func(name string, _ *clade.Exit) error { return g.write(name, nil, os.O_APPEND) })
	case "tee":
		return g.each(args, func(name string, _ *clade.Exit) error { return g.write(name, c.Input, os.O_TRUNC) })
	case "test":
		if len(args) == 2 && args[0] == "-e" {
			return g.each(args[1:], func(name string, _ *clade.Exit) error { _, err := g.root.Stat(name); return err })
		}
	case "sh":
		if exit, known := g.script(args, c.Input); known {
			return exit, nil
		}
		var status int
		if len(args) == 2 && args[0] == "-c" {
			if _, err := fmt.Sscanf(args[1], "exit %d", &status); err == nil {
				return &clade.Exit{Status: status}, nil
			}
		}
	}
	return &clade.Exit{Status: 127, Err: fmt.Appendf(nil, "%s: not found\n", c.Args[0])}, nil
}

// each does the same to all named files; like the real tools it goes on after a
// failure and ends with status 1.
func (g *guest) each(paths []string, do func(name string, x *clade.Exit) error) (*clade.Exit, error) {
	x := &clade.Exit{}
	for _, path := range paths {
		err := do(inside(path), x)
		if errors.Is(err, fs.ErrNotExist) {
			err = syscall.ENOENT
		}
		if err != nil {
			x.Status = 1
			x.Err = fmt.Appendf(x.Err, "%s: %v\n", path, err)
		}
	}
	return x, nil
}

func (g *guest) cat(name string, x *clade.Exit) error {
	data, err := g.root.ReadFile(name)
	x.Out = append(x.Out, data...)
	return err
}

func (g *guest) list(name string, x *clade.Exit) error {
	f, err := g.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	for _, e := range entries {
		x.Out = fmt.Appendln(x.Out, e.Name())
	}
	return err
}

func (g *guest) write(name string, data []byte, how int) error {
	f, err := g.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|how, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(bytes.Clone(data)); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// inside makes an absolute guest path one below the guest's root.
func inside(path string) string {
	rel := strings.TrimPrefix(filepath.Clean("/"+path), "/")
	if rel == "" {
		return "."
	}
	return rel
}

func flagless(args []string) []string {
	var names []string
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			names = append(names, a)
		}
	}
	return names
}
