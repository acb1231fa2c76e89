package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
)

// A system is one operating system on a machine's disks.
type system struct {
	volume *volume
	subvol string
	name   string // as it calls itself
	dir    string // where it is mounted to be looked at
}

// id is how a system is chosen among several.
func (s system) id() string {
	if s.subvol != "" {
		return s.volume.id() + ":" + s.subvol
	}
	return s.volume.id()
}

// A machine is the disks of one guest, and what was learnt of them.
type machine struct {
	server  *server
	dir     string // holds the directories its file systems are mounted in, and stays
	write   bool   // the disks can be written
	volumes []*volume
	looks   mounts // reading only: all its systems
	notes   []string
	devices []string // of its logical volumes, for the device mapper
	shadows []shadow
	btrfs   bool // the server's lock on btrfs is held
}

// subvolumes are where installers put the root on btrfs, when not at its top.
var subvolumes = []string{"", "@", "@rootfs", "root", "@root"}

// machine finds the volumes on a machine's disks, which can be written or not. The
// caller closes it.
func (s *server) machine(serials []string, write bool) (*machine, error) {
	names, err := s.disks.find(serials)
	if err != nil {
		return nil, err
	}
	m := &machine{server: s, write: write}
	if m.dir, err = os.MkdirTemp("/run", "guest-"); err != nil {
		return nil, err
	}
	if m.volumes, err = volumesOf(names); err == nil {
		err = errors.Join(m.activate(), m.protect(), m.remember())
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// close lets go of the machine's disks. It may be called twice.
func (m *machine) close() {
	_ = errors.Join(m.looks.unmount(), m.dropShadows()) // only read: what stays does no harm
	m.forget()
	m.deactivate()
}

func (m *machine) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(m.notes, text) {
		m.notes = append(m.notes, text)
	}
}

// noteEach notes an error, or each of those that it joins.
func (m *machine) noteEach(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			m.note("%v", err)
		}
	} else if err != nil {
		m.note("%v", err)
	}
}

// mounts returns a list of mounts, to write or to read.
func (m *machine) mounts(write bool) *mounts {
	return &mounts{mods: m.server.mods, write: write, replay: m.replay}
}

// choose returns the operating system to work on: the wanted one, or the only one.
func (m *machine) choose(wanted string) (*system, error) {
	systems, failed := m.systems()
	if len(systems) == 0 {
		return nil, m.none(failed)
	}
	var names []string
	for _, s := range systems {
		if s.id() == wanted || len(systems) == 1 && wanted == "" {
			for _, err := range failed {
				m.note("%v", err)
			}
			return &s, nil
		}
		names = append(names, fmt.Sprintf("%s (%s)", s.id(), s.name))
	}
	why := fmt.Errorf("they hold %d operating systems: %s", len(systems), strings.Join(names, ", "))
	if wanted != "" {
		why = fmt.Errorf("system %.80q is not among %s", wanted, strings.Join(names, ", "))
	}
	return nil, &clade.Error{Op: "choose", On: "an operating system on the disks", Kind: clade.Invalid, Err: why,
		Hint: "name one: --system " + systems[0].id()}
}

// none explains why no operating system was found.
func (m *machine) none(failed []error) error {
	if len(failed) > 0 {
		return failed[0]
	}
	most := obstacle{kind: clade.NotFound, why: "they hold none that clade knows"}
	for _, v := range m.volumes {
		if o := v.obstacle(); o.weight > most.weight {
			most = o
		}
	}
	return &clade.Error{Op: "find", On: "an operating system on the disks", Kind: most.kind, Err: errors.New(most.why), Hint: most.hint}
}

// An obstacle is why a system on a volume would not be seen. The weightier it is,
// the likelier the system is there.
type obstacle struct {
	weight    int
	kind      clade.Kind
	why, hint string
}

func (v *volume) obstacle() obstacle {
	is := fmt.Sprintf("%s is %s", v, v.format)
	switch {
	case v.format == luks || v.format == bitlock:
		return obstacle{3, clade.Unsupported, fmt.Sprintf("%s is locked (%s)", v, v.format), unlock}
	case v.format == missingDisk:
		return obstacle{2, clade.NotFound, is, "give all disks of the machine"}
	case v.lv != "" && v.device == "":
		return obstacle{2, clade.Unsupported, is + ", which is not supported", ""}
	case slices.Contains([]format{raid, ntfs, f2fs, lvm}, v.format):
		return obstacle{1, clade.Unsupported, is + ", which is not supported", ""}
	}
	return obstacle{}
}

// systems looks at every file system, and returns why some could not be looked at.
func (m *machine) systems() (found []system, failed []error) {
	for _, v := range m.volumes {
		switch v.format {
		case ext, xfs, btrfs:
		default:
			continue
		}
		tries := subvolumes[:1]
		if v.format == btrfs {
			tries = subvolumes
		}
		for _, subvol := range tries {
			sys, err := m.look(v, subvol)
			if errors.Is(err, clade.NotFound) {
				continue
			}
			if err != nil {
				failed = append(failed, err)
				break
			}
			if sys != nil {
				found = append(found, *sys)
				break
			}
		}
	}
	return found, failed
}

