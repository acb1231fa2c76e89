package cli

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// importFlags are those of import.
type importFlags struct {
	options optionFlags
	name    string
	format  string
	sum     string
	as      string
	trust   bool
	dryRun  bool
	asJSON  bool
}

func (a *app) importVerb() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [NAME] FILE|URL",
		Short: "Make a machine from a disk image or another hypervisor's, or take in a bundle",
		Long: `Import makes a machine of a disk image (qcow2, raw, vmdk, vdi, vhdx or vhd) under a NAME, or of
another hypervisor's machine: an OVA or OVF of VirtualBox or VMware, or libvirt's XML as virsh
dumpxml prints it. The latter keeps its hardware and all its disks, and its name unless it is
given one. None of it is trusted: what refers to other files is refused, and so is what is not
what it says it is. Checksums that come with it are proven.

A file that is none of these by its name is a bundle, which clade export wrote: layers that are
here already are not read again, every other one is proven by its digest, and one that arrived
in a try that failed is not read twice. That a template is generalized is proven here, by reading
its marks once, unless you --trust who made it.

Every machine gets a new identity outside; inside it is who it was.`,
		Example: `  clade import master ./debian-12.qcow2
  clade import master https://example.org/debian-12.qcow2 --sha256 9f86d0...
  clade import old ./old.img --format raw --firmware uefi
  clade import box.ova --dry-run
  clade import box.ova --name web-9
  clade import /etc/libvirt/qemu/db.xml
  clade import debian-12.clade --as debian-12:2`,
		Args:              takes(1, 2, "a NAME and a FILE or URL, or a FILE that says its name itself"),
		ValidArgsFunction: fileSecond,
	}
	f.add(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file := args[len(args)-1]
		if len(args) == 2 {
			if f.name != "" {
				return usage(cmd, "it has two names, %.40q and %.40q", args[0], f.name)
			}
			f.name = args[0]
		}
		switch {
		case f.dryRun && !f.foreign(file):
			return usage(cmd, "--dry-run goes with another hypervisor's machine: an OVA, an OVF or libvirt's XML")
		case f.foreign(file):
			return a.importForeign(cmd, file, f)
		case f.name != "":
			return a.importImage(cmd, file, f)
		}
		return a.importBundle(cmd, file, f)
	}
	return cmd
}

func (f *importFlags) add(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "the machine's name")
	flags.StringVar(&f.format, "format", "", "qcow2, raw, vmdk, vdi, vhdx or vhd; ova, ovf or libvirt (default: detected)")
	flags.StringVar(&f.sum, "sha256", "", "refuse the image unless its SHA-256 is this")
	flags.StringVar(&f.as, "as", "", "another name for what a bundle holds: NAME[:VERSION] or NAME")
	flags.BoolVar(&f.trust, "trust", false, "take a bundle's word that its template is generalized")
	complete(cmd, "format", cobra.FixedCompletions([]string{"qcow2", "raw", "vmdk", "vdi", "vhdx", "vhd", "ova", "ovf", "libvirt"}, cobra.ShellCompDirectiveNoFileComp))
	f.options.add(a, cmd)
	f.options.addFirmware(cmd)
	flags.BoolVar(&f.dryRun, "dry-run", false, "of another hypervisor's machine: only show what would be made")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
}

// foreign says whether a file describes another hypervisor's machine.
func (f *importFlags) foreign(file string) bool {
	if f.format != "" {
		return slices.Contains([]string{"ova", "ovf", "libvirt"}, f.format)
	}
	return slices.Contains([]string{".ova", ".ovf", ".xml"}, strings.ToLower(filepath.Ext(file)))
}

// arrival is how a bundle is taken in.
func (f *importFlags) arrival() (arrival clade.Arrival, err error) {
	arrival.Trust = f.trust
	if f.as != "" {
		arrival.As, err = clade.ParseRef(f.as)
	}
	return arrival, err
}

// spec is what the flags ask for, of all but bundles.
func (f *importFlags) spec(cmd *cobra.Command, file string) (spec clade.ImportSpec, err error) {
	if f.as != "" || f.trust {
		return spec, usage(cmd, "--as and --trust go with a bundle")
	}
	spec = clade.ImportSpec{From: file, Format: f.format, SHA256: f.sum, DryRun: f.dryRun}
	if f.name != "" {
		if spec.Name, err = clade.ParseName(f.name); err != nil {
			return spec, err
		}
	}
	spec.Options, err = f.options.options(cmd)
	return spec, err
}

// importing opens the home for what the flags ask for.
func (a *app) importing(cmd *cobra.Command, file string, f importFlags) (clade.Services, clade.ImportSpec, error) {
	spec, err := f.spec(cmd, file)
	if err != nil {
		return nil, spec, err
	}
	s, err := a.open(cmd.Context())
	return s, spec, err
}

func (a *app) importImage(cmd *cobra.Command, file string, f importFlags) error {
	s, spec, err := a.importing(cmd, file, f)
	if err != nil {
		return err
	}
	m, err := s.Import(cmd.Context(), spec, a.progress())
	if err != nil {
		return err
	}
	return a.printMade([]*clade.Machine{m}, f.asJSON)
}

func (a *app) importForeign(cmd *cobra.Command, file string, f importFlags) error {
	if f.sum != "" {
		return usage(cmd, "--sha256 goes with a disk image; an OVA brings its checksums")
	}
	s, spec, err := a.importing(cmd, file, f)
	if err != nil {
		return err
	}
	made, err := s.ImportForeign(cmd.Context(), spec, a.progress())
	if err != nil {
		return err
	}
	if f.asJSON {
		return a.printJSON(made)
	}
	a.sayNotes(made.Notes)
	if f.dryRun {
		return a.printTable(foreseen(made))
	}
	return a.print("%s", made.Machine.Name)
}

// foreseen is what an import would make, as a table of two columns.
func foreseen(f *clade.Foreign) *table {
	t, m := &table{}, f.Machine
	t.row("machine", string(m.Name))
	t.row("source", m.Source)
	t.row("hardware", hardware(m.Hardware))
	for i, d := range m.Disks {
		size, from := "as large as its file says", "blank"
		if d.Virtual > 0 {
			size = d.Virtual.String()
		}
		if o := f.From[i]; o.File != "" {
			from = fmt.Sprintf("from %s, %v%s", o.File, o.Bytes, format(o))
		}
		t.row(fmt.Sprintf("disk %d", d.Slot), size+", "+from)
	}
	t.row("network", m.Network)
	t.row("hostname", string(m.Identity.Hostname))
	t.row("address", cmp.Or(address(m), "given when it is made, as UUID and MAC are"))
	return t
}

func format(o clade.Origin) string {
	if o.Format == "" {
		return ""
	}
	return " of " + o.Format
}

// fileSecond offers files for each argument: the first may be a new name.
func fileSecond(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) < 2 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
