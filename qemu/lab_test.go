//go:build lab

package qemu_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/cloudinit"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qemu"
)

// TestRealGuest takes a Debian guest through everything the agent is for. Its
// image is named by CLADE_TEST_MASTER and only rested on.
func TestRealGuest(t *testing.T) {
	master := os.Getenv("CLADE_TEST_MASTER")
	if master == "" {
		t.Fatal("CLADE_TEST_MASTER must name a bootable qcow2 image with qemu-guest-agent")
	}
	d := qemu.New(qemu.Config{})
	p, s := realGuest(t, d, master)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	if err := d.Start(ctx, p, s); err != nil {
		t.Fatal(err)
	}
	g, err := d.Guest(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the agent answered after %v", time.Since(began).Round(time.Millisecond))
	testAgent(t, ctx, d, p, s, g)
	if err := g.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	testFrozenSwitch(t, ctx, d, p)
	if err := d.Stop(ctx, p); err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil {
		st, err := d.Status(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		if st.State == clade.Stopped {
			if st.Reason != "guest powered off" {
				t.Errorf("reason = %q", st.Reason)
			}
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Error("the guest does not power off")
}

const address = "192.0.2.7"

func realGuest(t *testing.T, d *qemu.Driver, master string) (hypervisor.Place, hypervisor.Spec) {
	t.Helper()
	run, err := os.MkdirTemp("", "q")
	if err != nil {
		t.Fatal(err)
	}
	p := hypervisor.Place{Dir: t.TempDir(), Run: run}
	t.Cleanup(func() {
		if err := d.Kill(context.Background(), p); err != nil {
			t.Errorf("Kill at the end: %v", err)
		}
		os.RemoveAll(run)
	})
	s := machine()
	s.Hardware = clade.Hardware{CPUs: 2, Memory: clade.GiB}
	s.Seed = filepath.Join(p.Dir, "seed.img")
	s.Disks = s.Disks[:1]
	s.Disks[0].Path = filepath.Join(p.Dir, "head.qcow2")
	s.NIC.Socket = filepath.Join(run, "nic")
	rest(t, s.Disks[0].Path, master)
	mac, err := net.ParseMAC(s.NIC.MAC)
	if err != nil {
		t.Fatal(err)
	}
	// A fixed address: there is no switch, and a guest that waits for DHCP waits for ever.
	seed := cloudinit.Seed{InstanceID: "iid-1", Hostname: "real",
		NICs: []cloudinit.NIC{{MAC: mac, Address: netip.MustParsePrefix(address + "/24")}}}
	if err := seed.Write(s.Seed); err != nil {
		t.Fatal(err)
	}
	return p, s
}

func rest(t *testing.T, path, backing string) {
	t.Helper()
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing, path).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
}

func testAgent(t *testing.T, ctx context.Context, d *qemu.Driver, p hypervisor.Place, s hypervisor.Spec, g hypervisor.Guest) {
	t.Helper()
	uuid, err := g.ReadFile(ctx, "/sys/class/dmi/id/product_uuid", 100)
	if err != nil || strings.TrimSpace(string(uuid)) != s.UUID {
		t.Errorf("product_uuid = %q, %v, want %s", uuid, err, s.UUID)
	}
	if _, err := g.ReadFile(ctx, "/none", 100); !errors.Is(err, clade.NotFound) {
		t.Errorf("ReadFile of no file = %v", err)
	}
	in := strings.Repeat("0123456789abcdef", 20000)
	x, err := g.Exec(ctx, clade.Command{Args: []string{"sh", "-c", "cat; echo oops >&2; exit 7"}, Input: []byte(in)})
	if err != nil || x.Status != 7 || string(x.Out) != in || string(x.Err) != "oops\n" {
		t.Errorf("Exec = status %d, %d bytes, %q, %v", x.Status, len(x.Out), x.Err, err)
	}
	if x, err := g.Exec(ctx, clade.Command{Args: []string{"sh", "-c", "kill -9 $$"}}); err != nil || x.Signal != 9 {
		t.Errorf("Exec of a suicide = %+v, %v", x, err)
	}
	if _, err := g.Exec(ctx, clade.Command{Args: []string{"/none"}}); !errors.Is(err, clade.NotFound) {
		t.Errorf("Exec of no program = %v", err)
	}
	nics, err := g.Interfaces(ctx)
	at := slices.IndexFunc(nics, func(i hypervisor.Interface) bool { return i.MAC == s.NIC.MAC })
	if err != nil || at < 0 || nics[at].Name != "enp0s2" || !slices.Contains(nics[at].IPs, address) {
		t.Errorf("Interfaces = %+v, %v, want enp0s2 with %s", nics, err, s.NIC.MAC)
	}
	if x, err := g.Exec(ctx, clade.Command{Args: []string{"lsblk", "-dno", "NAME,SERIAL"}}); err != nil || !strings.Contains(string(x.Out), "vda  "+s.Disks[0].Serial) {
		t.Errorf("lsblk = %s, %v", x.Out, err)
	}
	// The agent is taken: others wait for their turn.
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := d.Guest(short, p); !errors.Is(err, clade.Timeout) {
		t.Errorf("Guest while another has it = %v, want %v", err, clade.Timeout)
	}
}

// testFrozenSwitch moves the guest to a new head: frozen meanwhile, and thawed
// again, so that it can write.
func testFrozenSwitch(t *testing.T, ctx context.Context, d *qemu.Driver, p hypervisor.Place) {
	t.Helper()
	heads, err := d.Heads(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	head := filepath.Join(p.Dir, "next.qcow2")
	rest(t, head, heads[0])
	pause, err := d.Switch(ctx, p, []string{head})
	if err != nil || !pause.Frozen {
		t.Fatalf("Switch = %+v, %v, want file systems frozen", pause, err)
	}
	t.Logf("the guest stood still for %v", pause.Length.Round(time.Millisecond))
	g, err := d.Guest(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if x, err := g.Exec(ctx, clade.Command{Args: []string{"sh", "-c", "echo after > /root/after && sync"}}); err != nil || x.Status != 0 {
		t.Errorf("writing after the switch = %+v, %v", x, err)
	}
	if info, err := os.Stat(head); err != nil || info.Size() < 1<<20 {
		t.Errorf("the new head after a write: %v, %v", info, err)
	}
}
