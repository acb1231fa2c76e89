package appliance

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clade-vm/clade/appliance/guest"
	"golang.org/x/sys/unix"
)

// stale is how long an unused archive of another binary stays in the cache.
const stale = 24 * time.Hour

// writeModules archives modules and the index that tells what each one needs.
func writeModules(path string, mods []module) error {
	return writeArchive(path, func(a *archive) error {
		a.dir("modules")
		var index strings.Builder
		for _, m := range mods {
			fmt.Fprintln(&index, strings.Join(append([]string{m.name}, m.needs...), " "))
			a.file(guest.ModulePath(m.name)[1:], modeFile, int64(len(m.data)), bytes.NewReader(m.data))
		}
		a.file(guest.ModuleIndex[1:], modeFile, int64(index.Len()), strings.NewReader(index.String()))
		return a.close()
	})
}

// initramfs returns the archive QEMU loads: the kernel's modules and binary as
// /init. It is kept in dir by the facts of both, and made at most once for them.
func initramfs(ctx context.Context, dir string, k *Kernel, binary string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(binary, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: binary, Err: err}
	}
	facts := fmt.Sprintf("%s %d %d %d %d", k.Modules, st.Dev, st.Ino, st.Size, st.Mtim.Nano())
	var ms unix.Stat_t
	if err := unix.Stat(k.Modules, &ms); err == nil {
		facts += fmt.Sprintf(" %d %d", ms.Ino, ms.Mtim.Nano())
	}
	sum := sha256.Sum256([]byte(facts))
	place := filepath.Join(dir, fmt.Sprintf("initramfs-%x.cpio", sum[:8]))
	if fresh(place) {
		return place, nil
	}
	unlock, err := lockFile(ctx, filepath.Join(dir, "initramfs.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if fresh(place) {
		return place, nil
	}
	sweep(dir)
	return place, buildInitramfs(place, k.Modules, binary)
}

// fresh marks an archive as used now, if it is there.
func fresh(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// sweep removes archives that nobody used for long, and what a process that was
// killed has left half-made. The lock is held: nobody else is making one.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, ".initramfs-*"))
	for _, path := range left {
		os.Remove(path)
	}
	old, _ := filepath.Glob(filepath.Join(dir, "initramfs-*"))
	for _, path := range old {
		if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > stale {
			os.Remove(path)
		}
	}
}

func buildInitramfs(place, modules, binary string) error {
	loaded, err := static(binary)
	if err != nil {
		return err
	}
	in, err := os.Open(binary)
	if err != nil {
		return err
	}
	defer in.Close()
	mods, err := os.Open(modules)
	if err != nil {
		return err
	}
	defer mods.Close()
	return writeArchive(place, func(a *archive) error {
		if _, err := io.Copy(a.w, mods); err != nil { // its length is a multiple of four
			return err
		}
		for _, dir := range guest.Directories {
			a.dir(strings.TrimPrefix(dir, "/"))
		}
		a.file("init", modeExec, loaded, in)
		return a.close()
	})
}

// writeArchive makes an archive aside and moves it into place.
func writeArchive(place string, fill func(*archive) error) error {
	f, err := os.CreateTemp(filepath.Dir(place), ".initramfs-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriterSize(f, 1<<20)
	err = fill(&archive{w: w})
	err = errors.Join(err, w.Flush(), f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), place)
}
