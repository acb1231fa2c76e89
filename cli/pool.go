package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) poolVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "Keep machines ready and hand them out",
		Long: `A pool is a number of machines that are kept ready from a template. Persons claim
them; what is released is made clean before the next one gets it. Clade serve keeps all
pools what is wanted of them; clade pool reconcile does so once.`,
		Example: `  clade pool create lab --template debian-12 --size 30 --policy reset --name 'lab-{n:02}'
  clade pool reconcile lab
  clade pool claim lab --for anna`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(a.poolCreateVerb(), a.poolLsVerb(), a.poolShowVerb(), a.poolScaleVerb(), a.poolRmVerb(), a.poolApplyVerb(), a.poolSchemaVerb(),
		a.poolReconcileVerb(), a.poolClaimVerb(), a.poolReleaseVerb(), a.poolClaimsVerb(), a.poolUpdateVerb())
	return cmd
}

func (a *app) completePools(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	return offer(func(ctx context.Context) ([]string, error) {
		s, err := a.open(ctx)
		if err != nil {
			return nil, err
		}
		pools, err := s.Pools(ctx)
		var names []string
		for _, p := range pools {
			names = append(names, string(p.Name))
		}
		return names, err
	})(cmd, args, text)
}

// poolFlags are the flags of what may be said of a pool.
type poolFlags struct {
	spec     clade.PoolSpec
	template string
	kind     string
	policy   string
	userData string
	sshKeys  []string
}

