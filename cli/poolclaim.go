package cli

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/netip"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
	"github.com/spf13/cobra"
)

func (a *app) poolClaimVerb() *cobra.Command {
	var spec clade.ClaimSpec
	var class roster
	var page string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "claim NAME --for PERSON | --roster FILE",
		Short: "Hand out machines of a pool",
		Long: `Claim hands a ready machine to a person at once; who has one gets the same again, and
its time begins anew. With --roster each person of a class gets one: from the column
"name" of a CSV file, or its first, or the columns that --column names, joined. What was
handed out is printed as a table, and with --html written as a page to print and cut.

Where no machine is ready the claim is refused, or waits with --wait, and makes them
itself unless a controller is at work.`,
		Example: `  clade pool claim lab --for anna --ttl 3h
  clade pool claim lab --roster class-3b.csv --html handout.html --wait 5m
  clade pool claim lab --roster class-3b.csv --column 'First name' --column Surname`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completePools,
	}
	flags := cmd.Flags()
	flags.StringVar(&spec.Person, "for", "", "who gets it")
	class.add(cmd)
	flags.Var(&spec.TTL, "ttl", "how long the claim lasts, such as 3h (default: as the pool has it)")
	flags.DurationVar(&wait, "wait", 0, "how long to wait for a machine that is ready")
	flags.StringVar(&page, "html", "", "a new file for the handout as a page")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if spec.Pool, err = clade.ParseName(args[0]); err != nil {
			return err
		}
		persons, err := class.persons(cmd, spec.Person)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), max(wait, time.Minute))
		defer cancel()
		end := time.Now().Add(wait)
		claims, err := a.claimEach(ctx, s, spec, persons, end)
		return errors.Join(err, a.handOut(claims, page, class.file == "" && err == nil, *asJSON))
	}
	return cmd
}

// claimEach claims a machine for each person; who finds none until then does not keep
// the others from theirs.
func (a *app) claimEach(ctx context.Context, s clade.Services, spec clade.ClaimSpec, persons []string, end time.Time) ([]*clade.Claim, error) {
	claims := []*clade.Claim{}
	var errs []error
	for _, person := range persons {
		spec.Person = person
		c, err := a.claimUntil(ctx, s, spec, end)
		if err != nil {
			errs = append(errs, err)
			if !errors.Is(err, clade.Busy) {
				break
			}
			continue
		}
		claims = append(claims, c)
	}
	return claims, errors.Join(errs...)
}

// A roster is a class that a command line names.
type roster struct {
	file    string
	columns []string
}

func (r *roster) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.file, "roster", "", "a CSV file with the persons of a class")
	cmd.Flags().StringArrayVar(&r.columns, "column", nil, "a column of the roster with a part of the persons' names; can be given again")
}

// persons are those that a command line names: one, or a class.
func (r *roster) persons(cmd *cobra.Command, person string) ([]string, error) {
	if (person == "") == (r.file == "") {
		return nil, usage(cmd, "give either --for PERSON or --roster FILE")
	}
	if r.file == "" {
		return []string{person}, nil
	}
	data, err := readSmall("roster", r.file)
	if err != nil {
		return nil, err
	}
	return pool.Roster(data, r.columns...)
}

// claimUntil claims, and while no machine is ready waits until end; it makes machines
// itself where no controller does.
func (a *app) claimUntil(ctx context.Context, s clade.Services, spec clade.ClaimSpec, end time.Time) (*clade.Claim, error) {
	for {
		c, err := s.Claim(ctx, spec)
		if !errors.Is(err, clade.Busy) || !time.Now().Before(end) {
			return c, err
		}
		a.progress().Tell(clade.Event{Step: fmt.Sprintf("wait for a machine of pool %s", spec.Pool), Note: spec.Person})
		if _, err := s.Reconcile(ctx, spec.Pool, nil); err != nil && !errors.Is(err, clade.Busy) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(reconcilePause):
		}
	}
}

//go:embed handout.html
var handoutPage string

// handOut prints what was claimed.
func (a *app) handOut(claims []*clade.Claim, page string, single, asJSON bool) error {
	if page != "" {
		var b bytes.Buffer
		t := template.Must(template.New("handout").Funcs(template.FuncMap{"until": func(c *clade.Claim) string { return expiry(c.Expires) }}).Parse(handoutPage))
		if err := t.Execute(&b, claims); err != nil {
			return err
		}
		if err := writeNew(page, b.Bytes()); err != nil {
			return err
		}
	}
	switch {
	case asJSON && single:
		return a.printJSON(claims[0])
	case asJSON:
		return a.printJSON(claims)
	}
	return a.printClaims(claims)
}

func (a *app) printClaims(claims []*clade.Claim) error {
	t := &table{}
	t.row("PERSON", "MACHINE", "ADDRESS", "LOGIN", "UNTIL", "STATE")
	for _, c := range claims {
		t.row(c.Person, string(c.Machine), ipText(c.IP), c.User, expiry(c.Expires), map[bool]string{true: "ready", false: "starting"}[c.Ready])
	}
	return a.printTable(t)
}

// ipText is an address; "" for none.
func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

func expiry(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

func (a *app) poolClaimsVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:               "claims [NAME]",
		Short:             "List who holds what",
		Long:              `Claims lists the claims on a pool, or on all.`,
		Example:           `  clade pool claims lab`,
		Args:              takes(0, 1, "NAME"),
		ValidArgsFunction: a.completePools,
	}, func(ctx context.Context, s clade.Services, args []string) ([]*clade.Claim, error) {
		names, err := parseNames(args)
		if err != nil {
			return nil, err
		}
		return s.Claims(ctx, append(names, "")[0])
	}, a.printClaims)
}

func (a *app) poolReleaseVerb() *cobra.Command {
	var person string
	var class roster
	var all bool
	cmd := &cobra.Command{
		Use:   "release NAME --for PERSON | --roster FILE | --all",
		Short: "End claims",
		Long: `Release ends a person's claim. The pool's policy says what becomes of the machine: kept as
it is, reset to what it was when it was made, or replaced by one with a new identity.
Nobody gets it before.`,
		Example: `  clade pool release lab --for anna
  clade pool release lab --all`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completePools,
	}
	cmd.Flags().StringVar(&person, "for", "", "who held it")
	class.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "end all claims on the pool")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, s, err := a.openFor(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var persons []string
		if all {
			claims, err := s.Claims(cmd.Context(), name)
			if err != nil {
				return err
			}
			for _, c := range claims {
				persons = append(persons, c.Person)
			}
		} else if persons, err = class.persons(cmd, person); err != nil {
			return err
		}
		var errs []error
		for _, person := range persons {
			c, err := s.Release(cmd.Context(), name, person)
			if errs = append(errs, err); err == nil {
				a.say("%s has let go of %s", person, c.Machine)
			}
		}
		return errors.Join(errs...)
	}
	return cmd
}
