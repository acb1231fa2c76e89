package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// jsonFlag adds --json to a verb that reads.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

// reads makes cmd a verb that reads: it prints what find returns, with --json for
// machines and else as text writes it.
func reads[T any](a *app, cmd *cobra.Command, find func(context.Context, clade.Services, []string) (T, error), text func(T) error) *cobra.Command {
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		found, err := find(cmd.Context(), s, args)
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(found)
		}
		return text(found)
	}
	return cmd
}

// printJSON writes a value for machines.
func (a *app) printJSON(v any) error {
	a.bars.stop()
	e := json.NewEncoder(a.env.Out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// filled makes a list that JSON shows as [], not null, when it is empty.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// A table is aligned columns with a heading.
type table struct {
	rows [][]string
}

// row adds a line. Cells are shown without control characters.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		if cells[i] = printable(cell); cell == "" {
			cells[i] = "-"
		}
	}
	t.rows = append(t.rows, cells)
}

// printTable writes a table to standard output, all columns but the last as wide as
// their widest cell.
func (a *app) printTable(t *table) error {
	a.bars.stop()
	const gap = 3
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row[:len(row)-1] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell)+gap)
		}
	}
	out := bufio.NewWriterSize(a.env.Out, 1<<16)
	blanks := strings.Repeat(" ", slices.Max(append(widths, 0)))
	for _, row := range t.rows {
		for i, cell := range row {
			_, _ = out.WriteString(cell) // Flush returns the first error
			if i < len(row)-1 {
				_, _ = out.WriteString(blanks[:widths[i]-utf8.RuneCountInString(cell)])
			}
		}
		_ = out.WriteByte('\n')
	}
	return out.Flush()
}

// print writes one line of data to standard output.
func (a *app) print(format string, args ...any) error {
	a.bars.stop()
	_, err := fmt.Fprintln(a.env.Out, printable(fmt.Sprintf(format, args...)))
	return err
}

// stood tells how long a machine stood still while it was frozen, if it ran.
func (a *app) stood(who string, p *clade.Pause) {
	if p == nil {
		return
	}
	how := "its file systems were not frozen: no guest agent answered"
	if p.Frozen {
		how = "its file systems were frozen too"
	}
	if p.Memory {
		how = "its memory was kept with its disks"
	}
	a.say("%s stood still for %v; %s", who, p.Length.Round(100*time.Microsecond), how)
}

// printNames writes the names of what was made, one a line, or all as JSON.
func (a *app) printMade(machines []*clade.Machine, asJSON bool) error {
	if asJSON {
		return a.printJSON(filled(machines))
	}
	for _, m := range machines {
		if err := a.print("%s", m.Name); err != nil {
			return err
		}
	}
	return nil
}

// sequence is a terminal's escape sequence: CSI, OSC, or of two characters.
var sequence = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\a\x1b]*(\a|\x1b\\\\)?|[^\\[\\]])?")

// harmless takes out of text what would steer a terminal; lines stay lines.
func harmless(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' {
			return c
		}
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return -1
		}
		return c
	}, sequence.ReplaceAllString(strings.ToValidUTF8(s, "?"), ""))
}

// printable makes any text one harmless line.
func printable(s string) string {
	if plain(s) {
		return s
	}
	return strings.Join(strings.FieldsFunc(harmless(s), func(c rune) bool { return c == '\n' || c == '\t' }), " ")
}

// plain tells whether s is printable ASCII, as nearly everything is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// terminal returns the file behind a stream if that is a terminal.
func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// colours reports whether a stream shows colours.
func colours(w io.Writer) bool {
	_, is := terminal(w)
	return is && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
