package live_test

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
	"github.com/clade-vm/clade/live"
	"github.com/clade-vm/clade/rootfs"
)

var ctx = context.Background()

var web2 = live.Identity{Hostname: "web-2", InstanceID: "i-2"}

// grow grows a plant in a new directory, without what it has in directories that a
// boot makes.
func grow(t *testing.T, p identitytest.Plant) string {
	t.Helper()
	dir := t.TempDir()
	p.Files = maps.Clone(p.Files)
	maps.DeleteFunc(p.Files, func(name, _ string) bool { return strings.HasPrefix(name, "run/") })
	if err := identitytest.Grow(dir, p); err != nil {
		t.Fatal(err)
	}
	return dir
}

// look returns all files below dir: what identitytest.Look says, and the mode.
func look(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, at)
		what, err := identitytest.Look(dir, name)
		all[name] = fi.Mode().String() + " " + what
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// eraseOffline erases marks as they are erased on a disk.
func eraseOffline(t *testing.T, dir string, marks []identity.Mark) {
	t.Helper()
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	plan, err := generalize.Plan(tree, marks)
	if err != nil {
		t.Fatal(err)
	}
	if err := generalize.Erase(tree, plan); err != nil {
		t.Fatal(err)
	}
}

// renewed are the files that Mend makes, and erasing does not.
var renewed = []string{"etc/hostname", "etc/hosts", "etc/machine-id", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed",
	"etc/ssh/ssh_host_ed25519_key", "etc/dropbear/dropbear_ed25519_host_key", "etc/ssl/private/ssl-cert-snakeoil.key"}

func compareTrees(t *testing.T, got, want map[string]string) {
	t.Helper()
	all := maps.Clone(got)
	maps.Copy(all, want)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if got[name] != want[name] && !slices.Contains(renewed, name) {
			t.Errorf("%q is %.200q, want %.200q", name, got[name], want[name])
		}
	}
}

