// Package merge compares three trees of a guest's files and carries over, from one
// to another, what the first changed: the old version of a template, a clone that
// was made on it, and the new version.
//
// It follows no link, opens nothing but regular files and directories, and takes
// nothing for granted that a hostile guest could have made up: depth, entries,
// names and bytes are bounded, and beyond the bounds it refuses. What both sides
// changed and not alike is a conflict; it decides none but those that a rule
// decides: identity and logs are the clone's, caches the template's.
//
// The order is Compare, then Apply, then Verify, each on trees as they are mounted
// then. Compare writes nothing. The package mounts nothing.
package merge

import (
	"errors"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/rootfs"
	"golang.org/x/sys/unix"
)

// The bounds, of each tree.
const (
	maxDepth   = 256     // directories
	maxNames   = 1 << 18 // in one directory
	maxHeld    = 1 << 19 // names in memory: of a directory and those above it
	maxEntries = 5 << 20 // in all
	maxActions = 1 << 19 // files and directories to write or to remove, whole new directories counted once
	maxLinks   = 1 << 19 // files of several names
	maxListed  = 200     // in each list of the report
)

// A Tree is the files of one guest, mounted in a directory.
type Tree struct {
	Dir     string
	Volumes map[uint64]Volume // by the number of the mounted device
}

// A Volume is a file system of a Tree.
type Volume struct {
	ID    string // the same for copies of one file system
	Exact bool   // it keeps the time of changes in nanoseconds, and the guest cannot set it
}

// Options are what the comparison is told.
type Options struct {
	// Related says that the new version goes back to a state of the same disks as the
	// old one, so that a file that neither touched has the same inode and change time.
	Related bool
	Own     []string   // names of files and directories that are the clone's identity
	Traces  []string   // names of what its life left behind, which stays the clone's
	Take    clade.Side // whose files are taken that both changed
	Limit   int64      // bytes read at most, in all; 0: no limit
	Tell    clade.Progress
}

// A Plan is what Compare found, and what Apply is to do.
type Plan struct {
	Report  clade.Merge
	actions []action
	links   map[inode]string // files of the clone that have several names, and one of those that stays as it is
}

// An inode is a file of a tree, whatever its names.
type inode struct{ device, number uint64 }

func inodeOf(p place) inode { return inode{p.st.Dev, p.st.Ino} }

// An action makes one name in the new tree what it is in the clone's.
type action struct {
	path string
	do   deed
	text string // of a rewrite
}

type deed uint8

const (
	put     deed = iota // write it, with all below it
	remove              // take it away, with all below it
	dress               // give a directory its owner, mode and attributes
	rewrite             // give a file of the new tree other content
)

// A place is where something may lie in a tree.
type place struct {
	dir  *rootfs.Handle
	name string
	is   bool
	st   unix.Stat_t
}

func (p place) kind() uint32 {
	if !p.is {
		return 0
	}
	return p.st.Mode & unix.S_IFMT
}

func (p place) isDir() bool { return p.kind() == unix.S_IFDIR }

// look finds a name in a directory, which may be nil.
func look(dir *rootfs.Handle, name string) (place, error) {
	p := place{dir: dir, name: name}
	if dir == nil {
		return p, nil
	}
	st, err := dir.Lstat(name)
	if rootfs.Absent(err) {
		return p, nil
	}
	p.is, p.st = err == nil, st
	return p, err
}

// open opens a place that is a directory, and returns nil for any other.
func (p place) open() (*rootfs.Handle, error) {
	switch {
	case !p.isDir():
		return nil, nil
	case p.name == ".":
		return p.dir, nil
	}
	return p.dir.Dir(p.name)
}

// close closes what open returned.
func (p place) close(dir *rootfs.Handle) {
	if p.name != "." {
		dir.Close()
	}
}

// refuse is the error of a tree that cannot be merged.
func refuse(path string, kind clade.Kind, format string, args ...any) error {
	return &clade.Error{Op: "merge", On: shown(path), Kind: kind, Err: fmt.Errorf(format, args...)}
}

// limited says of an error at path which bound was met.
func limited(path string, err error) error {
	if errors.Is(err, rootfs.ErrLimit) {
		return refuse(path, clade.Unsupported, "more than %d entries in one directory", maxNames)
	}
	return err
}
