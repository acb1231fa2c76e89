package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// removal are the flags of the verbs that remove.
type removal struct {
	yes, dryRun bool
}

func (r *removal) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "only show what would go")
}

// showGoing says what will go, what that frees, and what stays for whom; as JSON,
// to standard output, if that is asked for. with says of each what else goes with it.
func (a *app) showGoing(ctx context.Context, s clade.Services, going clade.Going, asJSON bool, with ...string) error {
	plan, err := s.PlanRemoval(ctx, going)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(filled(plan))
	}
	var sum clade.Bytes
	for i, r := range plan {
		data := ""
		if i < len(with) {
			data = with[i]
		}
		a.say("%s will be removed%s, which frees %v", printable(r.Removed), printable(data), r.Freed)
		for i, k := range r.Kept {
			if i == mostKept && len(r.Kept) > i+1 {
				a.say("  and %d more layers stay", len(r.Kept)-i)
				break
			}
			a.say("  layer %s stays, %v: %s", k.Layer, k.Bytes, printable(neededBy(k)))
		}
		sum += r.Freed
	}
	if len(plan) > 1 {
		a.say("%v in all", sum)
	}
	return nil
}

// mostKept is how many of the layers that stay are named.
const mostKept = 4

// neededBy says why a layer stays.
func neededBy(k clade.KeptLayer) string {
	const most = 4
	names := k.Needed
	if len(names) > most {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("%d more", len(names)-most))
	}
	switch len(names) {
	case 0:
		return "something rests on it"
	case 1:
		return names[0] + " rests on it"
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " rest on it"
}

// confirm asks whether n things shall go. Without a terminal, --yes must be given.
func (a *app) confirm(cmd *cobra.Command, r removal, n int, what string) error {
	if r.yes {
		return nil
	}
	if n > 1 {
		what = fmt.Sprintf("%d %ss", n, what)
	} else {
		what = "the " + what
	}
	if _, ok := terminal(a.env.In); !ok {
		return &clade.Error{Op: cmd.CommandPath(), Kind: clade.Invalid, Err: errors.New("there is no terminal to ask on"), Hint: "use --yes"}
	}
	fmt.Fprintf(a.env.Err, "Remove %s? [y/N] ", what)
	answer, err := bufio.NewReader(a.env.In).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	if err != nil {
		fmt.Fprintln(a.env.Err)
	}
	a.say("nothing was removed")
	return exitStatus(statusError)
}

// printRemoved says what went and what stayed. Removals that failed are nil.
func (a *app) printRemoved(removed []*clade.Removal, asJSON bool) error {
	done := []*clade.Removal{}
	for _, r := range removed {
		if r != nil {
			done = append(done, r)
		}
	}
	if asJSON {
		return a.printJSON(done)
	}
	for _, r := range done {
		line := fmt.Sprintf("%s is removed, %v freed", r.Removed, r.Freed)
		if len(r.Kept) > 0 {
			var layers []string
			for _, k := range r.Kept {
				layers = append(layers, "layer "+k.Layer)
			}
			line += "; kept for others: " + strings.Join(layers, ", ")
		}
		a.say("%s", printable(line))
	}
	return nil
}
