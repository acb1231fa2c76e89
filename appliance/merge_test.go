//go:build integration

package appliance

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/clade-vm/clade"
)

// The life of a guest in three states: M is where it is mounted. What the clone did
// has names that are hostile, links that lead out, devices, pipes, attributes.
const (
	grownUp = `clock 1000
plant root M/
mkdir M/proc
mkdir M/tmp
write M/etc/motd old
write M/etc/keep keep
write M/etc/gone gone
write M/etc/both old
write M/usr/share/a/one 1
write M/usr/share/a/two 2
write M/usr/bin/tool old
link M/usr/bin/tool M/usr/bin/alias
write M/etc/fixed fixed
flags M/etc/fixed 10
write M/etc/deep/er/file x
sync
`
	lived = `clock 2000
write M/etc/motd mine
remove M/etc/gone
write M/etc/machine-id abcdefabcdefabcdefabcdefabcdefab
write M/var/log/syslog mine
write M/tmp/scratch x
write M/proc/stray x
write M/srv/new\nline/\x1b[2J hostile
write M/srv/\xff\xfe/with\x20space hostile
symlink ../../../../../etc/shadow M/srv/out
symlink /srv/loop M/srv/loop
node M/srv/disk b 254 0
node M/srv/null c 1 3
node M/srv/pipe p 0 0
node M/srv/socket s 0 0
sparse M/srv/sparse 6291456
write M/srv/labelled x
own M/srv/labelled 1000 1001
mode M/srv/labelled 4750
xattr M/srv/labelled security.selinux system_u:object_r:etc_t:s0
xattr M/srv/labelled trusted.mine x
xattr M/srv/out trusted.link y
link M/srv/labelled M/srv/labelled-too
link M/etc/keep M/srv/keep-too
own M/etc/deep/er 5 6
mode M/etc/deep/er 1770
write M/srv/immutable x
flags M/srv/immutable 10
many M/srv 10
flags M/etc/fixed 0
write M/etc/fixed mine
remove M/usr/share/a
sync
`
	renewed = `clock 3000
write M/etc/issue new
write M/usr/bin/tool new
remove M/usr/bin/true
write M/opt/app/bin new
write M/var/log/syslog new
mode M/etc/deep 700
sync
`
	clash = `clock 4000
write M/etc/both new
write M/usr/share/a/two new
write M/etc/gone new
write M/var/lib/dpkg/status new
sync
`
)

// A lineage is one kind of file system in three states, each an overlay.
type lineage struct {
	kind            string
	base            Disk
	old, mine, next Disk
	check           []string
}

// on writes a script for a disk of the VM that holds a guest.
func on(script, kind string, disk int) string {
	dir := fmt.Sprintf("/%s", kind)
	return fmt.Sprintf("mount %s %d %s\n%sunmount %s\n", kind, disk, dir, strings.ReplaceAll(script, "M/", dir+"/"), dir)
}

// over makes an overlay of a disk.
func over(t testing.TB, d Disk) Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "over.qcow2")
	command(t, "", "qemu-img", "create", "-q", "-f", "qcow2", "-b", d.Path, "-F", string(d.Format), path)
	return Disk{Path: path, Format: Qcow2, Backed: true}
}

// lineages makes one of each kind of file system, with all the lives lived.
func lineages(t testing.TB) []*lineage {
	all := []*lineage{
		{kind: "ext4", base: Disk{Path: ext4(t, t.TempDir(), "300M"), Format: Raw}, check: []string{"e2fsck", "-fn"}},
		{kind: "xfs", base: Disk{Path: emptyXFS(t), Format: Raw}, check: []string{"xfs_repair", "-n", "-f"}},
		{kind: "btrfs", base: newBtrfs(t), check: []string{"btrfs", "check"}},
	}
	live(t, grownUp, all, func(l *lineage) *Disk { return &l.base })
	for _, l := range all {
		l.old, l.mine, l.next = over(t, l.base), over(t, l.base), over(t, l.base)
	}
	live(t, lived, all, func(l *lineage) *Disk { return &l.mine })
	live(t, renewed, all, func(l *lineage) *Disk { return &l.next })
	return all
}

