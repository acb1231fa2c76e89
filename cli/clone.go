package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// cloneFlags are the flags of clone.
type cloneFlags struct {
	optionFlags
	full, linked, instant, start, dryRun, generalize, withData bool

	twins   []string // marks
	count   int
	pattern string
}

func (a *app) cloneVerb() *cobra.Command {
	var f cloneFlags
	cmd := &cobra.Command{
		Use:   "clone SRC NAME...",
		Short: "Make clones of a template or a machine",
		Long: `Clone makes clones of a template (name or name:version) or of a machine: all that
are asked for or, on any error, none. A linked clone is a delta on sealed layers
and takes next to nothing; a full clone is a copy and rests on nothing. An instant
clone is linked, and resumed from what clade template warm kept: it runs in a
second, with an identity of its own before it meets the network.

Cloning a machine freezes its disk first; the machine goes on with a new head,
running or not. Its clones would share its identity, so --generalize is needed, or
--accept-twins with the marks that may be shared. Every clone gets its own name,
address and ids in any case. Its data disks are not cloned unless --with-data says so;
--data-disk gives each clone an empty one of its own.

Give the names, or -n N and a pattern: web-{n} or, with three digits, web-{n:03}.`,
		Example: `  clade clone debian-12 web-1 web-2 --start
  clade clone debian-12:1 -n 30 --name 'pupil-{n:02}' --memory 512M
  clade clone debian-12 -n 30 --name 'pupil-{n:02}' --instant
  clade clone debian-12 big --full --dry-run
  clade clone debian-12 db-1 --data-disk 20G --data-disk home=5G:/home
  clade clone web-1 web-1-copy --generalize`,
		ValidArgsFunction: a.completeSource,
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.linked, "linked", false, "make linked clones (default)")
	flags.BoolVar(&f.full, "full", false, "make full clones")
	flags.BoolVar(&f.instant, "instant", false, "make instant clones of a warm template; they run at once")
	flags.BoolVar(&f.start, "start", false, "start the clones")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only show what would be made, and what it takes")
	flags.BoolVar(&f.withData, "with-data", false, "clone the machine's data disks too")
	flags.BoolVar(&f.generalize, "generalize", false, "erase the identity of the machine from what its clones rest on")
	flags.StringSliceVar(&f.twins, "accept-twins", nil, "marks that the clones may share with the source, or \"all\"")
	complete(cmd, "accept-twins", completeMarks)
	flags.IntVarP(&f.count, "number", "n", 0, "how many clones to make")
	flags.StringVar(&f.pattern, "name", "", "their names, with {n} or {n:03} for the number (default SRC-{n})")
	f.add(a, cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := f.spec(cmd, args)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		if f.dryRun {
			plan, err := s.PlanClone(cmd.Context(), spec)
			if err != nil {
				return err
			}
			return a.printPlan(plan, *asJSON)
		}
		return a.clone(cmd.Context(), s, spec, f.start && !f.instant, *asJSON)
	}
	return cmd
}

func (a *app) clone(ctx context.Context, s clade.Services, spec clade.CloneSpec, start, asJSON bool) error {
	made, err := s.Clone(ctx, spec, a.progress())
	if err != nil {
		return err
	}
	if len(made) > 0 && !asJSON {
		a.stood(spec.Source, made[0].Pause)
	}
	if start {
		o := clade.StartOptions{AcceptTwins: len(spec.AcceptTwins) > 0}
		err = each(ctx, spec.Names, func(ctx context.Context, name clade.Name) error { return s.Start(ctx, name, o, a.progress()) })
		for i, m := range made {
			if now, err := s.Machine(ctx, m.Name); err == nil {
				now.Pause = m.Pause
				made[i] = now
			}
		}
	}
	if printed := a.printMade(made, asJSON); err == nil {
		err = printed
	}
	return err
}

// spec reads the command line.
func (f *cloneFlags) spec(cmd *cobra.Command, args []string) (spec clade.CloneSpec, err error) {
	given := cmd.Flags().Changed("number") || f.pattern != ""
	switch {
	case len(args) == 0:
		return spec, usage(cmd, "too few arguments: it takes SRC and NAME...")
	case f.full && f.linked || f.full && f.instant || f.linked && f.instant:
		return spec, usage(cmd, "--full, --linked and --instant exclude one another")
	case f.generalize && len(f.twins) > 0:
		return spec, usage(cmd, "--generalize and --accept-twins exclude one another")
	case given && len(args) > 1:
		return spec, usage(cmd, "give either names, or -n and --name")
	case !given && len(args) == 1:
		return spec, usage(cmd, "no name given for the clone")
	}
	spec = clade.CloneSpec{Source: args[0], Kind: clade.Linked, Generalize: f.generalize, AcceptTwins: f.twins, WithData: f.withData}
	if f.full {
		spec.Kind = clade.Full
	}
	if f.instant {
		spec.Kind = clade.Instant
	}
	if given {
		spec.Names, err = f.expanded(cmd, args[0])
	} else {
		spec.Names, err = parseNames(args[1:])
	}
	if err != nil {
		return spec, err
	}
	if len(spec.Names) > 1 && (f.ip != "" || f.hostname != "") {
		return spec, usage(cmd, "--ip and --hostname are for a single clone")
	}
	spec.Options, err = f.options(cmd)
	return spec, err
}

func (f *cloneFlags) expanded(cmd *cobra.Command, source string) ([]clade.Name, error) {
	pattern, count := f.pattern, f.count
	if pattern == "" {
		name, _, _ := strings.Cut(source, ":")
		pattern = name + "-{n}"
	}
	if !cmd.Flags().Changed("number") {
		count = 1
	}
	return expand(pattern, count)
}

// printPlan shows what a clone would take.
func (a *app) printPlan(p *clade.Plan, asJSON bool) error {
	if asJSON {
		p.Machines, p.Steps = filled(p.Machines), filled(p.Steps)
		return a.printJSON(p)
	}
	t := &table{}
	t.row("MACHINE", "CLONE", "SOURCE", "WRITES")
	for _, m := range p.Machines {
		t.row(string(m.Name), string(p.Kind), p.Source, m.Bytes.String())
	}
	if err := a.printTable(t); err != nil {
		return err
	}
	rests := "nothing"
	if len(p.RestsOn) > 0 {
		rests = "layers " + strings.Join(p.RestsOn, ", ")
		if len(p.RestsOn) == 1 {
			rests = "layer " + p.RestsOn[0]
		}
	}
	free := p.Free.String() + " are free"
	if p.Reflink {
		free += "; copies share their extents here"
	}
	for _, line := range []string{"", "in all   " + strconv.Itoa(len(p.Machines)) + " machines, " + p.Bytes.String() + " written of " + p.Virtual.String() + " virtual",
		"rests on " + rests, "room     " + free} {
		if err := a.print("%s", line); err != nil {
			return err
		}
	}
	for i, step := range p.Steps {
		if err := a.print("%s", map[bool]string{true: "steps    ", false: "         "}[i == 0]+printable(step)); err != nil {
			return err
		}
	}
	return nil
}
