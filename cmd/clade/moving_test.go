//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/cli"
	"github.com/clade-vm/clade/store"
)

// A desk is a home of its own, worked on by the real verbs in this process, with
// real tools. No machine of it runs.
type desk struct {
	*testing.T
	dir string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return &desk{t, t.TempDir()}
}

// other is another home.
func (d *desk) other() *desk { return &desk{d.T, d.TempDir()} }

// try runs a command line.
func (d *desk) try(args ...string) (out, said string, status int) {
	d.Helper()
	var o, e bytes.Buffer
	status = cli.Run(d.Context(), args, cli.Env{In: strings.NewReader(""), Out: &o, Err: &e, Home: d.dir,
		Services: func(ctx context.Context, dir string) (clade.Services, error) {
			return open(ctx, dir, slog.New(slog.DiscardHandler))
		}})
	return o.String(), e.String(), status
}

// run runs a command line that must succeed, and returns what it said.
func (d *desk) run(line ...string) string {
	d.Helper()
	out, said, status := d.try(line...)
	if status != 0 {
		d.Fatalf("clade %v: status %d\n%s%s", line, status, out, said)
	}
	return out + said
}

// refused runs a command line that must fail, and say why in its one line.
func (d *desk) refused(want string, line ...string) {
	d.Helper()
	out, said, status := d.try(line...)
	why := ""
	for text := range strings.Lines(said) {
		if strings.HasPrefix(text, "clade: ") {
			why += text
		}
	}
	if status == 0 || !strings.Contains(why, want) {
		d.Errorf("clade %v: status %d, said %q, want %q\n%s", line, status, said, want, out)
	}
}

// empty proves that nothing of what was refused is left.
func (d *desk) empty() {
	d.Helper()
	for _, sub := range []string{"machines", "layers", "tmp", "arrived"} {
		if left, _ := os.ReadDir(filepath.Join(d.dir, sub)); len(left) > 0 {
			d.Errorf("%s/ holds %v", sub, left)
		}
	}
}

// heads are the paths of a machine's disks.
func (d *desk) heads(name string) (paths []string) {
	d.Helper()
	db, err := store.Open(d.Context(), filepath.Join(d.dir, "clade.db"))
	if err != nil {
		d.Fatal(err)
	}
	defer db.Close()
	err = db.Read(d.Context(), func(tx *store.Tx) error {
		m, err := tx.Machine(clade.Name(name))
		if err == nil {
			for _, head := range m.Heads {
				paths = append(paths, filepath.Join(d.dir, "machines", m.ID, head))
			}
		}
		return err
	})
	if err != nil {
		d.Fatal(err)
	}
	return paths
}

// shown is what show says of a machine.
func (d *desk) shown(name string) (m clade.Machine) {
	d.Helper()
	if err := json.Unmarshal([]byte(d.run("show", name, "--json", "--quiet")), &m); err != nil {
		d.Fatal(err)
	}
	return m
}

// qemu runs one of QEMU's tools, which must succeed.
func (d *desk) qemu(tool string, args ...string) string {
	d.Helper()
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		d.Fatalf("%s %v: %v\n%s", tool, args, err, out)
	}
	return string(out)
}

// same proves that two images hold the same disk.
func (d *desk) same(a, aFormat, b, bFormat string) {
	d.Helper()
	d.qemu("qemu-img", "compare", "-f", aFormat, "-F", bFormat, a, b)
}

// disk makes a qcow2 image with a partition table's mark and some data, as a guest
// leaves it: what seed says, zeros and holes.
func (d *desk) disk(size string, seed string) string {
	d.Helper()
	path := filepath.Join(d.TempDir(), "disk.qcow2")
	d.qemu("qemu-img", "create", "-q", "-f", "qcow2", path, size)
	d.qemu("qemu-io", "-f", "qcow2", path, "-c", "write -P 0x55 510 1", "-c", "write -P 0xaa 511 1",
		"-c", "write -P "+seed+" 1M 3M", "-c", "write -z 5M 1M", "-c", "write -P "+seed+" 20M 64k")
	return path
}

// write has a machine's guest write to one of its disks.
func (d *desk) write(name string, slot int, pattern string) {
	d.Helper()
	head := d.heads(name)[slot]
	d.qemu("qemu-io", "-f", "qcow2", head, "-c", "write -P "+pattern+" 8M 300k")
}