// live does what a script says on one disk of each lineage, in one boot.
func live(t testing.TB, script string, all []*lineage, of func(*lineage) *Disk) string {
	t.Helper()
	var disks []Disk
	var b strings.Builder
	for i, l := range all {
		disks = append(disks, *of(l))
		b.WriteString(on(script, l.kind, i))
	}
	return garden(t, b.String(), map[string]string{"root": grow(t, planted, func(name string) (string, bool) { return name, true })}, disks...)
}

// TestMerge carries what a clone changed to a new version, on every kind of file
// system, and lets the kernel say what is there then.
func TestMerge(t *testing.T) {
	all := lineages(t)
	want := live(t, "list M/\n", all, func(l *lineage) *Disk { return &l.mine })
	for _, l := range all {
		l.next = over(t, l.next)
		t.Run(l.kind, func(t *testing.T) {
			a, ctx := boot(t)
			before := [2]string{digest(t, l.old.Path), digest(t, l.mine.Path)}
			trio := Trio{Old: []Disk{l.old}, Mine: []Disk{l.mine}, Next: []Disk{l.next}, Related: true, Apply: true}
			began := time.Now()
			report, applied, err := a.Merge(ctx, trio, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d files carried in %v: %+v", report.Carried, time.Since(began), report)
			if !applied || report.Conflict > 0 || report.Settle != 1 || report.Settled[0].Path != "/var/log/syslog" {
				t.Errorf("applied %v with conflicts %+v, settled %+v", applied, report.Conflicts, report.Settled)
			}
			if !slices.Contains(report.Clone.Added, "/srv/") || !slices.Contains(report.Clone.Removed, "/usr/share/a/") || !slices.Contains(report.Template.Added, "/opt/") {
				t.Errorf("the report lacks changes: %+v", report)
			}
			if after := [2]string{digest(t, l.old.Path), digest(t, l.mine.Path)}; before != after {
				t.Error("a disk that is only read was written")
			}
		})
	}
	if t.Failed() {
		return
	}
	got := live(t, "list M/\n", all, func(l *lineage) *Disk { return &l.next })
	for _, l := range all {
		t.Run(l.kind+" read back", func(t *testing.T) { compareListings(t, l, lines(want, l.kind), lines(got, l.kind)) })
	}
}

// lines returns what was listed of one file system, by path.
func lines(console, kind string) map[string]string {
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`at "/`+kind+`(/?(?:[^"\\]|\\.)*)" (.*)`).FindAllStringSubmatch(console, -1) {
		all[m[1]] = strings.TrimRight(strings.ReplaceAll(m[2], "/"+kind, ""), "\r")
	}
	return all
}

