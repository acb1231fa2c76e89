package appliance

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"golang.org/x/sys/unix"
)

// A Kernel is a kernel made ready for the VM.
type Kernel struct {
	Image   string `json:"-"`       // the file QEMU boots
	Modules string `json:"-"`       // a cpio archive of the modules the VM may load
	Release string `json:"release"` // as uname -r says
	Source  string `json:"source"`  // where it was found, for people
}

// The files of a kernel in the cache. The numbers grow when what the files
// hold changes, so that older caches are made anew.
const (
	imageFile   = "kernel-1"
	modulesFile = "modules-3.cpio"
	sourceFile  = "source.json"
)

const missingKernel = "sudo apt-get install linux-image-cloud-amd64, or set CLADE_KERNEL to a readable kernel image"

// FindKernel finds a kernel for the VM and keeps it, with its modules, under
// dir/kernel. It tries the configured image, what it kept before, the host's own
// kernels, and at last the distribution's package, downloaded and unpacked
// without root. Kinds: Missing (with what to do), Invalid (a configured file that
// is no kernel), Denied. On failure nothing new remains in dir.
func FindKernel(ctx context.Context, dir, configured string, p clade.Progress) (*Kernel, error) {
	return finder{boot: "/boot", modules: "/lib/modules", dir: dir}.find(ctx, configured, p)
}

// A finder looks for kernels in the places it is given.
type finder struct {
	boot    string // where the host keeps its kernels
	modules string // and their modules
	dir     string // the cache
}

func (f finder) find(ctx context.Context, configured string, p clade.Progress) (*Kernel, error) {
	if configured != "" {
		return f.configured(ctx, configured)
	}
	if k := f.cached(); k != nil {
		return k, nil
	}
	unlock, err := lockFile(ctx, filepath.Join(f.dir, "kernel.lock"))
	if err != nil {
		return nil, &clade.Error{Op: "find", On: "a kernel", Kind: kindOf(err), Err: err}
	}
	defer unlock()
	if k := f.cached(); k != nil { // made while we waited
		return k, nil
	}
	f.sweep()
	k, locked := f.host()
	if k != nil {
		return k, nil
	}
	k, err = f.distribution(ctx, p)
	if err == nil || ctx.Err() != nil {
		return k, err
	}
	hint := missingKernel
	if locked != "" {
		hint = "sudo chmod +r " + locked
	}
	return nil, &clade.Error{Op: "find", On: "a kernel for the appliance", Kind: clade.Missing, Err: err, Hint: hint}
}

// configured prepares the image that the user named. The modules lie in the
// host's place or, as in an unpacked package, in ../lib/modules.
func (f finder) configured(ctx context.Context, image string) (*Kernel, error) {
	bad := func(kind clade.Kind, err error) (*Kernel, error) {
		return nil, &clade.Error{Op: "use", On: "kernel " + image, Kind: kind, Err: err, Hint: missingKernel}
	}
	st, err := os.Stat(image)
	if err != nil {
		return bad(kindOf(err), err)
	}
	release, err := kernelRelease(image)
	if err != nil {
		return bad(kindOf(err), err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", image, st.Size(), st.ModTime().UnixNano()))
	name := fmt.Sprintf("configured-%x", sum[:6])
	if k := load(filepath.Join(f.dir, "kernel", name)); k != nil {
		return k, nil
	}
	unlock, err := lockFile(ctx, filepath.Join(f.dir, "kernel.lock"))
	if err != nil {
		return bad(kindOf(err), err)
	}
	defer unlock()
	f.sweep()
	places := []string{filepath.Join(f.modules, release),
		filepath.Join(filepath.Dir(filepath.Dir(image)), "lib/modules", release)}
	for _, modules := range places {
		if _, err := os.Stat(modules); err == nil {
			k, err := f.prepare(name, image, modules, Kernel{Release: release, Source: image})
			if err != nil {
				return bad(kindOf(err), err)
			}
			return k, nil
		}
	}
	return bad(clade.Missing, fmt.Errorf("no modules of %s in %s", release, strings.Join(places, " or ")))
}

// cached returns the kernel kept last, or nil.
func (f finder) cached() *Kernel {
	entries, err := os.ReadDir(filepath.Join(f.dir, "kernel"))
	if err != nil {
		return nil
	}
	var best *Kernel
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "configured-") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		k := load(filepath.Join(f.dir, "kernel", e.Name()))
		if k != nil && (best == nil || newer(k.Release, best.Release)) {
			best = k
		}
	}
	return best
}

