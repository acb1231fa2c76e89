package fake

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
)

// Export implements clade.Bundles: a file holds the template's or machine's name.
func (h *Home) Export(_ context.Context, spec clade.ExportSpec, _ clade.Progress) (*clade.Carried, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &clade.Carried{Bytes: masterSize}
	ref, err := clade.ParseRef(spec.Source)
	if err != nil {
		return nil, err
	}
	generalized := false
	if t, err := h.template(ref); err == nil {
		c.Template, generalized = t.Ref(), t.Generalized
	} else if m, err := h.stopped("export", clade.Name(spec.Source)); err == nil {
		c.Machine = m.Name
	} else {
		return nil, err
	}
	bundle := spec.Format == "" && !slices.Contains([]string{".ova", ".qcow2", ".raw", ".vmdk"}, filepath.Ext(spec.File)) || spec.Format == clade.FormatBundle
	if bundle {
		c.Layers, c.Moved = 1, 1
	}
	if !generalized {
		if !bundle && len(spec.AcceptTwins) == 0 {
			return nil, fail("export", spec.Source, clade.Unproven, "generalize it first, or --accept-twins all", "it is not generalized")
		}
		c.Notes = []string{"it is not generalized, and takes along who it is inside"}
	}
	if _, err := os.Stat(spec.File); err == nil {
		return nil, fail("export", spec.Source+" to "+spec.File, clade.Exists, "choose another name", "there is a file of this name")
	}
	data, err := json.Marshal(c)
	if err != nil || spec.DryRun {
		return c, err
	}
	return c, os.WriteFile(spec.File, data, 0o600)
}

// Push implements clade.Bundles: a registry is a directory.
func (h *Home) Push(ctx context.Context, ref clade.Ref, name string, _ clade.RegistryOptions, p clade.Progress) (*clade.Carried, error) {
	return h.Export(ctx, clade.ExportSpec{Source: ref.String(), File: name, Format: clade.FormatBundle}, p)
}

// Pull implements clade.Bundles.
func (h *Home) Pull(ctx context.Context, name string, a clade.Arrival, _ clade.RegistryOptions, p clade.Progress) (*clade.Carried, error) {
	return h.ImportBundle(ctx, name, a, p)
}

// ImportBundle implements clade.Bundles.
func (h *Home) ImportBundle(ctx context.Context, file string, a clade.Arrival, p clade.Progress) (*clade.Carried, error) {
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
		if a.As.Name != "" {
			c.Machine = a.As.Name
		}
		_, err := h.master(ctx, c.Machine, clade.Options{}, "bundle of machine "+string(c.Machine), p)
		return &c, err
	}
	if a.As.Name != "" {
		c.Template.Name = a.As.Name
	}
	if a.As.Version != "" {
		c.Template.Version = a.As.Version
	}
	if _, err := h.template(c.Template); err == nil {
		return nil, fail("create", "template "+c.Template.String(), clade.Exists, "leave out the version: clade counts", "the version is taken")
	}
	layer := h.addLayer("", "bundle "+file, masterSize)
	h.s.Guests[layer.ID] = &guest{Files: map[string]string{}}
	t := &clade.Template{Name: c.Template.Name, Version: c.Template.Version, Source: "bundle", Generalized: true,
		Attestation: json.RawMessage(`{}`), Disks: []clade.TemplateDisk{{Layer: layer.ID, Virtual: virtualSize}}, Created: epoch}
	if a.Trust {
		t.Believed = "bundle " + filepath.Base(file)
	}
	h.s.Templates = append(h.s.Templates, t)
	return &c, nil
}

// ImportForeign implements clade.Bundles: a description is a file that names its
// machine and the processors it has.
func (h *Home) ImportForeign(ctx context.Context, spec clade.ImportSpec, p clade.Progress) (*clade.Foreign, error) {
	data, err := os.ReadFile(spec.From)
	if err != nil {
		return nil, fail("import", spec.From, clade.NotFound, "check the path", "no such file")
	}
	words := strings.Fields(string(data))
	if len(words) == 0 || words[0] == "<pool>" {
		return nil, fail("import", spec.From, clade.Invalid, "virsh dumpxml NAME writes one", "it is neither a libvirt domain nor an OVF description")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if spec.Name == "" {
		spec.Name = clade.Name(words[0])
	}
	if spec.DryRun {
		if _, taken := h.s.Machines[spec.Name]; taken {
			return nil, fail("import", "machine "+string(spec.Name), clade.Exists, "choose another name", "the name is taken")
		}
		m := &clade.Machine{Name: spec.Name, Source: "machine " + words[0] + " in " + filepath.Base(spec.From), State: clade.Stopped, Network: "default",
			Hardware: clade.Hardware{CPUs: 1, Memory: clade.GiB, Firmware: clade.BIOS}, Identity: clade.Identity{Hostname: spec.Name}, Disks: []clade.Disk{{Virtual: 10 * clade.GiB}}}
		return &clade.Foreign{Machine: m, From: []clade.Origin{{File: words[0] + "-disk0.vmdk", Format: "vmdk", Bytes: clade.GiB}}, Notes: []string{"its TPM is not taken"}}, nil
	}
	m, err := h.master(ctx, spec.Name, spec.Options, "machine "+words[0]+" in "+filepath.Base(spec.From), p)
	return &clade.Foreign{Machine: m, Notes: []string{"its TPM is not taken"}}, err
}