// compareListings demands that what the clone changed is as it is in the clone, and
// all else as the new version has it.
func compareListings(t *testing.T, l *lineage, want, got map[string]string) {
	template := []string{"/etc/issue", "/usr/bin/tool", "/usr/bin/true", "/opt", "/etc/deep", "/usr/bin/alias", "/tmp/scratch", "/proc/stray"}
	ours := func(name string) bool {
		return !slices.ContainsFunc(template, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") && p != "/etc/deep" })
	}
	count := 0
	for name, line := range want {
		if ours(name) {
			count++
			if got[name] != line {
				t.Errorf("%q is %q, in the clone %q", name, got[name], line)
			}
		}
	}
	for name := range got {
		if _, there := want[name]; !there && ours(name) {
			t.Errorf("%q is there: %s", name, got[name])
		}
	}
	if count < 40 {
		t.Errorf("%d files compared", count)
	}
	for name, part := range map[string]string{"/etc/issue": " 3 bytes", "/opt/app/bin": " 3 bytes", "/usr/bin/tool": "is /usr/bin/alias", "/etc/deep": "40700"} {
		if !strings.Contains(got[name], part) {
			t.Errorf("of the new version, %s is %q, want %q in it", name, got[name], part)
		}
	}
	for _, name := range []string{"/usr/bin/true", "/tmp/scratch", "/proc/stray", "/usr/share/a", "/etc/gone"} {
		if got[name] != "" {
			t.Errorf("%s is there: %s", name, got[name])
		}
	}
	raw := filepath.Join(t.TempDir(), "raw")
	command(t, "", "qemu-img", "convert", "-O", "raw", l.next.Path, raw)
	command(t, "", l.check[0], append(l.check[1:], raw)...)
}

// TestMergeConflicts asks for what both sides changed, and carries nothing over
// until it is told whose files to take. Layouts that differ are refused.
func TestMergeConflicts(t *testing.T) {
	l := &lineage{kind: "ext4", base: Disk{Path: ext4(t, t.TempDir(), "100M"), Format: Raw}}
	all := []*lineage{l}
	live(t, grownUp, all, func(l *lineage) *Disk { return &l.base })
	l.mine, l.next = over(t, l.base), over(t, l.base)
	live(t, lived+"write M/etc/both mine\nwrite M/var/lib/dpkg/status mine\nsync\n", all, func(l *lineage) *Disk { return &l.mine })
	live(t, renewed+clash, all, func(l *lineage) *Disk { return &l.next })
	a, ctx := boot(t)
	trio := Trio{Old: []Disk{l.base}, Mine: []Disk{l.mine}, Next: []Disk{over(t, l.next)}, Related: true, Apply: true}
	fresh := digest(t, trio.Next[0].Path)
	report, applied, err := a.Merge(ctx, trio, nil)
	if err != nil || applied {
		t.Fatalf("applied %v, %v", applied, err)
	}
	var paths []string
	for _, c := range report.Conflicts {
		paths = append(paths, c.Path+" "+c.Clone+" "+c.Template)
	}
	if want := []string{"/etc/both changed changed", "/etc/gone removed changed", "/usr/share/a removed changed", "/var/lib/dpkg/status added added"}; !slices.Equal(paths, want) {
		t.Errorf("conflicts %q, want %q", paths, want)
	}
	if digest(t, trio.Next[0].Path) != fresh {
		t.Error("a merge that was refused wrote something")
	}
	trio.Take = clade.TemplateSide
	if report, applied, err = a.Merge(ctx, trio, nil); err != nil || !applied || report.Took != clade.TemplateSide {
		t.Fatalf("applied %v, %+v, %v", applied, report, err)
	}
	got := lines(live(t, "list M/\n", all, func(*lineage) *Disk { return &trio.Next[0] }), "ext4")
	for name, part := range map[string]string{"/etc/both": " 3 bytes", "/etc/gone": " 3 bytes", "/usr/share/a/two": " 3 bytes", "/etc/motd": " 4 bytes"} {
		if !strings.Contains(got[name], part) {
			t.Errorf("%s is %q, want %q", name, got[name], part)
		}
	}
	trio.Old = []Disk{{Path: separateVar(t, "gpt", "LABEL=variable"), Format: Raw}}
	if _, _, err := a.Merge(ctx, trio, nil); !errors.Is(err, clade.Unsupported) || !strings.Contains(err.Error(), "/var") {
		t.Errorf("other volumes: %v, want %v", err, clade.Unsupported)
	}
	orphans(t)
}

// TestMergeHostile carries over guests that are made to mislead: links that lead
// out, pipes and devices in place of files, files of 4 GiB without blocks.
func TestMergeHostile(t *testing.T) {
	old := Disk{Path: plain(t), Format: Raw}
	for _, g := range []hostile{astray(t), special(t), endless(t)} {
		t.Run(g.name, func(t *testing.T) {
			a, ctx := boot(t)
			next := over(t, old)
			report, applied, err := a.Merge(ctx, Trio{Old: []Disk{old}, Mine: []Disk{g.disk}, Next: []Disk{next}, Apply: true}, nil)
			if err != nil || !applied {
				t.Fatalf("applied %v, %+v, %v", applied, report, err)
			}
			if text := fmt.Sprint(report); strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Errorf("what is said is not fit for a terminal: %q", text)
			}
			raw := filepath.Join(t.TempDir(), "raw")
			command(t, "", "qemu-img", "convert", "-O", "raw", next.Path, raw)
			command(t, "", "e2fsck", "-fn", raw)
			for _, name := range g.absent { // which other work is to remove
				for of, image := range map[string]string{"the clone": g.disk.Path, "the new version": raw} {
					if out := debugfs(t, image, "stat \""+name+"\""); !strings.Contains(out, "Inode:") {
						t.Errorf("%q is not in %s: %s", name, of, out)
					}
				}
			}
		})
	}
	orphans(t)
}