// load returns the kernel in a directory of the cache, or nil if it is not whole.
func load(dir string) *Kernel {
	text, err := os.ReadFile(filepath.Join(dir, sourceFile))
	if err != nil {
		return nil
	}
	k := &Kernel{Image: filepath.Join(dir, imageFile), Modules: filepath.Join(dir, modulesFile)}
	if json.Unmarshal(text, k) != nil {
		return nil
	}
	for _, path := range []string{k.Image, k.Modules} {
		if _, err := os.Stat(path); err != nil {
			return nil
		}
	}
	return k
}

// host prepares the newest of the host's kernels that can be read. Where none
// can, it returns one that could be if its permissions allowed it.
func (f finder) host() (*Kernel, string) {
	images, _ := filepath.Glob(filepath.Join(f.boot, "vmlinuz-*"))
	slices.SortFunc(images, func(a, b string) int {
		switch {
		case newer(a, b):
			return -1
		case newer(b, a):
			return 1
		}
		return 0
	})
	var locked string
	for _, image := range images {
		release, err := kernelRelease(image)
		if errors.Is(err, os.ErrPermission) {
			locked = cmp.Or(locked, image)
		}
		if err != nil {
			continue
		}
		k, err := f.prepare(release, image, filepath.Join(f.modules, release), Kernel{Release: release, Source: image})
		if err == nil {
			return k, ""
		}
	}
	return nil, locked
}

// sweep removes what a process that was killed has left half-made. The lock is
// held: nobody else is making anything.
func (f finder) sweep() {
	for _, pattern := range []string{".apt-*", "kernel/.new-*"} {
		left, _ := filepath.Glob(filepath.Join(f.dir, pattern))
		for _, path := range left {
			os.RemoveAll(path)
		}
	}
}

// prepare unpacks the image and archives the modules aside, then moves them to
// dir/kernel/name in one step, in place of an older one.
func (f finder) prepare(name, image, modules string, k Kernel) (*Kernel, error) {
	place := filepath.Join(f.dir, "kernel", name)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return nil, err
	}
	aside, err := os.MkdirTemp(filepath.Dir(place), ".new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(aside)
	if err := os.Chmod(aside, 0o755); err != nil {
		return nil, err
	}
	mods, err := resolve(modules)
	if err != nil {
		return nil, err
	}
	if err := writeModules(filepath.Join(aside, modulesFile), mods); err != nil {
		return nil, err
	}
	if kernel, err := unpackKernel(image); err == nil {
		err = os.WriteFile(filepath.Join(aside, imageFile), kernel, 0o644)
		if err != nil {
			return nil, err
		}
	} else if err := copyFile(filepath.Join(aside, imageFile), image); err != nil {
		return nil, err
	}
	text, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(aside, sourceFile), text, 0o644); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(place); err != nil { // left by another format
		return nil, err
	}
	if err := os.Rename(aside, place); err != nil {
		return nil, err
	}
	return load(place), nil
}

// kernelRelease reads the release out of a bzImage, as the boot protocol lays it.
func kernelRelease(image string) (string, error) {
	f, err := os.Open(image)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	notKernel := &clade.Error{Op: "read", On: image, Kind: clade.Invalid, Err: errors.New("not a Linux kernel image (bzImage)")}
	if len(head) < 0x210 || string(head[0x202:0x206]) != "HdrS" {
		return "", notKernel
	}
	at := int(binary.LittleEndian.Uint16(head[0x20e:])) + 0x200
	if at >= len(head) {
		return "", notKernel
	}
	text, _, _ := bytes.Cut(head[at:min(at+200, len(head))], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	if release == "" || strings.ContainsFunc(release, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }) {
		return "", notKernel
	}
	return release, nil
}

// newer compares two releases, numbers by value and the rest as text.
func newer(a, b string) bool {
	for a != "" && b != "" {
		x, y := run(a), run(b)
		if x != y {
			if digit(x[0]) && digit(y[0]) {
				x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
				if len(x) != len(y) {
					return len(x) > len(y)
				}
			}
			return x > y
		}
		a, b = a[len(x):], b[len(y):]
	}
	return len(a) > len(b)
}

// run returns the digits, or the other characters, that s begins with.
func run(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return r < 128 && digit(byte(r)) != digit(s[0]) })
	if i <= 0 {
		return s
	}
	return s[:i]
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// kindOf sorts an error of the operating system, or keeps the kind it has.
func kindOf(err error) clade.Kind {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return clade.NotFound
	case errors.Is(err, os.ErrPermission):
		return clade.Denied
	case errors.Is(err, unix.ENOSPC):
		return clade.NoSpace
	case errors.Is(err, context.DeadlineExceeded):
		return clade.Timeout
	}
	return clade.KindOf(err)
}
