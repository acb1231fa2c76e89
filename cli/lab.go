package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lab"
	"github.com/spf13/cobra"
)

// labDir is where in the home a lab has a home of its own while it runs.
const labDir = "lab"

// labFlags are the flags of lab.
type labFlags struct {
	lab.Options
	html, dir string
	json      bool
}

func (a *app) labVerb() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Perform the exercise on cloning, and prove each promise",
		Long: `Lab builds a golden master, boots it, makes a template of it, and from that a full
and a linked clone; boots all three on one network and proves that they share no
identity, reach one another, see nothing of what the others write, and rest on
layers that did not change. It works in a home of its own and leaves nothing behind.

It ends with status 0 if every check holds and with 3 if one does not. With
--skip-generalize one will not: this is what clones share without it.`,
		Example: `  clade lab
  clade lab --html report.html
  clade lab --skip-generalize
  clade lab --json > report.json`,
		Args: nothing,
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.SkipGeneralize, "skip-generalize", false, "the counter-proof: do not generalize the template")
	flags.BoolVar(&f.Keep, "keep", false, "leave the machines in the lab's home")
	flags.StringVar(&f.Recipe, "recipe", "debian-12", "the recipe of the master")
	flags.StringVar(&f.html, "html", "", "also write the report as a page to this file")
	flags.StringVar(&f.dir, "dir", "", "the lab's home (default: a new one in the home, removed at the end)")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.lab(cmd.Context(), f) }
	return cmd
}

func (a *app) lab(ctx context.Context, f labFlags) (err error) {
	var page *os.File
	if f.html != "" { // now, since it would be a pity to find out at the end
		if page, err = os.CreateTemp(filepath.Dir(f.html), ".report-*"); err != nil {
			return &clade.Error{Op: "write", On: "page " + f.html, Kind: clade.Denied, Err: err, Hint: "choose a file in a directory you may write to"}
		}
		defer os.Remove(page.Name())
		defer page.Close()
	}
	dir, ends, err := a.labHome(f)
	if err != nil {
		return err
	}
	s, err := a.env.Services(ctx, dir)
	if err != nil {
		return err
	}
	r, failure := lab.Run(ctx, s, f.Options, a.watchLab())
	a.bars.stop()
	if c, ok := s.(io.Closer); ok {
		failure = errors.Join(failure, c.Close())
	}
	if err := a.printReport(r, f, page); err != nil {
		failure = errors.Join(failure, err)
	}
	left := len(r.Machines) > 0 && f.Keep
	if ends && !left && failure == nil {
		failure = os.RemoveAll(dir)
	} else if left || failure != nil {
		a.say("the lab's home is %s: clade --home %s ls", dir, dir)
	}
	if failure == nil && !r.Verdict {
		return exitStatus(statusCheck)
	}
	return failure
}

// labHome returns the directory of the lab's home, and whether it ends with the lab.
func (a *app) labHome(f labFlags) (dir string, ends bool, err error) {
	if f.dir != "" {
		return f.dir, false, nil
	}
	base := filepath.Join(a.home, labDir)
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", false, &clade.Error{Op: "make", On: "directory " + base, Kind: clade.Denied, Err: err, Hint: "choose another with --dir"}
	}
	dir, err = os.MkdirTemp(base, "")
	return dir, true, err
}

// watchLab shows a run as it goes, on standard error.
func (a *app) watchLab() lab.Watch {
	if a.quiet {
		return lab.Watch{}
	}
	colour := colours(a.env.Err)
	return lab.Watch{
		Part: func(number int, title string) { a.say("\nPart %d: %s", number, title) },
		Step: func(s lab.Step) { a.say("  %s %s (%.1f s)", lab.Mark(s.OK, colour), s.Name, s.Seconds) },
		Check: func(c lab.Check) {
			if !c.OK {
				a.say("  %s %s: %s", lab.Mark(false, colour), printable(c.Name), printable(c.Detail))
			}
		},
		Progress: a.progress(),
	}
}

// printReport writes the report to standard output and, if there is one, the page.
func (a *app) printReport(r *lab.Report, f labFlags, page *os.File) error {
	var err error
	if f.json {
		err = a.printJSON(r)
	} else {
		err = lab.WriteText(a.env.Out, r, colours(a.env.Out))
	}
	if page == nil || err != nil {
		return err
	}
	if err := lab.WriteHTML(page, r); err != nil {
		return err
	}
	if err := errors.Join(page.Chmod(0o644), page.Close()); err != nil {
		return err
	}
	if err := os.Rename(page.Name(), f.html); err != nil {
		return fmt.Errorf("write page %s: %w", f.html, err)
	}
	a.say("the report is in %s", f.html)
	return nil
}
