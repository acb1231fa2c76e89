package fake_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
	"github.com/clade-vm/clade/hypervisor/hypervisortest"
)

func spec(t *testing.T, dir string) hypervisor.Spec {
	s := hypervisor.Spec{ID: "m1", Name: "web-1", UUID: "0b0e9a4c-8f0e-4a53-a5a4-2f6c1c1f4a11",
		NIC: &hypervisor.NIC{MAC: "52:54:00:11:22:33"}}
	for _, name := range []string{"disk0.qcow2", "disk1.qcow2"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.Disks = append(s.Disks, hypervisor.Disk{Path: path, Serial: name[:5]})
	}
	return s
}

func TestContract(t *testing.T) {
	hypervisortest.Run(t, hypervisortest.Suite{
		Driver: func() hypervisor.Driver { return fake.New() },
		Spec:   spec,
		Overlay: func(t *testing.T, path, _ string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		Guest: true,
		Agent: true,
	})
}

// start starts a machine and kills it at the end of the test.
func start(t *testing.T, d *fake.Driver, s hypervisor.Spec) hypervisor.Place {
	t.Helper()
	p := hypervisor.Place{Dir: t.TempDir(), Run: t.TempDir()}
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Kill(context.Background(), p) })
	return p
}

func read(t *testing.T, g hypervisor.Guest, path string) string {
	t.Helper()
	data, err := g.ReadFile(t.Context(), path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestGuestIdentity(t *testing.T) {
	d := &fake.Driver{Address: func(string) []string { return []string{"10.0.0.5"} }}
	s := spec(t, t.TempDir())
	s.Seed = filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(s.Seed, []byte("\x00\x00instance-id: iid-7\nlocal-hostname: \"mail\"\n\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := d.Guest(t.Context(), start(t, d, s))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for path, want := range map[string]string{
		"/etc/hostname":                   "mail\n",
		"/var/lib/cloud/data/instance-id": "iid-7\n",
		"/sys/class/dmi/id/product_uuid":  s.UUID + "\n",
	} {
		if got := read(t, g, path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	key := read(t, g, "/etc/ssh/ssh_host_ed25519_key.pub")
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key)); err != nil {
		t.Errorf("host key %q: %v", key, err)
	}
	nics, err := g.Interfaces(t.Context())
	if err != nil || len(nics) != 2 || nics[1].MAC != s.NIC.MAC || nics[1].IPs[0] != "10.0.0.5" {
		t.Errorf("Interfaces = %+v, %v", nics, err)
	}
}

func TestGuestsAreApart(t *testing.T) {
	d := fake.New()
	one, two := spec(t, t.TempDir()), spec(t, t.TempDir())
	two.Name, two.UUID = "web-2", "1b0e9a4c-8f0e-4a53-a5a4-2f6c1c1f4a11"
	p1, p2 := start(t, d, one), start(t, d, two)
	g1, err1 := d.Guest(t.Context(), p1)
	g2, err2 := d.Guest(t.Context(), p2)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, path := range []string{"/etc/hostname", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"} {
		if a, b := read(t, g1, path), read(t, g2, path); a == b {
			t.Errorf("both have %q in %s", a, path)
		}
	}
	for _, c := range []struct {
		guest  hypervisor.Guest
		args   []string
		input  string
		status int
		out    string
	}{
		{g1, []string{"tee", "/tmp/parent-test"}, "hello", 0, ""},
		{g1, []string{"test", "-e", "/tmp/parent-test"}, "", 0, ""},
		{g1, []string{"/bin/cat", "/tmp/parent-test"}, "", 0, "hello"},
		{g1, []string{"touch", "/tmp/parent-test"}, "", 0, ""},
		{g1, []string{"cat", "/tmp/parent-test"}, "", 0, "hello"},
		{g2, []string{"test", "-e", "/tmp/parent-test"}, "", 1, ""},
		{g1, []string{"rm", "-f", "/tmp/parent-test"}, "", 0, ""},
		{g1, []string{"cat", "/tmp/parent-test"}, "", 1, ""},
		{g1, []string{"cat", "../../../../../etc/hostname"}, "", 0, "web-1\n"},
		{g1, []string{"true"}, "", 0, ""},
		{g1, []string{"false"}, "", 1, ""},
		{g1, []string{"id"}, "", 127, ""},
	} {
		x, err := c.guest.Exec(t.Context(), clade.Command{Args: c.args, Input: []byte(c.input)})
		if err != nil || x.Status != c.status || string(x.Out) != c.out {
			t.Errorf("Exec(%q) = %+v, %v, want status %d and %q", c.args, x, err, c.status, c.out)
		}
	}
	if err := d.Kill(t.Context(), p1); err != nil {
		t.Fatal(err)
	}
	if _, err := g1.ReadFile(t.Context(), "/etc/hostname", 10); !errors.Is(err, clade.NotRunning) {
		t.Errorf("ReadFile in a dead guest: %v, want %v", err, clade.NotRunning)
	}
}

func TestDeafAndMute(t *testing.T) {
	d := &fake.Driver{Deaf: true, Mute: true}
	p := start(t, d, spec(t, t.TempDir()))
	if err := d.Stop(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if st, err := d.Status(t.Context(), p); err != nil || st.State != clade.Running {
		t.Errorf("status of a deaf guest after Stop = %+v, %v", st, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := d.Guest(ctx, p); !errors.Is(err, clade.Timeout) {
		t.Errorf("Guest of a mute one: %v, want %v", err, clade.Timeout)
	}
}
