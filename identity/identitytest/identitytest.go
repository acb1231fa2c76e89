// Package identitytest has a plant for every mark: the mark as a guest has it, and
// what must be there when it is erased. Tests of whatever works on marks grow
// plants in a guest's files, let the work be done, and look at what is left with a
// reader that knows nothing of marks.
//
// All plants can grow in one tree, also in that of a real system: [Together].
package identitytest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/clade-vm/clade/rootfs"
)

// What must not be left anywhere after erasing: every plant that holds something
// of its own holds one of these.
const (
	Planted   = "PLANTED"
	MachineID = "0123456789abcdef0123456789abcdef"
	MAC       = "52:54:00:ab:cd:ef"
)

// None is what After says of a file that must not be there.
const None = "none"

// A Plant is one mark as a guest has it. Files says what lies at which name:
//
//	"->target"   a link
//	"|"          a named pipe
//	"/"          a directory
//	"=text"      a file with that text, if nothing is there: a program that the mark asks for
//	other text   a file with that text
type Plant struct {
	Files map[string]string // before erasing
	After map[string]string // when it is erased, as Look tells it
}

// Plants returns the plants by the names of their marks.
func Plants() map[string]Plant {
	all := map[string]Plant{}
	for _, family := range []map[string]Plant{
		installerPlants(), hostnamePlants(), cloudInitPlants(), networkPlants(), addressPlants(), dhcpPlants(), vpnPlants(), sshPlants(),
		tlsPlants(), randomPlants(), clockPlants(), storagePlants(), directoryPlants(), servicePlants(), containerPlants(), clusterPlants(),
		managementPlants(), monitoringPlants(), securityPlants(), subscriptionPlants(), accountPlants(), homePlants(), desktopPlants(),
		credentialPlants(), packagePlants(), spoolPlants(), filePlants(), logPlants(), machineIDPlants(),
	} {
		maps.Copy(all, family)
	}
	return all
}

// Together returns all plants as one. No two of them want different things of one
// name, except that what one of them edits another may remove: then it is gone.
func Together() Plant {
	one := Plant{Files: map[string]string{}, After: map[string]string{}}
	for _, p := range Plants() {
		for name, what := range p.Files {
			if _, ok := one.Files[name]; !ok || !strings.HasPrefix(what, "=") {
				one.Files[name] = what
			}
		}
		for name, what := range p.After {
			if one.After[name] != None {
				one.After[name] = what
			}
		}
	}
	for name := range one.After {
		if path.Dir(name) == "etc/NetworkManager/system-connections" {
			one.After[name] = None // networkmanager-connections removes them all
		}
	}
	return one
}

// Grow makes the files of p below the directory dir, among those that are there,
// as a process in the guest would: no link leads out of dir. A file that is in the
// way is replaced, anything else is an error.
func Grow(dir string, p Plant) error {
	tree, err := rootfs.Open(dir)
	if err != nil {
		return err
	}
	defer tree.Close()
	names := slices.Sorted(maps.Keys(p.Files))
	for _, links := range []bool{true, false} { // links to directories first, files below them after
		for _, name := range names {
			what := p.Files[name]
			if strings.HasPrefix(what, "->") != links {
				continue
			}
			if err := growOne(dir, tree, strings.TrimSuffix(name, "/"), what); err != nil {
				return fmt.Errorf("grow %q: %w", name, err)
			}
		}
	}
	return nil
}

func growOne(dir string, tree *rootfs.Tree, name, what string) error {
	if what == "/" {
		return tree.MkdirAll(name, 0o755)
	}
	if err := tree.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if target, ok := strings.CutPrefix(what, "->"); ok {
		return link(tree, target, name)
	}
	if what == "|" {
		return pipe(dir, tree, name)
	}
	if text, ok := strings.CutPrefix(what, "="); ok {
		if _, err := tree.Stat(name); err == nil {
			return nil
		}
		what = text
	}
	return write(dir, tree, name, what)
}

// write makes a file. Only one that replaces another is worth the care that the
// tree takes of it.
func write(dir string, tree *rootfs.Tree, name, text string) error {
	if _, err := tree.Lstat(name); err == nil {
		return tree.WriteFile(name, []byte(text), 0o640)
	}
	parent, err := tree.Resolve(path.Dir(name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, parent, path.Base(name)), []byte(text), 0o640)
}

func link(tree *rootfs.Tree, target, name string) error {
	err := tree.Symlink(target, name)
	if is, _ := tree.ReadLink(name); errors.Is(err, fs.ErrExist) && is == target {
		return nil
	}
	return err
}

func pipe(dir string, tree *rootfs.Tree, name string) error {
	parent, err := tree.Resolve(path.Dir(name))
	if err != nil {
		return err
	}
	err = syscall.Mkfifo(filepath.Join(dir, parent, path.Base(name)), 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
