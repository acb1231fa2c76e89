package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/recipe"
	"github.com/clade-vm/clade/store"
	"golang.org/x/sys/unix"
)

// Create makes a machine from a disk image file, whose format is detected.
func (h *Host) Create(ctx context.Context, spec clade.CreateSpec, p clade.Progress) (*clade.Machine, error) {
	return h.Import(ctx, clade.ImportSpec{Name: spec.Name, From: spec.Disk, Options: spec.Options}, p)
}

// Import makes a machine from an image file or URL. The image is copied; nothing
// of it is trusted, and nothing it refers to is read. Kinds: NotFound, Exists,
// Invalid (no image), Corrupt, Unsupported, NoSpace.
func (h *Host) Import(ctx context.Context, spec clade.ImportSpec, p clade.Progress) (*clade.Machine, error) {
	format, err := image.ParseFormat(spec.Format)
	if err != nil {
		return nil, retitle("import", err)
	}
	return h.fromDisk(ctx, spec.Name, spec.Options, "image "+filepath.Base(spec.From), "", func(op *operation, head string) (clade.Bytes, error) {
		src := image.Source{File: spec.From, Format: format, SHA256: spec.SHA256, Temp: op.dir}
		if strings.HasPrefix(spec.From, "http://") || strings.HasPrefix(spec.From, "https://") {
			src.File, src.URL = "", spec.From
		}
		return image.Import(ctx, src, head, p)
	})
}

// Build makes a machine from a recipe. The built disk is kept in the cache, by
// the recipe's digest, and copied from there. Kinds: NotFound, Invalid (the
// recipe), Exists, Missing (a tool), NoSpace.
func (h *Host) Build(ctx context.Context, spec clade.BuildSpec, p clade.Progress) (*clade.Machine, error) {
	r, err := loadRecipe(spec.Recipe)
	if err != nil {
		return nil, err
	}
	if spec.Size != 0 {
		r.Size = spec.Size
	}
	name := first(spec.Name, r.Name)
	return h.fromDisk(ctx, name, spec.Options, "recipe "+string(r.Name), r.User, func(_ *operation, head string) (clade.Bytes, error) {
		master, err := h.master(ctx, r, p)
		if err != nil {
			return 0, err
		}
		p.Tell(clade.Event{Step: "copy the master to machine " + string(name)})
		if _, err := image.Copy(ctx, master, head, p); err != nil {
			return 0, err
		}
		info, err := qcow2.InspectFile(head)
		if err != nil {
			return 0, err
		}
		return info.Virtual, nil
	})
}

// loadRecipe finds a built-in recipe by name or reads a YAML file.
func loadRecipe(name string) (*recipe.Recipe, error) {
	if filepath.Ext(name) != ".yaml" && filepath.Ext(name) != ".yml" {
		return recipe.Builtin(name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError("read", "recipe "+name, err)
	}
	return recipe.Parse(data)
}

// master returns the path of the recipe's built disk and builds it if it is not
// in the cache. Of two commands that want the same, one builds and one waits.
func (h *Host) master(ctx context.Context, r *recipe.Recipe, p clade.Progress) (string, error) {
	dir := filepath.Join(h.Cache, mastersDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, string(r.Name)+"-"+r.Digest()[:16]+qcow2Ext)
	if exists(path) {
		return path, nil
	}
	p.Tell(clade.Event{Step: "build " + string(r.Name)})
	f, err := lock(ctx, path+".lock", unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if exists(path) {
		return path, nil
	}
	aside := path + ".part"
	if err := os.RemoveAll(aside); err != nil {
		return "", err
	}
	err = h.BuildDisk(ctx, r, aside, p)
	if err == nil {
		err = syncDir(aside) // a file is synced like a directory; half a master must not stay in the cache
	}
	if err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(aside))
	}
	return path, nil
}

// fromDisk makes a machine whose one disk is filled by fill and rests on nothing.
func (h *Host) fromDisk(ctx context.Context, name clade.Name, o clade.Options, source, user string, fill func(*operation, string) (clade.Bytes, error)) (*clade.Machine, error) {
	b := birth{name: name, options: o, source: source, user: user}
	return h.fromDisks(ctx, b, func(op *operation, dir string) ([]clade.Bytes, error) {
		virtual, err := fill(op, filepath.Join(dir, headName(0, 0)))
		return []clade.Bytes{virtual}, err
	})
}

// A birth is what a machine is made with that is no clone.
type birth struct {
	name         clade.Name
	options      clade.Options
	hardware     clade.Hardware // where the options leave it open
	source, user string
}

// fromDisks makes a machine whose disks rest on nothing. fill makes its heads in a
// directory, by slot, and returns their sizes.
func (h *Host) fromDisks(ctx context.Context, b birth, fill func(op *operation, dir string) ([]clade.Bytes, error)) (*clade.Machine, error) {
	on := "machine " + string(b.name)
	if err := h.checkBirth(ctx, b); err != nil {
		return nil, err
	}
	if err := h.restore(ctx); err != nil {
		return nil, err
	}
	op, err := h.begin(ctx, "create")
	if err != nil {
		return nil, err
	}
	defer op.end()
	m := draft(b.name, b.options, b.hardware, b.user)
	m.Source = b.source
	dir := filepath.Join(op.dir, m.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fileError("create", on, err)
	}
	sizes, err := fill(op, dir)
	if err != nil {
		return nil, fileError("create", on, err)
	}
	h.did("create: heads filled")
	for slot, virtual := range sizes {
		m.Disks, m.Heads = append(m.Disks, clade.Disk{Slot: slot, Virtual: virtual}), append(m.Heads, headName(slot, 0))
	}
	if err := addDataDisks(dir, m, b.options.DataDisks); err != nil {
		return nil, fileError("create", on, err)
	}
	if err := h.placeMachines(ctx, op, nil, []*store.Machine{m}, nil); err != nil {
		return nil, fileError("create", on, err)
	}
	return shown(h.Machine(ctx, b.name))
}

// checkBirth refuses what could not become a machine before work is done for it.
func (h *Host) checkBirth(ctx context.Context, b birth) error {
	if err := checkOptions(b.options, []clade.Name{b.name}); err != nil {
		return err
	}
	if err := h.checkNetwork(ctx, b.options.Network); err != nil {
		return retitle("create", err)
	}
	return h.checkNames(ctx, []clade.Name{b.name})
}
