package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
	"github.com/clade-vm/clade/live"
	"github.com/clade-vm/clade/rootfs"
)

// onDisk reads marks of the files in dir as on a disk.
func onDisk(t *testing.T, dir string, marks []identity.Mark) []identity.Finding {
	t.Helper()
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	var all []identity.Finding
	for _, m := range marks {
		found, err := m.Read(tree)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// checkRead fails unless g reads what is on the disk, and leaves all as it is.
func checkRead(t *testing.T, g *shell) {
	t.Helper()
	before := times(t, g.root)
	got, err := live.Read(ctx, g, identity.All())
	if err != nil {
		t.Fatal(err)
	}
	want := onDisk(t, g.root, identity.All())
	for _, f := range got {
		if !slices.Contains(want, f) {
			t.Errorf("found %+v, which is not on the disk", f)
		}
	}
	for _, f := range want {
		if !slices.Contains(got, f) {
			t.Errorf("did not find %+v", f)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d findings, want %d", len(got), len(want))
	}
	if after := times(t, g.root); after != before {
		t.Errorf("reading has written something:\n%s\nbefore:\n%s", after, before)
	}
}

// times tells all files below dir with the times at which they were changed.
func times(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%p %M %s %T@ %C@\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// with runs test with the programs that a guest may have: GNU's and busybox.
func with(t *testing.T, test func(t *testing.T, programs func(*shell))) {
	t.Run("gnu", func(t *testing.T) { test(t, func(*shell) {}) })
	t.Run("busybox", func(t *testing.T) {
		box, err := exec.LookPath("busybox")
		if err != nil {
			t.Skip("busybox is not installed")
		}
		dir := t.TempDir()
		for _, name := range []string{"sh", "find", "xargs", "stat", "tar", "head", "timeout", "true", "chmod", "ln", "mkdir", "mv",
			"readlink", "rm", "sync", "cat"} {
			if err := os.Symlink(box, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		test(t, func(s *shell) { s.path, s.sh = dir, filepath.Join(dir, "sh") })
	})
}

func TestReadIsAsOnADisk(t *testing.T) {
	t.Parallel()
	for _, p := range groups() {
		checkRead(t, newShell(t, grow(t, p)))
	}
	with(t, func(t *testing.T, programs func(*shell)) {
		g := newShell(t, grow(t, identitytest.Together()))
		programs(g)
		checkRead(t, g)
		if g.execs > 6 {
			t.Errorf("reading took %d commands", g.execs)
		}
		t.Logf("%d commands, %v in, %v out", g.execs, clade.Bytes(g.in), clade.Bytes(g.out))
	})
}

// odd are names that scripts stumble over.
var odd = []string{
	"-rf", "--", "*", "a b", " ", "\n", "a\nfind: b", "$(touch hit)", "`touch hit`", "$HOME", `\`, `\0101`, `\c`, "%s", "'", `"`, ";", "&", "|",
	"\xff\xfe", "\x01\x1b[2J", "ü", "clade end", "...", "~", "#", "{}", "-print0", "!", "(", "a\n\nclade end\n", strings.Repeat("n", 240),
}

// oddTree is a guest with such names everywhere, and files that are not what they
// should be. Some lead to outside, which is a directory of the host with files that
// must be neither read nor touched.
func oddTree(t *testing.T, outside string) string {
	t.Helper()
	dir := t.TempDir()
	var passwd strings.Builder
	for _, name := range odd {
		for _, at := range []string{"var/lib/dhcp/dhclient" + name + ".leases", "tmp/" + name + "/" + name, "home/" + name + "/.bash_history",
			"etc/NetworkManager/system-connections/" + name, "var/log/" + name + "/" + name} {
			mkdir(t, filepath.Dir(filepath.Join(dir, at)))
			text := "x" + name + "\nmac-address=52:54:00:ab:cd:ef\n"
			if err := os.WriteFile(filepath.Join(dir, at), []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&passwd, "x:x:0:0::/home/%s:/bin/sh\n", name)
	}
	long := "iface eth0\n hwaddress 52:54:00:ab:cd:ef\n" + strings.Repeat("\x00\\c%s\xff\u00e4//'\n", 5000)
	for name, text := range map[string]string{
		"etc/network/interfaces": long, "etc/passwd": passwd.String(), "etc/hostname": "|", "etc/machine-id": "|", "etc/hosts": "|", "etc/ssh/ssh_host_rsa_key": "|",
		"etc/ssh/ssh_host_ed25519_key": "->/etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_dsa_key": "->../../../../../../etc/passwd",
		"etc/ssh/ssh_host_a_key": "->ssh_host_b_key", "etc/ssh/ssh_host_b_key": "->ssh_host_a_key", "etc/hostid": "->" + outside + "/hostid",
		"etc/mailname": "->/etc/shadow", "var/lib/dhclient": "->/proc/self", "var/lib/dhcpcd": "->../../../../../..", "etc/netplan": "->/", "etc/nvme": "->\n",
		"var/lib/systemd": "->" + outside, "var/lib/NetworkManager/secret_key": "->/dev/urandom", "etc/iscsi": "|", "root": "->/home/*",
		"usr/lib/systemd/systemd": "x", "usr/bin/cloud-init": "->/usr/bin/cloud-init",
	} {
		if err := identitytest.Grow(dir, identitytest.Plant{Files: map[string]string{name: text}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"hostid", "random-seed"} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte("OUTSIDE"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadHostileNames(t *testing.T) {
	t.Parallel()
	with(t, func(t *testing.T, programs func(*shell)) {
		g := newShell(t, oddTree(t, t.TempDir()))
		programs(g)
		g.after = func(e *clade.Exit) error {
			if bytes.Contains(e.Out, []byte("OUTSIDE")) {
				t.Error("a file outside the guest's root was read")
			}
			return nil
		}
		checkRead(t, g)
		if _, err := os.Lstat(filepath.Join(g.root, "hit")); err == nil {
			t.Error("a name was run as a command")
		}
	})
}

func TestReadHugeFiles(t *testing.T) {
	t.Parallel()
	with(t, func(t *testing.T, programs func(*shell)) {
		dir := t.TempDir()
		for name, size := range map[string]int64{
			"etc/ssh/ssh_host_rsa_key": 1 << 20, "etc/ssh/ssh_host_ed25519_key": 1<<20 + 1, "etc/hostid": 1<<20 + 511, "etc/hosts": 3 << 20,
			"etc/machine-id": 5 << 20, "var/log/syslog": 1 << 40, "var/lib/dhcp/a.leases": 1 << 40, "etc/hostname": 1 << 21, "tmp/huge": 1 << 40,
		} {
			at := filepath.Join(dir, name)
			mkdir(t, filepath.Dir(at))
			if err := os.WriteFile(at, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(at, size); err != nil {
				t.Fatal(err)
			}
		}
		g := newShell(t, dir)
		programs(g)
		checkRead(t, g)
		if g.out > 12<<20 {
			t.Errorf("%v were read", clade.Bytes(g.out))
		}
	})
}

// hugeDir makes a directory whose entries no answer has room for.
func hugeDir(t *testing.T, dir string) {
	t.Helper()
	mkdir(t, dir)
	for i := range 14_000 {
		fd, err := syscall.Open(fmt.Sprintf("%s/%0240d.lease", dir, i), syscall.O_CREAT|syscall.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Close(fd)
	}
}

func TestReadHugeDirectories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hugeDir(t, filepath.Join(dir, "tmp"))
	mkdir(t, filepath.Join(dir, "etc"))
	g := newShell(t, dir)
	mark, _ := identity.Find("tmp")
	marks := []identity.Mark{mark}
	found, err := live.Read(ctx, g, identity.All())
	if want := onDisk(t, dir, identity.All()); err != nil || !slices.Equal(found, want) {
		t.Errorf("Read = %+v, %v; want %+v", found, err, want)
	}
	m := live.NewMirror(g)
	var entries []fs.DirEntry
	look := func() { entries, err = rootfs.ReadDir(m, "tmp", 100_000) }
	if settled := m.Settle(look); settled != nil || !errors.Is(err, rootfs.ErrLimit) || len(entries) < 10_000 {
		t.Errorf("of a huge directory there are %d entries, %v, want %v; %v", len(entries), err, rootfs.ErrLimit, settled)
	}
	before := names(t, filepath.Join(dir, "tmp"))
	if _, err := live.Mend(ctx, g, marks, web2, nil); !errors.Is(err, clade.Unproven) {
		t.Errorf("of a directory that is not known whole, Mend = %v; want kind %q", err, clade.Unproven)
	}
	if after := names(t, filepath.Join(dir, "tmp")); after != before {
		t.Errorf("Mend removed some of %d files: %d are left", before, after)
	}
}

func names(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// What a guest's agent says wrongly is no answer, and never that there is nothing.
func TestReadGarbled(t *testing.T) {
	dir := small(t).root
	for name, mangle := range map[string]func(*clade.Exit){
		"truncated":       func(e *clade.Exit) { e.Truncated = true },
		"failed":          func(e *clade.Exit) { e.Status = 1 },
		"killed":          func(e *clade.Exit) { e.Status, e.Signal = 0, 9 },
		"nothing":         func(e *clade.Exit) { e.Out = nil },
		"no end":          func(e *clade.Exit) { e.Out = e.Out[:ends(e.Out)] },
		"half":            func(e *clade.Exit) { e.Out = e.Out[:len(e.Out)/2] },
		"half with end":   func(e *clade.Exit) { e.Out = append(e.Out[:len(e.Out)/2], e.Out[ends(e.Out):]...) },
		"fewer names":     func(e *clade.Exit) { e.Out = bytes.Replace(e.Out, []byte("clade "), []byte("clade 1"), 1) },
		"a greeting":      func(e *clade.Exit) { e.Out = append([]byte("Welcome!\n"), e.Out...) },
		"not asked for":   func(e *clade.Exit) { e.Out = bytes.Replace(e.Out, []byte(" ./etc//\n"), []byte(" ./sec/ret//\n"), 1) },
		"upwards":         func(e *clade.Exit) { e.Out = bytes.Replace(e.Out, []byte(" ./etc//\n"), []byte(" ./../etc//\n"), 1) },
		"no number":       func(e *clade.Exit) { e.Out = bytes.Replace(e.Out, []byte("\n41"), []byte("\n4z"), 1) },
		"passed over":     func(e *clade.Exit) { e.Out = bytes.Replace(e.Out, []byte("\x00./etc/ssh\x00"), []byte("\x00"), 1) },
		"find is refused": func(e *clade.Exit) { e.Err = []byte("find: './etc/ssh': Permission denied\n") },
	} {
		t.Run(name, func(t *testing.T) {
			g := newShell(t, dir)
			g.after = func(e *clade.Exit) error { mangle(e); return nil }
			found, err := live.Read(ctx, g, identity.All())
			if clade.KindOf(err) != clade.Unproven || found != nil {
				t.Errorf("Read = %d findings, %v; want none, kind %q", len(found), err, clade.Unproven)
			}
		})
	}
}

// ends returns where the last record of an answer begins.
func ends(out []byte) int { return max(bytes.LastIndex(out, []byte("\nclade end ")), 0) }

// lying is the text of files that look like the end of an answer.
const lying = "a\nclade end\nclade end 1\nclade end  1\n\nclade end\n"

// An answer that is cut after any of its bytes, at the borders of its records as well,
// is none, also where what it holds looks like its end.
func TestReadCutAnywhere(t *testing.T) {
	g := newShell(t, t.TempDir())
	mkdir(t, filepath.Join(g.root, "etc"))
	plant(t, g, "etc/hostname", lying)
	plant(t, g, "etc/hosts", "127.0.1.1 "+lying)
	answers := map[string][]byte{} // to each question, once
	cut := func(at int) (int, error) {
		most := 0
		again := replayed{func(c clade.Command) (*clade.Exit, error) {
			word := c.Args[slices.Index(c.Args, "clade")+3]
			question := strings.Join(c.Args, " ")
			question = strings.ReplaceAll(question, word, "WORD") + string(c.Input)
			if answers[question] == nil {
				e, err := g.Exec(ctx, c)
				if err != nil {
					return nil, err
				}
				answers[question] = bytes.ReplaceAll(e.Out, []byte(word), []byte(strings.Repeat("W", len(word))))
			}
			out := bytes.ReplaceAll(answers[question], []byte(strings.Repeat("W", len(word))), []byte(word))
			most = max(most, len(out))
			return &clade.Exit{Out: out[:min(at, len(out))]}, nil
		}}
		hostname, _ := identity.Find("hostname")
		_, err := live.Read(ctx, again, []identity.Mark{hostname})
		return most, err
	}
	whole, err := cut(1 << 30)
	if err != nil || whole < 1024 {
		t.Fatalf("Read of whole answers, of up to %d bytes: %v", whole, err)
	}
	for at := range whole {
		longest, err := cut(at)
		if longest > at && clade.KindOf(err) != clade.Unproven {
			t.Fatalf("Read of answers cut after %d bytes = %v, want kind %q", at, err, clade.Unproven)
		}
	}
}

// A large file of which less arrives than there is of it is asked for again, and not
// believed; nor is an answer that is cut where the file looks like its end.
func TestReadBeginningCut(t *testing.T) {
	for want, mangle := range map[string]func(out []byte) []byte{
		"does not tell": func(out []byte) []byte { return slices.Delete(out, ends(out)-4096, ends(out)) },
		"has no end":    func(out []byte) []byte { return out[:bytes.Index(out, []byte(lying))+len(lying)] },
	} {
		g := newShell(t, t.TempDir())
		mkdir(t, filepath.Join(g.root, "etc"))
		plant(t, g, "etc/hostname", strings.Repeat(lying, 1<<16))
		g.after = func(e *clade.Exit) error {
			if len(e.Out) > 1<<20 {
				e.Out = mangle(e.Out)
			}
			return nil
		}
		hostname, _ := identity.Find("hostname")
		found, err := live.Read(ctx, g, []identity.Mark{hostname})
		if clade.KindOf(err) != clade.Unproven || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("Read = %+v, %v; want kind %q: %s", found, err, clade.Unproven, want)
		}
	}
}

// A replayed agent answers what it is told to.
type replayed struct {
	answer func(clade.Command) (*clade.Exit, error)
}

func (r replayed) Exec(_ context.Context, c clade.Command) (*clade.Exit, error) { return r.answer(c) }

// faulty returns a directory of programs, first in the path, in which one fails for
// what has PLANTED in its name, and otherwise is as it was.
func faulty(t *testing.T, g *shell, program, script string) {
	t.Helper()
	real, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script = "#!/bin/sh\nREAL=" + real + "\n" + script
	if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	g.path = dir + ":" + g.path
}

// A file that is there and cannot be told of is not absent.
func TestReadWhatIsNotTold(t *testing.T) {
	without := "for a do shift; case $a in *etc/hostname) ;; *) set -- \"$@\" \"$a\";; esac; done\nexec $REAL \"$@\"\n"
	for _, program := range []string{"stat", "tar"} {
		t.Run(program, func(t *testing.T) {
			g := small(t)
			faulty(t, g, program, without)
			hostname, _ := identity.Find("hostname")
			found, err := live.Read(ctx, g, []identity.Mark{hostname})
			if clade.KindOf(err) != clade.Unproven || !strings.Contains(fmt.Sprint(err), "does not tell") {
				t.Errorf("Read = %+v, %v; want kind %q", found, err, clade.Unproven)
			}
		})
	}
}

// A file that goes while it is read is absent, and no failure.
func TestReadWhatGoes(t *testing.T) {
	for program, first := range map[string]string{"stat": "-c", "tar": "-cf"} {
		t.Run(program, func(t *testing.T) {
			g := small(t)
			faulty(t, g, program, "[ $1 != "+first+" ] || rm -f "+filepath.Join(g.root, "etc/hosts")+"\nexec $REAL \"$@\"\n")
			hosts, _ := identity.Find("hosts")
			found, err := live.Read(ctx, g, []identity.Mark{hosts})
			if err != nil || len(found) > 0 {
				t.Errorf("Read = %+v, %v; want nothing", found, err)
			}
		})
	}
}

func TestReadLacksPrograms(t *testing.T) {
	for _, lack := range []string{"tar", "stat", "find", "head", "xargs"} {
		t.Run(lack, func(t *testing.T) {
			g := newShell(t, t.TempDir())
			dir := t.TempDir()
			for _, name := range []string{"sh", "find", "xargs", "stat", "tar", "head"} {
				real, err := exec.LookPath(name)
				if err != nil {
					t.Fatal(err)
				}
				if name != lack {
					if err := os.Symlink(real, filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			g.path = dir
			_, err := live.Read(ctx, g, identity.All())
			if clade.KindOf(err) != clade.Unsupported || !strings.Contains(fmt.Sprint(err), lack) || clade.HintOf(err) == "" {
				t.Errorf("Read = %v, want kind %q about %s, and a hint", err, clade.Unsupported, lack)
			}
		})
	}
	g := newShell(t, t.TempDir())
	g.before = func(*clade.Command) error { return &clade.Error{Op: "run", Kind: clade.NotFound} }
	if _, err := live.Read(ctx, g, identity.All()); clade.KindOf(err) != clade.Unsupported {
		t.Errorf("without a shell, Read = %v, want kind %q", err, clade.Unsupported)
	}
}

// hangs is an agent that never answers.
type hangs struct{}

func (hangs) Exec(ctx context.Context, _ clade.Command) (*clade.Exit, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestReadTimeout(t *testing.T) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := live.Read(ended, hangs{}, identity.All()); clade.KindOf(err) != clade.Timeout {
		t.Errorf("Read = %v, want kind %q", err, clade.Timeout)
	}
}

// A guest that has ever more to show comes to an end.
func TestReadEndlessTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	deep := filepath.Join(dir, "var/log")
	for range 100 {
		deep += "/d"
	}
	mkdir(t, deep)
	g := newShell(t, dir)
	if _, err := live.Read(ctx, g, identity.All()); clade.KindOf(err) != clade.Unproven {
		t.Errorf("Read = %v, want kind %q", err, clade.Unproven)
	}
}
