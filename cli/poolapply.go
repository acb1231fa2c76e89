package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
	"github.com/spf13/cobra"
)

// An applied pool says what a declaration changes.
type applied struct {
	Pool    clade.Name        `json:"pool"`
	Action  string            `json:"action"` // create, change or nothing
	Changes []pool.Difference `json:"changes"`
	spec    clade.PoolSpec
}

func (a *app) poolApplyVerb() *cobra.Command {
	var file string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make pools what a file declares",
		Long: `Apply reads the declarations of pools from YAML, one a document, shows what differs from
what is, and makes it so. Another template is rolled out as by clade pool update. Pools
that are not in the file are left alone. "-" is standard input.`,
		Example: `  clade pool apply -f lab.yaml --dry-run
  clade pool apply -f lab.yaml`,
		Args: nothing,
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the file with the declarations")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what differs")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		specs, err := a.declarations(cmd, file)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		var all []applied
		for _, spec := range specs {
			one, err := compare(cmd.Context(), s, spec)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		if *asJSON {
			err = a.printJSON(all)
		} else {
			err = a.printApplied(all)
		}
		if err != nil || dryRun {
			return err
		}
		var errs []error
		for _, one := range all {
			errs = append(errs, apply(cmd.Context(), s, one))
		}
		return errors.Join(errs...)
	}
	return cmd
}

func (a *app) declarations(cmd *cobra.Command, file string) ([]clade.PoolSpec, error) {
	if file == "" {
		return nil, usage(cmd, "-f FILE is missing")
	}
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(io.LimitReader(a.env.In, maxInput+1))
	} else {
		data, err = readSmall("declaration", file)
	}
	if err != nil {
		return nil, err
	}
	return pool.Declarations(data)
}

// compare says what spec changes of what is, and refuses what cannot be changed.
func compare(ctx context.Context, s clade.Services, spec clade.PoolSpec) (applied, error) {
	p, err := s.Pool(ctx, spec.Name)
	if errors.Is(err, clade.NotFound) {
		t, err := s.Template(ctx, spec.Template)
		if err != nil {
			return applied{}, err
		}
		spec.Template = t.Ref()
		return applied{spec.Name, "create", pool.Diff(clade.PoolSpec{}, spec), spec}, nil
	}
	if err != nil {
		return applied{}, err
	}
	if spec.Template.Version == "" && spec.Template.Name == p.Template.Name {
		spec.Template = p.Template // it stays what it is; a newer one is rolled out by name
	}
	if err := pool.CheckChange(p.PoolSpec, spec); err != nil {
		return applied{}, err
	}
	one := applied{spec.Name, "change", pool.Diff(p.PoolSpec, spec), spec}
	if len(one.Changes) == 0 {
		one.Action, one.Changes = "nothing", []pool.Difference{}
	}
	return one, nil
}

// apply makes one pool what is declared: first everything but its template, which is
// rolled out.
func apply(ctx context.Context, s clade.Services, one applied) error {
	switch one.Action {
	case "create":
		_, err := s.CreatePool(ctx, one.spec)
		return err
	case "change":
		p, err := s.Pool(ctx, one.Pool)
		if err != nil {
			return err
		}
		to := one.spec.Template
		one.spec.Template = p.Template
		if len(pool.Diff(p.PoolSpec, one.spec)) > 0 {
			if _, err := s.ChangePool(ctx, one.spec); err != nil {
				return err
			}
		}
		if to != p.Template {
			_, err = s.UpdatePool(ctx, clade.PoolUpdate{Pool: one.Pool, To: to})
		}
		return err
	}
	return nil
}

func (a *app) poolSchemaVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of declarations, for editors",
		Long: `Schema prints the JSON schema of a pool's declaration. An editor that knows it completes
and checks the file: put a comment "# yaml-language-server: $schema=FILE" on its top.`,
		Example: `  clade pool schema > pool.schema.json`,
		Args:    nothing,
		RunE: func(*cobra.Command, []string) error {
			a.bars.stop()
			_, err := a.env.Out.Write(pool.Schema)
			return err
		},
	}
}

func (a *app) poolReconcileVerb() *cobra.Command {
	var all, once bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "reconcile NAME | --all",
		Short: "Do what brings a pool to what is wanted of it",
		Long: `Reconcile makes, starts, cleans, moves and removes machines until the pool is what is
wanted of it, or, with --once, does one round and says what it still waits for. It is
what clade serve does all the time; while that works, reconcile is refused.`,
		Example: `  clade pool reconcile lab
  clade pool reconcile --all --once --json`,
		Args:              takes(0, 1, "NAME"),
		ValidArgsFunction: a.completePools,
	}
	cmd.Flags().BoolVar(&all, "all", false, "all pools")
	cmd.Flags().BoolVar(&once, "once", false, "one round")
	cmd.Flags().DurationVar(&limit, "timeout", 30*time.Minute, "how long to go on")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all != (len(args) == 0) {
			return usage(cmd, "give either NAME or --all")
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		names, err := parseNames(args)
		if all {
			names, err = poolNames(cmd.Context(), s)
		}
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), limit)
		defer cancel()
		results := []*clade.Reconciliation{}
		var errs []error
		for _, name := range names {
			r, err := a.reconcile(ctx, s, name, once)
			if errs = append(errs, err); r != nil {
				results = append(results, r)
			}
		}
		if *asJSON {
			errs = append(errs, a.printJSON(results))
		}
		return errors.Join(errs...)
	}
	return cmd
}

func poolNames(ctx context.Context, s clade.Services) (names []clade.Name, err error) {
	pools, err := s.Pools(ctx)
	for _, p := range pools {
		names = append(names, p.Name)
	}
	return names, err
}

// reconcile goes on, round by round, until the pool is settled, and tells what was done.
func (a *app) reconcile(ctx context.Context, s clade.Services, name clade.Name, once bool) (*clade.Reconciliation, error) {
	all := &clade.Reconciliation{Pool: name, Done: []string{}}
	for {
		r, err := s.Reconcile(ctx, name, a.progress())
		if err != nil {
			return nil, err
		}
		for _, did := range r.Done {
			a.say("pool %s: %s", name, did)
		}
		all.Done, all.Settled, all.Waits = append(all.Done, r.Done...), r.Settled, r.Waits
		if once || r.Settled {
			if !r.Settled {
				a.say("pool %s waits for %s", name, r.Waits)
			}
			return all, nil
		}
		a.progress().Tell(clade.Event{Step: fmt.Sprintf("pool %s", name), Note: "waits for " + r.Waits})
		select {
		case <-ctx.Done():
			return all, &clade.Error{Op: "reconcile", On: "pool " + string(name), Kind: clade.Timeout, Err: errors.New("it still waits for " + r.Waits),
				Hint: "go on with the same command, or wait longer (--timeout)"}
		case <-time.After(reconcilePause):
		}
	}
}

// reconcilePause is the rest between two rounds.
const reconcilePause = 500 * time.Millisecond

// writeNew writes a file that must not be there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &clade.Error{Op: "write", On: path, Kind: clade.KindOf(err), Err: err, Hint: "give the name of a file that is not there yet"}
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
