package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// deed does to files what a guest would: words are plain, names have no spaces but
// for \x20 and other escapes of Go.
func deed(words []string) error {
	for i, w := range words {
		if text, err := strconv.Unquote(`"` + w + `"`); err == nil {
			words[i] = text
		}
	}
	n := func(i, base int) int {
		v, _ := strconv.ParseInt(words[i], base, 64)
		return int(v)
	}
	name := words[1]
	switch words[0] {
	case "clock":
		return unix.Settimeofday(&unix.Timeval{Sec: int64(n(1, 10))})
	case "write":
		return errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(strings.Join(words[2:], " ")), 0o644))
	case "mkdir":
		return os.MkdirAll(name, 0o755)
	case "remove":
		return os.RemoveAll(name)
	case "link":
		return os.Link(name, words[2])
	case "symlink":
		return os.Symlink(name, words[2])
	case "xattr":
		return unix.Lsetxattr(name, words[2], []byte(words[3]), 0)
	case "own":
		return os.Lchown(name, n(2, 10), n(3, 10))
	case "mode":
		return unix.Chmod(name, uint32(n(2, 8)))
	case "node":
		kind := map[string]uint32{"b": unix.S_IFBLK, "c": unix.S_IFCHR, "p": unix.S_IFIFO, "s": unix.S_IFSOCK}[words[2]]
		return unix.Mknod(name, kind|0o640, int(unix.Mkdev(uint32(n(3, 10)), uint32(n(4, 10)))))
	case "sparse":
		return sparse(name, int64(n(2, 10)))
	case "many":
		for i := range n(2, 10) {
			if err := os.WriteFile(fmt.Sprintf("%s/n%d", name, i), nil, 0o644); err != nil {
				return err
			}
		}
		return nil
	case "flags":
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, n(2, 16))
	case "run":
		return run(words[1:])
	case "seal":
		return seal(name, n(2, 10))
	case "try":
		return try(name)
	case "flip":
		return flip(name, words[2])
	case "list":
		return list(name)
	}
	return errors.New("unknown")
}

// sparse makes a file with a word at its end.
func sparse(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("end"), size-3)
	return errors.Join(err, f.Close())
}

// list prints what lies below a directory, in a line each.
func list(dir string) error {
	first := map[uint64]string{}
	return filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(at, &st); err != nil {
			return err
		}
		what := ""
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			text, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			what = fmt.Sprintf(" %d bytes %x", len(text), sha256.Sum256(text))[:36]
			if int64(len(text)) > 512*st.Blocks+1<<20 {
				what += " sparse"
			}
			if st.Nlink > 1 {
				if first[st.Ino] == "" {
					first[st.Ino] = at
				}
				what += " is " + first[st.Ino]
			}
		case syscall.S_IFLNK:
			target, err := os.Readlink(at)
			if err != nil {
				return err
			}
			what = " -> " + target
		case syscall.S_IFBLK, syscall.S_IFCHR:
			what = fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		fmt.Printf("at %q %o %d:%d%s%s\n", at, st.Mode, st.Uid, st.Gid, what, attributes(at, &st))
		return nil
	})
}

// attributes says which a file has, and its flags.
func attributes(at string, st *syscall.Stat_t) (all string) {
	list := make([]byte, 4096)
	n, _ := unix.Llistxattr(at, list)
	keys := strings.Split(strings.TrimRight(string(list[:max(n, 0)]), "\x00"), "\x00")
	slices.Sort(keys)
	for _, key := range keys {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(at, key, value); err == nil {
			all += fmt.Sprintf(" %s=%q", key, value[:n])
		}
	}
	if kind := st.Mode & syscall.S_IFMT; kind == syscall.S_IFREG || kind == syscall.S_IFDIR {
		if f, err := os.Open(at); err == nil {
			defer f.Close()
			if flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil && flags&0x30 != 0 {
				all += fmt.Sprintf(" flags %x", flags&0x30)
			}
		}
	}
	return all
}
