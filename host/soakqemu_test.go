//go:build integration

package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qemu"
	"github.com/clade-vm/clade/vswitch"
)

// A bareQEMU runs real machines whose disks are empty, so that no system is on them:
// their firmware finds nothing to boot, and waits. What such a guest does not have is
// feigned: an agent that says what controllers ask, and that it powers off when asked.
type bareQEMU struct{ *qemu.Driver }

func (d bareQEMU) Stop(ctx context.Context, p hypervisor.Place) error { return d.Kill(ctx, p) }

func (d bareQEMU) Guest(ctx context.Context, p hypervisor.Place) (hypervisor.Guest, error) {
	if s, err := d.Status(ctx, p); err != nil || s.State != clade.Running {
		return nil, errors.Join(err, &clade.Error{Op: "ask", On: "guest", Kind: clade.NotRunning})
	}
	return feigned(p.Dir), nil
}

// feigned is the agent of the machine with this directory.
type feigned string

func (g feigned) ReadFile(_ context.Context, path string, _ int) ([]byte, error) {
	switch path {
	case "/etc/machine-id":
		return fmt.Appendf(nil, "%x\n", sha256.Sum256([]byte(g)))[:32], nil
	case "/run/cloud-init/result.json":
		return []byte("{}"), nil
	}
	return nil, &clade.Error{Op: "read", On: path, Kind: clade.NotFound}
}

func (feigned) Exec(context.Context, clade.Command) (*clade.Exit, error) {
	return nil, clade.Unsupported
}
func (feigned) Order(context.Context, string, []byte, string, int) ([]byte, error) {
	return nil, clade.Unsupported
}
func (feigned) Interfaces(context.Context) ([]hypervisor.Interface, error) { return nil, nil }
func (feigned) Close() error                                               { return nil }

// bare is the configuration of a home with bare machines, and switches that are
// processes of their own.
func bare(dir string) host.Config {
	c := config(dir)
	c.Driver, c.Self = bareQEMU{qemu.New(qemu.Config{})}, []string{os.Args[0], "as-soaked", dir}
	c.Log = slog.New(slog.DiscardHandler)
	return c
}

// asSoaked is a controller of such a home, or one of its switches.
func asSoaked(dir, verb, name string) int {
	h, err := host.Open(context.Background(), bare(dir))
	if err == nil && verb == "switch" {
		err = h.Switch(context.Background(), clade.Name(name))
	} else if err == nil {
		err = h.Control(context.Background(), nil)
	}
	if err != nil && !errors.Is(err, clade.Busy) { // of two switches one serves
		fmt.Fprintln(os.Stderr, verb, name, err)
		return 1
	}
	return 0
}

// TestPoolSoakQEMU is TestPoolSoak with real hypervisors on a network of their own,
// whose switch is killed too: at every pause all machines are connected to it, and
// there is one.
func TestPoolSoakQEMU(t *testing.T) {
	dir := t.TempDir()
	h, err := host.Open(t.Context(), bare(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	for _, act := range []string{"build m", "template m", "template m"} {
		must(t, h, act)
	}
	if _, err := h.CreateNetwork(ctx, clade.NetworkSpec{Name: "wire"}); err != nil {
		t.Fatal(err)
	}
	s := newSoak(t, h, dir, clade.PoolSpec{Kind: clade.Linked, Network: "wire", Memory: 64 * clade.MiB, Isolated: true})
	s.also, s.command, s.limit = s.connected, []string{"as-soaked", dir, "control", "p"}, 5*time.Minute
	s.acts = append(s.acts, s.killSwitch)
	t.Cleanup(func() {
		_, err := h.RemovePool(ctx, "p", true, nil)
		if err = errors.Join(err, h.RemoveNetwork(ctx, "wire")); err != nil {
			t.Error(err)
		}
		if switches, machines := s.switches(), s.sleepers(); len(switches)+len(machines) > 0 {
			t.Errorf("switches %v and machines %v are left", switches, machines)
		}
	})
	s.goOn(time.Second)
}

// killSwitch kills the process of the pool's network.
func (s *soak) killSwitch() {
	for _, pid := range s.switches() {
		s.did["switches killed"]++
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// switches returns the processes that are switches of the home.
func (s *soak) switches() (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		line, _ := os.ReadFile(file)
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil && bytes.Contains(line, []byte("as-soaked\x00"+s.dir+"\x00switch\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// connected tells whether all machines of the pool are on its network's one switch.
func (s *soak) connected(p *clade.Pool) bool {
	net, err := vswitch.Stat(ctx, filepath.Join(s.dir, "run", "net", string(p.Network), "ctl"))
	if err != nil || len(net.Ports) != len(p.Members) || len(s.switches()) != 1 {
		return false
	}
	return !slices.ContainsFunc(net.Ports, func(port vswitch.PortStatus) bool { return !port.Connected || !port.Isolated })
}
