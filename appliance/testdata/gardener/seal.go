package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/clade-vm/clade/image"
	"golang.org/x/sys/unix"
)

// seal makes a file immutable as clade does, by the hand of a user, and prints what the
// kernel measured of it.
func seal(name string, user int) error {
	defer runtime.UnlockOSThread()
	runtime.LockOSThread()
	defer func() { _ = unix.Setfsuid(0) }()
	if err := unix.Setfsuid(user); err != nil { // without root's right to write everywhere
		return err
	}
	if err := image.Seal(name); err != nil {
		return err
	}
	verity, err := image.Verity(name)
	if err != nil {
		return err
	}
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	fmt.Printf("sealed %s %o %q\n", name, st.Mode().Perm(), verity)
	return nil
}

// try prints what comes of opening a file for writing, and of reading it.
func try(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	text, unread := os.ReadFile(name)
	fmt.Printf("tried %s write: %v, read: %q, %v\n", name, errors.Unwrap(err), text, errors.Unwrap(unread))
	return nil
}

// flip turns a bit in each place of a disk that holds a text.
func flip(number, text string) error {
	device, err := disk(number)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	buf, found := make([]byte, 1<<20), 0
	for at := int64(0); ; at += int64(len(buf)) {
		n, err := f.ReadAt(buf, at)
		for from := 0; ; {
			i := bytes.Index(buf[from:n], []byte(text))
			if i < 0 {
				break
			}
			from += i
			if _, err := f.WriteAt([]byte{buf[from] ^ 1}, at+int64(from)); err != nil {
				return err
			}
			from++
			found++
		}
		if err != nil {
			fmt.Printf("flipped %d of %s\n", found, strings.Fields(text)[0])
			return f.Sync()
		}
	}
}