func (f *poolFlags) add(a *app, cmd *cobra.Command) {
	flags, s := cmd.Flags(), &f.spec
	flags.StringVar(&f.template, "template", "", "what the machines are made of, such as debian-12:1")
	flags.IntVar(&s.Size, "size", 0, "how many machines the pool has at least")
	flags.IntVar(&s.Spares, "spares", 0, "how many are ready that nobody holds, however many are claimed")
	flags.StringVar(&s.Schedule, "schedule", "", "sizes by time of day: 'Mon-Fri 08:00 size=30; 18:00 size=0'")
	flags.StringVar(&f.kind, "kind", "", "linked, instant or full (default linked)")
	flags.StringVar(&f.policy, "policy", "", "what becomes of a machine that is released: keep, reset or recreate (default recreate)")
	flags.StringVar(&s.Names, "name", "", "the machines' names, such as 'lab-{n:02}' (default NAME-{n})")
	flags.Var(&s.TTL, "ttl", "how long a claim lasts, such as 3h (default: until it is released)")
	flags.Var(&s.DataDisk, "data-disk", "a second, empty disk of this size for each machine")
	flags.IntVar(&s.CPUs, "cpus", 0, "processors of each machine (default: the template's)")
	flags.Var(&s.Memory, "memory", "memory of each machine (default: the template's)")
	flags.StringVar(&s.Network, "network", "", `a network's name, "bridge:NAME" or "none" (default "default")`)
	flags.BoolVar(&s.Isolated, "isolated", false, "machines reach the gateway and not one another")
	flags.StringVar(&f.userData, "user-data", "", "a file with cloud-init user data, passed on unchanged")
	flags.StringArrayVar(&f.sshKeys, "ssh-key", nil, "a public key, or a file with some, that may log in; can be given again")
	flags.Var(&s.Patience, "patience", "how long a machine may take to answer before it is replaced (default 10m)")
	flags.IntVar(&s.MaxUnavailable, "max-unavailable", 0, "how many free machines an update takes away at once (default: a quarter)")
	flags.IntVar(&s.MaxCPUs, "max-cpus", 0, "processors of the whole pool")
	flags.Var(&s.MaxMemory, "max-memory", "memory of the whole pool")
	flags.Var(&s.MaxDisk, "max-disk", "disks of the whole pool, as large as guests can fill them")
	complete(cmd, "template", offer(a.templateRefs))
	complete(cmd, "network", a.completeNetworks)
	complete(cmd, "kind", cobra.FixedCompletions([]string{"linked", "instant", "full"}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "policy", cobra.FixedCompletions([]string{"keep", "reset", "recreate"}, cobra.ShellCompDirectiveNoFileComp))
}

// read returns the spec that the flags make.
func (f *poolFlags) read(cmd *cobra.Command, name clade.Name) (clade.PoolSpec, error) {
	s := f.spec
	s.Name, s.Kind, s.Policy = name, clade.CloneKind(f.kind), clade.Policy(f.policy)
	if f.template == "" {
		return s, usage(cmd, "--template TEMPLATE is missing")
	}
	ref, err := clade.ParseRef(f.template)
	if err != nil {
		return s, err
	}
	s.Template = ref
	if f.userData != "" {
		data, err := readSmall("user data", f.userData)
		if err != nil {
			return s, err
		}
		s.UserData = string(data)
	}
	for _, key := range f.sshKeys {
		keys, err := readKeys(key)
		if err != nil {
			return s, err
		}
		s.SSHKeys = append(s.SSHKeys, keys...)
	}
	return s, nil
}

func (a *app) poolCreateVerb() *cobra.Command {
	var f poolFlags
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Say what is wanted of a new pool",
		Long: `Create records a pool, and refuses one that could not be made: its template must be
there and proven, its size below its ceilings. The machines are made by clade serve, or
by clade pool reconcile.`,
		Example: `  clade pool create lab --template debian-12 --size 30 --policy reset --name 'lab-{n:02}' --isolated
  clade pool create desk --template debian-12:1 --size 0 --spares 3 --ttl 3h --max-memory 16G
  clade template warm debian-12 && clade pool create quick --template debian-12 --kind instant --size 20 --policy reset`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.add(a, cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := clade.ParseName(args[0])
		if err != nil {
			return err
		}
		spec, err := f.read(cmd, name)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		p, err := s.CreatePool(cmd.Context(), spec)
		if err != nil {
			return err
		}
		if !p.Controlled {
			a.say("pool %s has no machines yet: clade pool reconcile %s makes them, clade serve keeps them", name, name)
		}
		if *asJSON {
			return a.printJSON(p)
		}
		return a.print("%s", p.Name)
	}
	return cmd
}

func (a *app) poolLsVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:     "ls",
		Short:   "List pools",
		Long:    `Ls lists the pools, what is wanted of them, and how many machines are ready and claimed.`,
		Example: `  clade pool ls`,
		Args:    nothing,
	}, func(ctx context.Context, s clade.Services, _ []string) ([]*clade.Pool, error) {
		return s.Pools(ctx)
	}, func(pools []*clade.Pool) error {
		t := &table{}
		t.row("NAME", "TEMPLATE", "WANTED", "READY", "CLAIMED", "OUTDATED", "POLICY", "NEXT CHANGE")
		for _, p := range pools {
			t.row(string(p.Name), p.Template.String(), strconv.Itoa(p.Want), strconv.Itoa(p.Ready), strconv.Itoa(p.Claimed),
				strconv.Itoa(p.Outdated), string(p.Policy), change(p, "Mon 15:04"))
		}
		return a.printTable(t)
	})
}

// change says when and how the pool's schedule changes its size next: within a week.
func change(p *clade.Pool, layout string) string {
	if p.Change == nil {
		return ""
	}
	return fmt.Sprintf("%s: size %d", p.Change.At.Local().Format(layout), p.Change.Size)
}

func (a *app) poolShowVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:   "show NAME",
		Short: "Show a pool and its machines",
		Long: `Show tells what is wanted of a pool, what each of its machines does and who holds it,
how far an update is, and why something failed.`,
		Example:           `  clade pool show lab`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completePools,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Pool, error) {
		name, err := clade.ParseName(args[0])
		if err != nil {
			return nil, err
		}
		return s.Pool(ctx, name)
	}, a.printPool)
}

