// Package cli is the command line of clade: one verb a file.
//
// It holds the service interfaces only and does not know what is behind them.
// Data goes to standard output, everything else to standard error: progress, what
// was done, questions, and errors as one line with a hint below. Help, completion
// scripts and version never open the home.
//
// The exit status is 0 when all is done, 1 for an error, 2 when the request itself
// is wrong (kind Invalid), and 3 when a check of lab or verify does not hold; exec,
// ssh and cp pass on the status of what they ran.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	statusError = 1
	statusUsage = 2
	statusCheck = 3
)

// Env is the world of one command. In, Out, Err and Services must be given.
type Env struct {
	In       io.Reader // asked for answers and passed on to guests
	Out, Err io.Writer // where they are terminals, progress moves and questions are asked
	Home     string    // the home unless --home names another
	// Services opens a home. They are closed if they are an io.Closer.
	Services func(ctx context.Context, home string) (clade.Services, error)
	// Switch is the life of a network's switch process; nil: there is no such verb.
	Switch func(ctx context.Context, home string, network clade.Name) error
}

// Run performs one command and returns its exit status. ssh and cp replace the
// process by the system's ssh and scp, and return only if that cannot be done.
func Run(ctx context.Context, args []string, env Env) int {
	a := &app{env: env, home: env.Home}
	a.bars = newBars(env.Err)
	root := a.root()
	root.SetArgs(args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	err := root.ExecuteContext(ctx)
	a.bars.stop()
	err = errors.Join(err, a.close())
	return a.report(err)
}

// An app is one command at work.
type app struct {
	env   Env
	home  string
	quiet bool
	bars  *bars

	mu       sync.Mutex // guards what follows
	services clade.Services
}

// open returns the home's services, opened at the first call.
func (a *app) open(ctx context.Context) (clade.Services, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.services != nil {
		return a.services, nil
	}
	s, err := a.env.Services(ctx, a.home)
	if err == nil {
		a.services = s
	}
	return s, err
}

// openFor reads the name of what is to be worked on, and opens the home.
func (a *app) openFor(ctx context.Context, text string) (clade.Name, clade.Services, error) {
	name, err := clade.ParseName(text)
	if err != nil {
		return "", nil, err
	}
	s, err := a.open(ctx)
	return name, s, err
}

// close lets go of the home. It may be called twice.
func (a *app) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.services
	a.services = nil
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// progress returns where long operations tell how far they are.
func (a *app) progress() clade.Progress {
	if a.quiet {
		return nil
	}
	return a.bars.tell
}

// say tells on standard error what was done, unless asked to be quiet.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		a.bars.println(fmt.Sprintf(format, args...))
	}
}

// An exitStatus ends a command with this status and says nothing more.
type exitStatus int

// Error implements error.
func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// report prints an error for people and returns the exit status.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	status := statusUsage
	for _, one := range parts(err) {
		fmt.Fprintf(a.env.Err, "clade: %s\n", printable(one.Error()))
		if hint := clade.HintOf(one); hint != "" {
			fmt.Fprintf(a.env.Err, "hint: %s\n", printable(hint))
		}
		if clade.KindOf(one) != clade.Invalid {
			status = statusError
		}
	}
	return status
}

// parts takes joined errors apart; a clade.Error is one piece.
func parts(err error) []error {
	if _, ok := err.(*clade.Error); ok {
		return []error{err}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, parts(e)...)
	}
	return all
}

// usage is the error of a command line that cannot be understood.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &clade.Error{Op: cmd.CommandPath(), Kind: clade.Invalid, Err: fmt.Errorf(format, args...),
		Hint: cmd.CommandPath() + " --help shows how"}
}