// checkMend mends g and fails unless what is left is what is left on a disk.
func checkMend(t *testing.T, g *shell, twin string) {
	t.Helper()
	eraseOffline(t, twin, identity.All())
	report, err := live.Mend(ctx, g, identity.All(), web2, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Verified || len(report.Left) > 0 {
		t.Errorf("the report is not verified: %+v", report.Left)
	}
	compareTrees(t, look(t, g.root), look(t, twin))
	left, err := identitytest.Left(g.root)
	if err != nil || len(left) > 0 {
		t.Errorf("planted things are left in %q, %v", left, err)
	}
	if data, err := os.ReadFile(filepath.Join(g.root, "etc/hostname")); err != nil || string(data) != "web-2\n" {
		t.Errorf("the hostname is %q, %v", data, err)
	}
}

// groups returns the plants in a few groups: each is without most others, which some
// marks look for.
func groups() []identitytest.Plant {
	plants := identitytest.Plants()
	all := make([]identitytest.Plant, 3)
	for i, name := range slices.Sorted(maps.Keys(plants)) {
		group := &all[i%len(all)]
		if group.Files == nil {
			group.Files = map[string]string{}
		}
		maps.Copy(group.Files, plants[name].Files)
	}
	return all
}

// What Mend leaves is what is left on a disk, but for what it makes anew.
func TestMendErasesAsOnADisk(t *testing.T) {
	t.Parallel()
	for _, p := range groups() {
		dir, twin := grow(t, p), grow(t, p)
		mkdir(t, filepath.Join(dir, "etc"))
		mkdir(t, filepath.Join(twin, "etc"))
		checkMend(t, newShell(t, dir), twin)
	}
}

func TestMendTogether(t *testing.T) {
	t.Parallel()
	with(t, func(t *testing.T, programs func(*shell)) {
		g := newShell(t, grow(t, identitytest.Together()))
		programs(g)
		checkMend(t, g, grow(t, identitytest.Together()))
		if g.execs > 16 {
			t.Errorf("mending took %d commands", g.execs)
		}
		t.Logf("%d commands, %v in, %v out", g.execs, clade.Bytes(g.in), clade.Bytes(g.out))
	})
}

func TestMendHostileNames(t *testing.T) {
	t.Parallel()
	with(t, func(t *testing.T, programs func(*shell)) {
		outside := t.TempDir()
		g := newShell(t, oddTree(t, outside))
		programs(g)
		twin, before := oddTree(t, outside), look(t, outside)
		checkMend(t, g, twin)
		if after := look(t, outside); !maps.Equal(before, after) {
			t.Errorf("outside the guest there is %q, and was %q", after, before)
		}
		if _, err := os.Lstat(filepath.Join(g.root, "hit")); err == nil {
			t.Error("a name was run as a command")
		}
	})
}

// debian is a guest with systemd, a server with keys, and plants of its own.
func debian(t *testing.T, plants ...identitytest.Plant) *shell {
	t.Helper()
	p := identitytest.Plant{Files: map[string]string{}}
	for _, plant := range plants {
		maps.Copy(p.Files, plant.Files)
	}
	maps.Copy(p.Files, map[string]string{
		"usr/lib/systemd/systemd": "x", "usr/sbin/sshd": "x", "usr/bin/ssh-keygen": "x", "etc/systemd/system/multi-user.target.wants/": "/",
		"var/lib/systemd/random-seed": "PLANTED", "var/lib/systemd/network/lease": "PLANTED",
	})
	dir := grow(t, p)
	for name, text := range map[string]string{"dev/urandom": "", "proc/sys/kernel/hostname": "old", "run/dhclient.eth0.pid": "7",
		"proc/self/mounts": "/dev/vda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/vdb /mnt\\040x ext4 rw 0 0\n"} {
		mkdir(t, filepath.Dir(filepath.Join(dir, name)))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(t, filepath.Join(dir, "run/systemd/system"))
	return newShell(t, dir)
}

func text(t *testing.T, g *shell, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(g.root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestMendMakesAnew(t *testing.T) {
	aside := t.TempDir()
	t.Setenv("TMPDIR", aside)
	g := debian(t, identitytest.Together())
	keep, err := os.Stat(filepath.Join(g.root, "etc/hosts"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	report, err := live.Mend(ctx, g, identity.All(), web2, func(e clade.Event) { steps = append(steps, e.Step) })
	if err != nil || !report.Verified {
		t.Fatalf("Mend = %+v, %v", report, err)
	}
	if n := names(t, aside); n > 0 {
		t.Errorf("%d files are left in the host's temporary directory", n)
	}
	for _, s := range report.Marks {
		if !s.Erased {
			t.Errorf("the report says that %s is not erased", s.Mark)
		}
	}
	if len(steps) != 6 {
		t.Errorf("the steps are %q", steps)
	}
	if id := text(t, g, "etc/machine-id"); !regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\n$`).MatchString(id) {
		t.Errorf("the machine-id is %q", id)
	}
	for name, want := range map[string]string{
		"var/lib/dbus/machine-id": "->/etc/machine-id", "etc/hostname": "web-2\n", "proc/sys/kernel/hostname": "web-2",
		"etc/hosts": "127.0.0.1 localhost\n127.0.1.1\tweb-2.example.com web-2\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n",
		"etc/systemd/system/multi-user.target.wants/clade-firstboot.service": "->/etc/systemd/system/clade-firstboot.service",
		"var/lib/cloud/data/instance-id":                                     identitytest.None,
	} {
		if got, err := identitytest.Look(g.root, name); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if fi, err := os.Stat(filepath.Join(g.root, "etc/hosts")); err != nil || !os.SameFile(fi, keep) || fi.Mode() != keep.Mode() {
		t.Errorf("etc/hosts is another file than before, %v", err)
	}
	if a, b := text(t, g, "dev/urandom"), text(t, g, "var/lib/systemd/random-seed"); len(a) != 512 || len(b) != 512 || a == b {
		t.Errorf("the seeds are %q and %q", a, b)
	}
	want := []string{
		"sh -c /usr/bin/ssh-keygen -A",
		"systemctl try-reload-or-restart systemd-hostnamed.service", "systemctl try-reload-or-restart systemd-journald.service",
		"systemctl try-reload-or-restart ssh.service", "systemctl try-reload-or-restart sshd.service",
		"systemctl --no-block try-restart systemd-networkd.service NetworkManager.service dhcpcd.service",
		"systemctl --no-block try-restart networking.service",
	}
	if ran := g.ran(t); !slices.Equal(ran, want) {
		t.Errorf("in the guest ran\n%s\nwant\n%s", strings.Join(ran, "\n"), strings.Join(want, "\n"))
	}
}

// A machine can be mended twice, and is another one each time, of the same name.
func TestMendTwice(t *testing.T) {
	g := small(t)
	seen := map[string]bool{}
	for range 2 {
		if _, err := live.Mend(ctx, g, someMarks(t), web2, nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "var/lib/systemd/random-seed"} {
			if s := text(t, g, name); seen[s] {
				t.Errorf("%s is what it was, %q", name, s)
			} else {
				seen[s] = true
			}
			if err := os.Chmod(filepath.Join(g.root, name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if hosts := text(t, g, "etc/hosts"); strings.Count(hosts, "web-2.example.com web-2\n") != 1 {
		t.Errorf("etc/hosts is %q", hosts)
	}
}

func TestMendCloudInit(t *testing.T) {
	files := map[string]string{
		"var/lib/cloud/instance": "->/var/lib/cloud/instances/i-1", "var/lib/cloud/instances/i-1/sem/config_ssh": "done",
		"var/lib/cloud/data/instance-id": "i-1\n", "etc/machine-id": identitytest.MachineID + "\n",
	}
	recordStays := slices.DeleteFunc(identity.All(), func(m identity.Mark) bool { return m.Family == "cloud-init" && m.Kind == identity.Residue })
	for name, test := range map[string]struct {
		marks []identity.Mark
		to    live.Identity
		want  map[string]string
	}{
		"the record goes": {identity.All(), web2, map[string]string{"var/lib/cloud/data/instance-id": identitytest.None, "var/lib/cloud/instance": identitytest.None}},
		"the record stays": {recordStays, web2, map[string]string{
			"var/lib/cloud/data/instance-id": "i-2\n", "var/lib/cloud/instance": "->/var/lib/cloud/instances/i-2",
			"var/lib/cloud/instances/i-2/sem/config_ssh": "done", "var/lib/cloud/instances/i-1": identitytest.None,
		}},
		"the name stays too": {recordStays, live.Identity{Hostname: "web-2", InstanceID: "i-1"}, map[string]string{
			"var/lib/cloud/data/instance-id": "i-1\n", "var/lib/cloud/instance": "->/var/lib/cloud/instances/i-1",
		}},
		"there is work to do": {slices.DeleteFunc(identity.All(), func(m identity.Mark) bool { return m.Name == "cloud-init-state" }), web2, map[string]string{
			"var/lib/cloud/data/instance-id": identitytest.None, "var/lib/cloud/instance": "->/var/lib/cloud/instances/i-1",
		}},
		"no instance-id": {recordStays, live.Identity{Hostname: "web-2"}, map[string]string{
			"var/lib/cloud/data/instance-id": identitytest.None, "var/lib/cloud/instance": "->/var/lib/cloud/instances/i-1",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newShell(t, grow(t, identitytest.Plant{Files: files}))
			if _, err := live.Mend(ctx, g, test.marks, test.to, nil); err != nil {
				t.Fatal(err)
			}
			for name, want := range test.want {
				if got, err := identitytest.Look(g.root, name); got != want || err != nil {
					t.Errorf("%s is %q, %v; want %q", name, got, err, want)
				}
			}
		})
	}
}

func TestMendRefuses(t *testing.T) {
	g := newShell(t, t.TempDir())
	for _, to := range []live.Identity{{}, {Hostname: "a b"}, {Hostname: "web-2", InstanceID: "../x"}, {Hostname: "web-2", InstanceID: "i//x"}} {
		if _, err := live.Mend(ctx, g, identity.All(), to, nil); clade.KindOf(err) != clade.Invalid {
			t.Errorf("Mend to %+v = %v, want kind %q", to, err, clade.Invalid)
		}
	}
	if g.execs > 0 {
		t.Errorf("%d commands ran in the guest", g.execs)
	}
	mkdir(t, filepath.Join(g.root, "etc"))
	if _, err := live.Mend(ctx, g, nil, web2, nil); clade.KindOf(err) != clade.Invalid {
		t.Errorf("Mend of no marks = %v, want kind %q", err, clade.Invalid)
	}
}
