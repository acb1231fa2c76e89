package host

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/clade-vm/clade"
	"golang.org/x/sys/unix"
)

// A ledger is what each thing in the home takes on the disk, as du counts it: the
// blocks of files and directories, and of a file with several names once.
type ledger struct {
	machines map[string]*pile // by id
	layers   map[string]*pile // by id
	building map[string]*pile // what lies in tmp, by name
	arrived  map[string]*pile // layers of imports that failed, by id
	rest     pile             // everything else, by path in the home
}

// A pile is what lies in one directory.
type pile struct {
	bytes clade.Bytes // of all of it, with directories
	files []item
}

// An item is one file. In a pile it is named by its path in the pile's directory.
type item struct {
	name  string
	bytes clade.Bytes
}

// has returns what the pile's file of that name takes; a nil pile has nothing.
func (p *pile) has(name string) clade.Bytes {
	if p != nil {
		for _, f := range p.files {
			if f.name == name {
				return f.bytes
			}
		}
	}
	return 0
}

func (p *pile) sum() clade.Bytes {
	if p == nil {
		return 0
	}
	return p.bytes
}

// measure walks the home. What vanishes meanwhile is not counted.
func (h *Host) measure() (*ledger, error) {
	l := &ledger{machines: map[string]*pile{}, layers: map[string]*pile{}, building: map[string]*pile{}, arrived: map[string]*pile{}}
	w := &walker{}
	err := w.each(unix.AT_FDCWD, h.Dir+"/.", "", &l.rest, func(dir int, name string) (err error) {
		switch name {
		case machinesDir:
			l.machines, err = w.piles(dir, name, &l.rest)
		case layersDir:
			l.layers, err = w.piles(dir, name, &l.rest)
		case tmpDir:
			l.building, err = w.piles(dir, name, &l.rest)
		case arrivedDir:
			l.arrived, err = w.piles(dir, name, &l.rest)
		default:
			err = w.all(dir, name, name, &l.rest)
		}
		return err
	})
	return l, err
}

// A walker adds up what lies in directories. It is safe for concurrent use.
type walker struct {
	seen sync.Map // files with several names that were counted, by device and inode
}

type inode struct{ device, number uint64 }

// piles measures each entry of a directory by itself, several at once; into gets the
// directory itself.
func (w *walker) piles(home int, dir string, into *pile) (map[string]*pile, error) {
	all := make(map[string]*pile)
	var ids []string
	fd, err := openDir(home, dir)
	if err != nil {
		return all, gone(err)
	}
	defer unix.Close(fd)
	err = w.each(home, dir, dir, into, func(_ int, name string) error {
		all[name] = &pile{}
		ids = append(ids, name)
		return nil
	})
	workers := min(runtime.GOMAXPROCS(0), len(ids)/64+1)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for at := i; at < len(ids) && errs[i] == nil; at += workers {
				errs[i] = w.all(fd, ids[at], "", all[ids[at]])
			}
		})
	}
	wg.Wait()
	return all, errors.Join(append(errs, err)...)
}

// all adds what is called base in the directory dir, and all below it, to p as name.
func (w *walker) all(dir int, base, name string, p *pile) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return gone(err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return w.each(dir, base, name, p, func(inside int, below string) error {
			return w.all(inside, below, filepath.Join(name, below), p)
		})
	}
	if st.Nlink > 1 {
		if _, counted := w.seen.LoadOrStore(inode{st.Dev, st.Ino}, true); counted {
			return nil
		}
	}
	p.add(name, &st)
	return nil
}

func (p *pile) add(name string, st *unix.Stat_t) {
	n := clade.Bytes(st.Blocks * 512)
	p.bytes += n
	p.files = append(p.files, item{name, n})
}

func openDir(dir int, base string) (int, error) {
	return unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// each adds a directory to p as name, and calls do for each entry.
func (w *walker) each(dir int, base, name string, p *pile, do func(dir int, name string) error) error {
	fd, err := openDir(dir, base)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	p.add(name+"/", &st)
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return gone(err)
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if err := do(fd, name); err != nil {
				return err
			}
		}
	}
}

// gone makes no error of what another command has removed meanwhile.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

// partOf says what a file beside machines and layers is, by its path in the home.
func partOf(path string) string {
	top, _, _ := strings.Cut(path, "/")
	switch {
	case strings.HasPrefix(top, databaseFile):
		return "database"
	case top == keysDir:
		return "keys"
	case top == "" || top == machinesDir || top == layersDir || top == tmpDir || top == arrivedDir:
		return "directories"
	case strings.HasSuffix(top, ".lock") || top == verifyFile:
		return "locks and notes"
	}
	return top
}

// partOfMachine says what a file of a machine is that is no head.
func partOfMachine(name string) string {
	switch {
	case name == seedFile:
		return "seeds"
	case name == nvramFile:
		return "NVRAM"
	case strings.HasPrefix(name, memoryPrefix):
		return "memories"
	case strings.Contains(name, ".log") || strings.HasPrefix(name, "events."):
		return "logs"
	}
	return "other files of machines"
}
