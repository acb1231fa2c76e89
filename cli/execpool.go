package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/clade-vm/clade"
)

// A ran is how a command ended in one machine of a pool.
type ran struct {
	Machine clade.Name  `json:"machine"`
	Exit    *clade.Exit `json:"exit,omitempty"`
	Error   string      `json:"error,omitempty"` // why it could not be run
}

// execPool runs a command in all machines of a pool, several at the same time. Each
// line of output begins with the machine's name. The status is that of the worst.
func (a *app) execPool(ctx context.Context, s clade.Services, name clade.Name, c clade.Command, asJSON bool) error {
	p, err := s.Pool(ctx, name)
	if err != nil {
		return err
	}
	var names []clade.Name
	for _, m := range p.Members {
		if m.State == clade.Running {
			names = append(names, m.Machine)
		}
	}
	if len(names) == 0 {
		return &clade.Error{Op: "run a command in", On: "pool " + string(name), Kind: clade.NotRunning, Err: errors.New("none of its machines runs"),
			Hint: "clade pool reconcile " + string(name) + " starts them"}
	}
	all := make([]ran, len(names))
	at := make(map[clade.Name]int)
	for i, n := range names {
		all[i].Machine, at[n] = n, i
	}
	var mu sync.Mutex // one machine's output after the other's
	err = each(ctx, names, func(ctx context.Context, n clade.Name) error {
		exit, err := s.Exec(ctx, n, c)
		mu.Lock()
		defer mu.Unlock()
		one := &all[at[n]]
		if one.Exit = exit; err != nil {
			one.Error = err.Error()
			return ctx.Err()
		}
		if asJSON {
			return nil
		}
		return errors.Join(a.lines(n, exit.Out, a.print), a.lines(n, exit.Err, func(format string, args ...any) error {
			a.bars.println(fmt.Sprintf(format, args...))
			return nil
		}))
	})
	if err != nil {
		return err
	}
	if asJSON {
		if err := a.printJSON(all); err != nil {
			return err
		}
	}
	return a.summary(all)
}

// lines writes each line of output behind the machine's name.
func (a *app) lines(name clade.Name, out []byte, write func(string, ...any) error) error {
	for line := range strings.Lines(string(out)) {
		if err := write("%s: %s", name, strings.TrimRight(line, "\r\n")); err != nil {
			return err
		}
	}
	return nil
}

// summary says how many did well, which did not, and ends with the worst status.
func (a *app) summary(all []ran) error {
	worst, well := 0, 0
	for _, one := range all {
		switch {
		case one.Error != "":
			a.say("%s: %s", one.Machine, one.Error)
			worst = max(worst, statusError)
		case one.Exit.Signal != 0:
			a.say("%s: ended by signal %d", one.Machine, one.Exit.Signal)
			worst = max(worst, 128+one.Exit.Signal)
		case one.Exit.Status != 0:
			a.say("%s: status %d", one.Machine, one.Exit.Status)
			worst = max(worst, one.Exit.Status)
		default:
			well++
		}
	}
	a.say("%d of %d machines: status 0", well, len(all))
	if worst != 0 {
		return exitStatus(worst)
	}
	return nil
}
