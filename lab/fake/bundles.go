package fake

import (
	"context"
	"encoding/json"
	"os"

	"github.com/clade-vm/clade"
)

// Export implements clade.Bundles: a bundle holds the template's or machine's name.
func (h *Home) Export(_ context.Context, source, file string, _ clade.Progress) (*clade.Carried, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &clade.Carried{Layers: 1, Moved: 1, Bytes: masterSize}
	ref, err := clade.ParseRef(source)
	if err != nil {
		return nil, err
	}
	if t, err := h.template(ref); err == nil {
		c.Template = t.Ref()
	} else if m, err := h.stopped("export", clade.Name(source)); err == nil {
		c.Machine = m.Name
	} else {
		return nil, err
	}
	if _, err := os.Stat(file); err == nil {
		return nil, fail("export", source+" to "+file, clade.Exists, "choose another name", "there is a file of this name")
	}
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return c, os.WriteFile(file, data, 0o600)
}

// Push implements clade.Bundles: a registry is a directory.
func (h *Home) Push(ctx context.Context, ref clade.Ref, name string, _ clade.RegistryOptions, p clade.Progress) (*clade.Carried, error) {
	return h.Export(ctx, ref.String(), name, p)
}

// Pull implements clade.Bundles.
func (h *Home) Pull(ctx context.Context, name string, as clade.Ref, _ clade.RegistryOptions, p clade.Progress) (*clade.Carried, error) {
	return h.ImportBundle(ctx, name, as, p)
}

// ImportBundle implements clade.Bundles.
func (h *Home) ImportBundle(ctx context.Context, file string, as clade.Ref, p clade.Progress) (*clade.Carried, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fail("import", "bundle "+file, clade.NotFound, "check the path", "no such file")
	}
	var c clade.Carried
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fail("import", "bundle "+file, clade.Invalid, "a bundle is what clade export writes", "not a bundle of clade")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Machine != "" {
		if as.Name != "" {
			c.Machine = as.Name
		}
		_, err := h.master(ctx, c.Machine, clade.Options{}, "bundle of machine "+string(c.Machine), p)
		return &c, err
	}
	if as.Name != "" {
		c.Template.Name = as.Name
	}
	if as.Version != "" {
		c.Template.Version = as.Version
	}
	if _, err := h.template(c.Template); err == nil {
		return nil, fail("create", "template "+c.Template.String(), clade.Exists, "leave out the version: clade counts", "the version is taken")
	}
	layer := h.addLayer("", "bundle "+file, masterSize)
	h.s.Guests[layer.ID] = &guest{Files: map[string]string{}}
	h.s.Templates = append(h.s.Templates, &clade.Template{Name: c.Template.Name, Version: c.Template.Version, Source: "bundle", Generalized: true,
		Attestation: json.RawMessage(`{}`), Disks: []clade.TemplateDisk{{Layer: layer.ID, Virtual: virtualSize}}, Created: epoch})
	return &c, nil
}
