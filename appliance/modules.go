package appliance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Needed are the modules without which the VM cannot serve; wanted ones widen
// what it can read. Either may be built into the kernel instead.
var (
	needed = []string{"virtio_mmio", "virtio_blk", "virtio_console", "ext4"}
	wanted = []string{"virtio_scsi", "sd_mod", "xfs", "btrfs", "vfat", "nls_cp437", "nls_ascii",
		"nls_iso8859_1", "nls_utf8", "dm_mod", "dm_snapshot", "loop"}
)

// Also names what a module asks of the kernel's crypto code by algorithm, which
// its list of dependencies does not tell.
var also = map[string][]string{
	"ext4":      {"crc32c_generic"},
	"libcrc32c": {"crc32c_generic"},
	"btrfs":     {"xxhash_generic", "blake2b_generic", "sha256_generic"},
}

const (
	maxModule  = 64 << 20 // bytes, unpacked
	maxModules = 500
)

// A module is one loadable part of a kernel.
type module struct {
	name  string
	needs []string // by name; what is built in is left out
	data  []byte   // ELF, unpacked
}

// resolve returns the needed and wanted modules of the tree at dir and all they
// depend on, each after what it needs. Dependencies are read from the modules
// themselves: an unpacked package has no modules.dep, which depmod makes later.
func resolve(dir string) ([]module, error) {
	files, err := moduleFiles(dir)
	if err != nil {
		return nil, err
	}
	builtin, err := builtins(dir)
	if err != nil {
		return nil, err
	}
	r := resolver{files: files, builtin: builtin, done: map[string]bool{}}
	for _, name := range needed {
		if err := r.add(name, true); err != nil {
			return nil, err
		}
	}
	for _, name := range wanted {
		if err := r.add(name, false); err != nil {
			return nil, err
		}
	}
	return r.order, nil
}

type resolver struct {
	files   map[string]string
	builtin map[string]bool
	done    map[string]bool
	order   []module
}

func (r *resolver) add(name string, must bool) error {
	if r.done[name] || r.builtin[name] {
		return nil
	}
	path, ok := r.files[name]
	if !ok {
		if must {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		return nil
	}
	if len(r.done) >= maxModules {
		return fmt.Errorf("more than %d modules", maxModules)
	}
	r.done[name] = true
	data, err := unpackModule(path)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	deps, err := dependencies(data)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	m := module{name: name, data: data}
	for i, dep := range slices.Concat(deps, also[name]) {
		if err := r.add(dep, i < len(deps)); err != nil {
			return err
		}
		if r.done[dep] {
			m.needs = append(m.needs, dep)
		}
	}
	r.order = append(r.order, m)
	return nil
}

// moduleFiles finds every module below dir, by its name with underscores.
func moduleFiles(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base, _, ok := strings.Cut(d.Name(), ".ko")
		if ok && d.Type().IsRegular() {
			files[strings.ReplaceAll(base, "-", "_")] = path
		}
		return nil
	})
	return files, err
}

// builtins reads the names of the modules that are part of the kernel image.
func builtins(dir string) (map[string]bool, error) {
	f, err := os.Open(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		base, _, _ := strings.Cut(filepath.Base(lines.Text()), ".ko")
		names[strings.ReplaceAll(base, "-", "_")] = true
	}
	return names, lines.Err()
}

// dependencies reads what a module says it depends on.
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	info := f.Section(".modinfo")
	if info == nil {
		return nil, fmt.Errorf("not a kernel module")
	}
	text, err := info.Data()
	if err != nil {
		return nil, err
	}
	for entry := range strings.SplitSeq(string(text), "\x00") {
		list, ok := strings.CutPrefix(entry, "depends=")
		if ok && list != "" {
			return strings.Split(strings.ReplaceAll(list, "-", "_"), ","), nil
		}
	}
	return nil, nil
}

// unpackModule reads a module, compressed or not.
func unpackModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".xz":
		r, err = xz.NewReader(bufio.NewReader(f))
	case ".gz":
		r, err = gzip.NewReader(bufio.NewReader(f))
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(f, zstd.WithDecoderConcurrency(1)); err == nil {
			defer z.Close()
			r = z
		}
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if len(data) > maxModule {
		return nil, fmt.Errorf("larger than %d bytes", maxModule)
	}
	return data, err
}