func (a *app) printPool(p *clade.Pool) error {
	t := &table{}
	t.row("pool", string(p.Name))
	t.row("template", p.Template.String())
	t.row("wanted", fmt.Sprintf("%d (size %d, spares %d)", p.Want, p.Size, p.Spares))
	t.row("machines", fmt.Sprintf("%d: %d ready, %d claimed", len(p.Members), p.Ready, p.Claimed))
	if p.Outdated > 0 {
		t.row("update", fmt.Sprintf("%d of %d are of %s%s", len(p.Members)-p.Outdated, len(p.Members), p.Template, deadline(p)))
	}
	if p.Earlier != "" {
		t.row("before", p.Earlier)
	}
	t.row("kind", string(p.Kind))
	t.row("policy", string(p.Policy))
	t.row("network", cmp.Or(p.Network, "default")+map[bool]string{true: ", isolated"}[p.Isolated])
	if p.TTL > 0 {
		t.row("claims last", p.TTL.String())
	}
	if p.Schedule != "" {
		t.row("schedule", p.Schedule)
		t.row("next change", change(p, "Mon 2006-01-02 15:04 MST"))
	}
	if p.Reason != "" {
		t.row("reason", p.Reason)
	}
	if !p.Retry.IsZero() {
		t.row("tried again", p.Retry.Local().Format(time.TimeOnly))
	}
	t.row("controller", map[bool]string{true: "at work", false: "none: clade serve, or clade pool reconcile " + string(p.Name)}[p.Controlled])
	if err := a.printTable(t); err != nil || len(p.Members) == 0 {
		return err
	}
	m := &table{}
	m.row("MACHINE", "PHASE", "PERSON", "UNTIL", "ADDRESS", "TEMPLATE", "REASON")
	for _, one := range p.Members {
		m.row(string(one.Machine), string(one.Phase), one.Person, until(one.Expires), ipText(one.IP), one.Template, one.Reason)
	}
	return errors.Join(a.print(""), a.printTable(m))
}

func deadline(p *clade.Pool) string {
	if p.Deadline.IsZero() {
		return "; claimed ones when they are released"
	}
	return "; claimed ones at " + until(p.Deadline)
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("Mon 15:04")
}

func (a *app) poolScaleVerb() *cobra.Command {
	var spares int
	cmd := &cobra.Command{
		Use:   "scale NAME SIZE",
		Short: "Change the size of a pool",
		Long: `Scale changes how many machines a pool has at least, and with --spares how many of
them nobody holds. Claimed machines stay, however small the pool becomes.`,
		Example: `  clade pool scale lab 40
  clade pool scale lab 0 --spares 3`,
		Args:              takes(2, 2, "NAME SIZE"),
		ValidArgsFunction: a.completePools,
	}
	cmd.Flags().IntVar(&spares, "spares", 0, "how many are ready that nobody holds (default: as it was)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := clade.ParseName(args[0])
		if err != nil {
			return err
		}
		size, err := strconv.Atoi(args[1])
		if err != nil {
			return usage(cmd, "%.40q is no size", args[1])
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		p, err := s.Pool(cmd.Context(), name)
		if err != nil {
			return err
		}
		p.PoolSpec.Size = size
		if cmd.Flags().Changed("spares") {
			p.PoolSpec.Spares = spares
		}
		if p, err = s.ChangePool(cmd.Context(), p.PoolSpec); err == nil {
			a.say("pool %s: %d machines are wanted, %d are there", name, p.Want, len(p.Members))
		}
		return err
	}
	return cmd
}

func (a *app) poolRmVerb() *cobra.Command {
	var r removal
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a pool and its machines",
		Long: `Rm shows what will go, asks, and removes a pool with all its machines. One with
claims is refused, unless --force is given, which ends them.`,
		Example:           `  clade pool rm lab`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completePools,
	}
	r.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "end the claims too")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, s, err := a.openFor(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		p, err := s.Pool(cmd.Context(), name)
		if err != nil {
			return err
		}
		a.say("pool %s will be removed with its %d machines, %d of them claimed", name, len(p.Members), p.Claimed)
		if r.dryRun {
			return nil
		}
		if err := a.confirm(cmd, r, 1, "pool"); err != nil {
			return err
		}
		gone, err := s.RemovePool(cmd.Context(), name, force, a.progress())
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(gone)
		}
		a.say("%s is removed: %v freed", gone.Removed, gone.Freed)
		return nil
	}
	return cmd
}