// look mounts a volume, reading only, and returns the system on it, which stays
// mounted: nil if there is none.
func (m *machine) look(v *volume, subvol string) (*system, error) {
	dir, err := os.MkdirTemp(m.dir, "look-")
	if err != nil {
		return nil, err
	}
	at := m.mounts(false)
	if err := at.add(v, dir, subvol); err != nil {
		return nil, err
	}
	tree, err := rootfs.Open(dir)
	if err != nil {
		return nil, errors.Join(err, at.unmount())
	}
	defer tree.Close()
	name := systemName(tree)
	if name == "" {
		return nil, errors.Join(tree.Close(), at.unmount())
	}
	m.looks.join(at)
	return &system{v, subvol, name, dir}, nil
}

// systemName returns what the system in a tree calls itself, or "" where there is
// none. With /usr on a volume of its own, its name may be out of sight.
func systemName(tree *rootfs.Tree) string {
	is := func(name string) bool {
		_, err := tree.Lstat(name)
		return err == nil
	}
	if !is("etc") || !is("usr") && !is("bin") || !is("etc/os-release") && !is("etc/fstab") && !is("etc/passwd") {
		return ""
	}
	for _, file := range []string{"etc/os-release", "usr/lib/os-release"} {
		text, err := rootfs.ReadFile(tree, file, 64<<10)
		if err != nil {
			continue
		}
		for l := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(l), "PRETTY_NAME="); ok {
				if name = printable(strings.Trim(name, `"'`), 80); name != "" {
					return name
				}
			}
		}
	}
	return "Linux"
}

// assemble mounts a system's root and, as its fstab says, what else is on the
// disks. Where write is set, a volume that the guest needs and that is not there
// is an error of kind NotFound; else it is a note.
func (m *machine) assemble(s *system, write bool) (*mounts, *rootfs.Tree, error) {
	at := m.mounts(write)
	fail := func(err error) (*mounts, *rootfs.Tree, error) { return nil, nil, errors.Join(err, at.unmount()) }
	dir, err := m.mountRoot(at, s)
	if err != nil {
		return fail(err)
	}
	tree, err := rootfs.Open(dir)
	if err != nil {
		return fail(err)
	}
	text, err := rootfs.ReadFile(tree, "etc/fstab", maxFstab)
	if err != nil && !rootfs.Absent(err) {
		m.note("the guest's fstab cannot be read: %v", err)
	}
	for _, l := range parseFstab(string(text)) {
		if err := m.attach(at, tree, dir, l); err != nil {
			tree.Close()
			return fail(err)
		}
	}
	for _, v := range m.volumes {
		if v.stale {
			m.note("%s was not unmounted, and its journal cannot be replayed: what is read may be older than the last writes", v)
		}
	}
	return at, tree, nil
}

// mountRoot returns where the root of a system is mounted. To read, it is where it
// was looked at.
func (m *machine) mountRoot(at *mounts, s *system) (string, error) {
	if !at.write && s.dir != "" {
		return s.dir, nil
	}
	dir, err := os.MkdirTemp(m.dir, "root-")
	if err != nil {
		return "", err
	}
	return dir, at.add(s.volume, dir, s.subvol)
}

// attach mounts one entry of fstab below the root, which is mounted in dir.
func (m *machine) attach(at *mounts, tree *rootfs.Tree, dir string, l line) error {
	if l.dir == "/" {
		return nil
	}
	must := at.write && !l.lax && !strings.HasPrefix(l.dir, "/mnt/") && !strings.HasPrefix(l.dir, "/media/")
	err := m.attachVolume(at, tree, dir, l)
	if err == nil || must {
		return err
	}
	m.note("%s is not looked at: %v", l.dir, err)
	return nil
}

func (m *machine) attachVolume(at *mounts, tree *rootfs.Tree, dir string, l line) error {
	v := find(m.volumes, l.spec)
	if v == nil {
		return &clade.Error{Op: "mount", On: l.dir, Kind: clade.NotFound,
			Err:  fmt.Errorf("the guest's fstab has it on %s, which is on none of the disks", l.spec),
			Hint: "give all disks of the machine"}
	}
	name, err := tree.Resolve(l.dir)
	if err == nil {
		st, serr := tree.Stat(name)
		if err = serr; err == nil && !st.IsDir() {
			err = errors.New("not a directory")
		}
	}
	if err != nil {
		return &clade.Error{Op: "mount", On: l.dir, Kind: clade.NotFound, Err: err}
	}
	return at.add(v, filepath.Join(dir, name), l.subvol)
}
