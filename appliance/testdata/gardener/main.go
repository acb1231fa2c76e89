// Command gardener is an init that lays out a guest's disks with the kernel's own
// file systems, as a script says, and switches itself off: tests cannot mount.
//
// The last disk is a tar archive: first the script, then the files to plant. A
// line of the script is one of
//
//	mount KIND DISK DIR [OPTIONS]  DISK is the number of a disk of the VM
//	subvolume DIR                  of btrfs
//	default DIR                    make it the default subvolume
//	plant PREFIX DIR               unpack the files below PREFIX in DIR
//	sync
//	fsync FILE
//	unmount DIR
//	clock SECONDS                  since 1970
//	...                            the deeds of deeds.go
//	run DIR PROGRAM ARGUMENTS      there, as user 1000; /bin/sleep sleeps
//	list DIR                       print what lies there, as the kernel says
//	die                            end at once: what is mounted stays so
package main

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"github.com/clade-vm/clade/appliance/guest"
	"golang.org/x/sys/unix"
)

func main() {
	if !guest.Boots() {
		time.Sleep(time.Hour) // it is the sleep of what it runs
		return
	}
	if err := work(); err != nil {
		fmt.Printf("gardener: %v\n", err)
	} else {
		fmt.Println("gardener: done")
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func work() error {
	for dir, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"} {
		if err := unix.Mount(kind, dir, kind, 0, ""); err != nil && err != unix.EBUSY {
			return err
		}
	}
	index, err := os.ReadFile(guest.ModuleIndex)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(index)) {
		if err := load(strings.Fields(line)[0]); err != nil {
			return err
		}
	}
	g, err := unpack()
	if err != nil {
		return err
	}
	for line := range strings.Lines(g.script) {
		if err := g.do(strings.Fields(line)); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
	}
	return nil
}

func load(name string) error {
	f, err := os.Open(guest.ModulePath(name))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return fmt.Errorf("load %s: %w", name, err)
	}
	return nil
}

// disk returns the device of a disk by its number.
func disk(number string) (string, error) {
	names, _ := filepath.Glob("/sys/block/*/serial")
	for _, name := range names {
		if text, _ := os.ReadFile(name); strings.TrimSpace(string(text)) == "clade-"+number {
			return "/dev/" + filepath.Base(filepath.Dir(name)), nil
		}
	}
	return "", fmt.Errorf("no disk %s", number)
}

type gardener struct {
	script string
	files  []*tar.Header
	text   [][]byte
}

func unpack() (*gardener, error) {
	names, _ := filepath.Glob("/sys/block/vd*")
	device, err := disk(fmt.Sprint(len(names) - 1))
	if err != nil {
		return nil, err
	}
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g := &gardener{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return g, nil
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if h.Name == "script" {
			g.script = string(text)
			continue
		}
		g.files, g.text = append(g.files, h), append(g.text, text)
	}
}

func (g *gardener) do(words []string) error {
	if len(words) == 0 {
		return nil
	}
	switch words[0] {
	case "mount":
		device, err := disk(words[2])
		if err != nil {
			return err
		}
		if err := os.MkdirAll(words[3], 0o755); err != nil {
			return err
		}
		return unix.Mount(device, words[3], words[1], 0, strings.Join(words[4:], ","))
	case "subvolume":
		return subvolume(words[1])
	case "default":
		return setDefault(words[1])
	case "plant":
		return g.plant(words[1], words[2])
	case "sync":
		unix.Sync()
		return nil
	case "fsync":
		f, err := os.Open(words[1])
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	case "unmount":
		return unix.Unmount(words[1], 0)
	case "die":
		fmt.Println("gardener: done")
		return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	return deed(words)
}

func (g *gardener) plant(prefix, dir string) error {
	for i, h := range g.files {
		name, ok := strings.CutPrefix(h.Name, prefix+"/")
		if !ok || name == "" {
			continue
		}
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch {
		case err != nil:
		case h.Typeflag == tar.TypeDir:
			err = os.MkdirAll(at, 0o755)
		case h.Typeflag == tar.TypeSymlink:
			err = os.Symlink(h.Linkname, at)
		case h.Typeflag == tar.TypeFifo:
			err = unix.Mkfifo(at, 0o600)
		default:
			err = os.WriteFile(at, g.text[i], fs.FileMode(h.Mode).Perm())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// The requests of btrfs.
const (
	subvolCreate  = 0x5000940e
	defaultSubvol = 0x40089413
	inoLookup     = 0xd0009412
)

func request(dir string, number uint, args []byte) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(number), uintptr(unsafe.Pointer(&args[0]))); errno != 0 {
		return errno
	}
	return nil
}

func subvolume(dir string) error {
	args := make([]byte, 4096)
	copy(args[8:], filepath.Base(dir))
	return request(filepath.Dir(dir), subvolCreate, args)
}

// setDefault asks for the number of the subvolume, which is that of the tree of its
// first directory.
func setDefault(dir string) error {
	const first = 256
	args := make([]byte, 4096)
	binary.NativeEndian.PutUint64(args[8:], first)
	if err := request(dir, inoLookup, args); err != nil {
		return err
	}
	return request(dir, defaultSubvol, bytes.Clone(args[:8]))
}
