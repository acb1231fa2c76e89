package cli

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/spf13/cobra"
)

func (a *app) generalizeVerb() *cobra.Command {
	var spec clade.GeneralizeSpec
	var as string
	var list bool
	cmd := &cobra.Command{
		Use:   "generalize MACHINE | --image FILE | --layer ID",
		Short: "Erase what twins must not share, and prove it",
		Long: `Generalize erases the marks of a stopped machine (machine-id, host keys, leases,
histories and many more), reads the disks again, and fails if one is left. A machine
makes what it needs anew at its next start.

With --image it works on a copy of a qcow2 or raw file, --out, or, when all is proven,
puts the copy in the file's place (--in-place). With --layer it makes an overlay of a
layer, and a template of that (--as).

With --dry-run it only says what was found and what would be done; with --list, which
marks there are. A machine that runs is refused: a template can be made of it as it
runs, and keeps its identity out.`,
		Example: `  clade generalize --list
  clade generalize web-1 --dry-run
  clade generalize --image disk.qcow2 --out clean.qcow2
  clade generalize --image disk.qcow2 --in-place --enable ssh-authorized-keys
  clade generalize --layer gdndea7g4e --as debian-12:2`,
		Args:              takes(0, 1, "MACHINE"),
		ValidArgsFunction: a.completeMachine,
	}
	flags := cmd.Flags()
	flags.StringVar(&spec.Image, "image", "", "an image file, qcow2 or raw")
	flags.StringVar(&spec.Out, "out", "", "the file for the generalized copy of --image")
	flags.BoolVar(&spec.InPlace, "in-place", false, "put the generalized copy in the place of --image")
	flags.StringVar(&spec.Layer, "layer", "", "a layer's id, as clade tree shows it")
	flags.StringVar(&as, "as", "", "the template (NAME[:VERSION]) that is made of --layer")
	flags.BoolVar(&spec.DryRun, "dry-run", false, "only say what was found and what would be done")
	flags.BoolVar(&list, "list", false, "list the marks")
	marksFlags(cmd, &spec.Marks)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if list {
			return a.printMarks(*asJSON)
		}
		if err := generalizeSpec(cmd, args, as, &spec); err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		g, err := s.Generalize(cmd.Context(), spec, a.progress())
		if err != nil {
			return err
		}
		return a.printGeneralization(g, *asJSON)
	}
	return cmd
}

// generalizeSpec completes spec from the command line, and refuses what does not
// go together.
func generalizeSpec(cmd *cobra.Command, args []string, as string, spec *clade.GeneralizeSpec) (err error) {
	targets := len(args)
	for _, s := range []string{spec.Image, spec.Layer} {
		if s != "" {
			targets++
		}
	}
	switch {
	case targets != 1:
		return usage(cmd, "give one of MACHINE, --image and --layer")
	case spec.Image == "" && (spec.Out != "" || spec.InPlace):
		return usage(cmd, "--out and --in-place go with --image")
	case spec.Image != "" && !spec.DryRun && spec.InPlace == (spec.Out != ""):
		return usage(cmd, "give --out FILE for a copy, or --in-place")
	case (spec.Layer != "" && !spec.DryRun) != (as != ""):
		return usage(cmd, "--layer and --as go together")
	}
	if as != "" {
		if spec.As, err = clade.ParseRef(as); err != nil {
			return err
		}
	}
	if len(args) > 0 {
		spec.Machine, err = clade.ParseName(args[0])
	}
	return err
}

// marksFlags adds the flags that choose marks.
func marksFlags(cmd *cobra.Command, m *clade.Marks) {
	flags := cmd.Flags()
	flags.StringSliceVar(&m.Enable, "enable", nil, "marks to erase that are off by default")
	flags.StringSliceVar(&m.Disable, "disable", nil, "marks to leave that are on by default")
	flags.StringVar(&m.System, "system", "", "which operating system, where the disks hold several")
	complete(cmd, "enable", completeMarks)
	complete(cmd, "disable", completeMarks)
}

func completeMarks(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, m := range identity.All() {
		names = append(names, m.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// printMarks lists the marks there are.
func (a *app) printMarks(asJSON bool) error {
	all := identity.All()
	if asJSON {
		return a.printJSON(all)
	}
	t := &table{}
	t.row("MARK", "FAMILY", "KIND", "DEFAULT", "ERASING", "WHERE")
	for _, m := range all {
		where := "/" + strings.TrimPrefix(m.Paths[0], "~/")
		if strings.HasPrefix(m.Paths[0], "~/") {
			where = m.Paths[0]
		}
		if n := len(m.Paths) - 1; n > 0 {
			where += " and " + strconv.Itoa(n) + " more"
		}
		t.row(m.Name, m.Family, string(m.Kind), map[bool]string{true: "on", false: "off"}[m.Default], m.Will(), where)
	}
	return a.printTable(t)
}

// printGeneralization shows what was found and done, or would be.
func (a *app) printGeneralization(g *clade.Generalization, asJSON bool) error {
	if asJSON {
		return a.printJSON(g)
	}
	if err := a.printAttestation(g.Report); err != nil {
		return err
	}
	if g.Result == "" {
		a.say("nothing was written: a dry run of %s", g.Target)
	} else {
		a.say("%s holds none of these marks: it was read again", g.Result)
	}
	return nil
}

// printAttestation shows a report as a table of the marks that were found.
func (a *app) printAttestation(report json.RawMessage) error {
	var r generalize.Report
	if err := json.Unmarshal(report, &r); err != nil {
		return &clade.Error{Op: "read", On: "the report of generalization", Kind: clade.Corrupt, Err: err}
	}
	t := &table{}
	t.row("MARK", "KIND", "FILES", "SIZE", "ERASING", "DONE")
	found := 0
	for _, s := range r.Marks {
		if s.Files == 0 {
			continue
		}
		found++
		t.row(s.Mark, string(s.Kind), strconv.Itoa(s.Files), clade.Bytes(s.Size).String(), s.Will, yes(s.Erased))
	}
	if found > 0 {
		if err := a.print(""); err != nil {
			return err
		}
		if err := a.printTable(t); err != nil {
			return err
		}
	}
	proof := "not read again"
	if r.Verified {
		proof = "read again and proven"
	}
	return a.print("%d marks looked for, %d found, %s; %s, %s", len(r.Marks), found, proof, r.Tool, when(r.Time))
}
